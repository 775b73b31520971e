"""A key that is adopted from a token never gets the id of another key, in whichever store or trash that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd import keyservice_protocol as wp
from dnssecd.signer.key_file import Description
from dnssecd.signer.keystore import Account
from tests.unit.signer.service_world import DAEMON, A, B, Bench


@pytest.mark.parametrize("removed", [False, True])
async def test_an_adopted_key_takes_the_id_of_no_other(
    tmp_path: Path, removed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    await bench.open()
    key, other = await bench.key(), await bench.key(B)
    described = bench.store.registry.get(other.id)
    assert described is not None

    async def adopt(wanted: wp.AdoptRequest, taken: frozenset[int], account: Account) -> Description:
        """As a store of tokens, which looks at its own keys alone."""
        new = Description(
            id=wanted.key_id, zones=(wanted.zone,), role="zsk", algorithm=15, bits=256, flags=256,
            dnskey=described.dnskey[:4] + bytes(32), created=0,
        )  # fmt: skip
        account(new)
        bench.store.registry.put(new)
        return new

    monkeypatch.setattr(bench.store, "adopt", adopt)
    if removed:
        await bench.ask(wp.RemoveRequest(1, A, key.id), DAEMON)
    refused = await bench.refused(wp.AdoptRequest(1, B, "zsk", 15, "local", key_id=key.id), DAEMON)
    assert refused.code == "exists"
    assert key.id in (await bench.trash() if removed else await bench.kept())
    assert not [event for event, _ in bench.events() if event == "adopted"]
    await bench.close()
