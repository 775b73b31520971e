"""The command ``audit``: what it gathers, and that it leaves open what it cannot read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.clock import FakeClock
from dnssecd.config.load import parse
from dnssecd.control.command import Refused
from dnssecd.daemon.commands import common
from dnssecd.daemon.commands.audit import AuditCommand
from dnssecd.keyservice_client.errors import OperatorNeeded
from dnssecd.keyservice_protocol import AuditReply, StatusReply
from dnssecd.store.errors import StoreError
from tests.commands import give, make_call

CONFIG = parse(
    '[server]\n[keystore.local]\n[policy.default]\n[zone."a.example."]\nfile = "/dev/null"\n',
    Path("/etc/c.toml"),
)
STATUS = StatusReply(0, 7, 1.0, (), (), {}, "12:ab")


class Zone(SimpleNamespace):
    """A zone whose database cannot be read, or that is not published."""

    @property
    def database(self) -> Any:
        raise StoreError("the disk is gone")


class Service:
    """A key service that answers with a log, or not."""

    def __init__(self, log: AuditReply | None) -> None:
        self._log = log
        self.asked = 0

    async def audit(self, limit: int) -> AuditReply:
        self.asked += 1
        if self._log is None:
            raise OperatorNeeded("another user listens there")
        return self._log


async def audit(
    serial: int | None = None, status: StatusReply | None = STATUS, log: AuditReply | None = None, **args: str
) -> tuple[dict[str, Any], Service]:
    service = Service(log)
    link = SimpleNamespace(
        last=status, last_log_fault=("", 0), place=SimpleNamespace(owners=frozenset({1})), client=service
    )
    zones = {
        "a.example.": Zone(name="a.example.", serial=serial, orphan=False),
        "gone.example.": Zone(name="gone.example.", serial=1, orphan=True),
    }
    (command,) = AuditCommand(
        lambda: CONFIG,
        cast("Any", zones),
        cast("Any", service),
        cast("Any", link),
        cast("Any", SimpleNamespace(firing=list)),
        FakeClock(),
    ).commands()
    report = await give(command, **args)
    return {"zones": report["zones"], **{row["id"]: row for row in report["requirements"]}}, service


async def test_what_cannot_be_read_is_not_known() -> None:
    rows, _ = await audit(serial=5)
    assert rows["keys-backup-age"]["verdict"] == "not known"
    assert "a.example.: its keys cannot be read" in rows["keys-backup-age"]["seen"]
    assert rows["keys-log"]["verdict"] == "not known", "the log was refused"


async def test_zones_that_are_not_configured_are_left_out() -> None:
    rows, _ = await audit(log=AuditReply(0, True, "", 12, ()))
    assert rows["zones"] == ["a.example."]
    assert (rows["keys-log"]["verdict"], rows["keys-log"]["seen"]) == ("met", "the chain of 12 entries holds")
    with pytest.raises(Refused, match="not in the configuration"):
        await audit(zone="gone.example.")


async def test_a_key_service_that_takes_long_does_not_lose_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(common, "TELL_S", 0.001)

    class Slow(Service):
        async def audit(self, limit: int) -> AuditReply:
            while not sent:
                await asyncio.sleep(0.001)
            return AuditReply(0, True, "", 12, ())

    sent: list[Any] = []
    link: Any = SimpleNamespace(last=STATUS, last_log_fault=("", 0), place=SimpleNamespace(owners=None))
    events: Any = SimpleNamespace(firing=list)
    slow: Any = Slow(None)
    (command,) = AuditCommand(lambda: CONFIG, {}, slow, link, events, FakeClock()).commands()
    async with asyncio.timeout(5):
        await command.answer(make_call("audit", {}, sent))
    assert "progress" in sent[0]


async def test_a_silent_key_service_is_not_asked() -> None:
    """A question to it would wait until its deadline."""
    rows, service = await audit(status=None)
    assert service.asked == 0
    assert rows["keys-modes"]["verdict"] == rows["keys-log"]["verdict"] == "not known"
