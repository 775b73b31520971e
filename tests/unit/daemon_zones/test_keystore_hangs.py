"""`keystore list` and `keystore test` while the key service hangs: an error with a remedy within seconds."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.control.command import Refused
from dnssecd.control.messages.keystores import ListKeyStores, TestKeyStore
from dnssecd.daemon.commands import keystore


class Hanging:
    """A key service that takes requests and answers none."""

    async def status(self) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("what", ["list", "test"])
async def test_a_key_service_that_hangs(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keystore, "STATUS_S", 0.05)
    commands = keystore.KeyStoreCommands({}, cast(Any, Hanging()))
    call: Any = SimpleNamespace(request=ListKeyStores() if what == "list" else TestKeyStore())
    asked = commands.list_stores(call) if what == "list" else commands.test(call)
    with pytest.raises(Refused) as refused:
        await asyncio.wait_for(asked, 5)
    assert "hangs" in refused.value.what
    assert "systemctl restart dnssecd-signer" in refused.value.remedy
