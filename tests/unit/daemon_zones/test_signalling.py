"""Signalling names (RFC 9615), on zones in memory: what is written where, what is removed, what is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import dns.message
import pytest

from dnssecd.clock import FakeClock
from dnssecd.core.dns.message import SERVFAIL
from dnssecd.core.dns.names import owner_key, text_to_wire
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.dns.rrtypes import CDNSKEY, CDS
from dnssecd.core.parent.security import Security, Word
from dnssecd.daemon.zones import signalling
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.signalling import Signalling, child_of, signalling_name
from tests.unit.server.fakes import FakeVersion, soa

HOST = text_to_wire("host.")
CDS_RDATA, KEY_RDATA = b"\0\1\x0d\2" + bytes(32), b"\1\1\3\x0d" + bytes(64)


class Zone:
    """As much of a FrontZone as is used. ``word``: its security."""

    def __init__(
        self, name: str, servers: list[str], *, cds: bool = True, signals: tuple[str, ...] = ()
    ) -> None:
        self.name, self.origin = name, text_to_wire(name)
        self.config = SimpleNamespace(signalling=signals)
        self.serial, self.gone, self.word = 1, False, Word.INSECURE
        self.rrsets = {(b"", 6): soa(1, self.origin), (b"", 2): _set(2, *map(text_to_wire, servers))}
        if cds:
            self.rrsets |= {(b"", CDS): _set(CDS, CDS_RDATA), (b"", CDNSKEY): _set(CDNSKEY, KEY_RDATA)}
        self.database = self

    @contextmanager
    def snapshot(self) -> Iterator[FakeVersion]:
        rrsets = [r._replace(owner=owner) for (owner, _), r in self.rrsets.items()]
        yield FakeVersion(rrsets, origin=self.origin)


def _set(rtype: int, *rdatas: bytes) -> RRset:
    return RRset(b"", rtype, 300, pack(list(rdatas)))


class World:
    def __init__(self, *zones: Zone) -> None:
        self.zones = {zone.name: zone for zone in zones}
        self.updates: list[str] = []
        self.fails = False
        self.mailbox = Mailbox()
        self.clock = FakeClock()
        self.made = Signalling(cast(Any, self.zones), self.update, self.clock, self.mailbox)
        self.made._note_all()

    async def update(self, zone: Any, request: Any) -> int:
        """Carry out an UPDATE, which must be one that dnspython reads."""
        message = dns.message.from_wire(request.wire)
        if self.fails:
            return SERVFAIL
        for rrset in message.sections[2]:
            owner = owner_key(text_to_wire(rrset.name.to_text().lower()), zone.origin)
            if rrset.deleting is not None:
                zone.rrsets.pop((owner, rrset.rdtype), None)
            else:
                zone.rrsets[owner, rrset.rdtype] = _set(rrset.rdtype, *(r.to_wire() for r in rrset))
        self.updates.append(message.sections[2][0].name.to_text())
        return 0

    async def look(self) -> list[str]:
        """Look once; return the names that were updated."""
        self.updates.clear()
        await self.made._look([z for z in self.zones.values() if z.config.signalling])
        return self.updates


@pytest.fixture(autouse=True)
def _security(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signalling.outlook, "security", lambda zone: Security(zone.word, ""))


def host(*signals: str) -> Zone:
    return Zone("host.", ["ns1.host."], signals=signals or ("ns1.host.", "ns2.host."))


async def test_written_once_for_each_server_and_removed_with_the_ds() -> None:
    child = Zone("child.example.", ["NS1.Host.", "elsewhere."])
    world = World(host(), child)
    assert await world.look() == ["_dsboot.child.example._signal.ns1.host."]
    owner = owner_key(text_to_wire("_dsboot.child.example._signal.ns1.host."), HOST)
    assert world.zones["host."].rrsets[owner, CDS].rdata == pack([CDS_RDATA])
    assert (owner, CDNSKEY) in world.zones["host."].rrsets
    assert await world.look() == []
    child.word = Word.DS_DUE
    assert await world.look() == [], "still without DS"
    child.word = Word.SECURE
    assert await world.look() == ["_dsboot.child.example._signal.ns1.host."]
    assert (owner, CDS) not in world.zones["host."].rrsets


async def test_a_parent_that_was_not_seen_changes_nothing() -> None:
    child = Zone("child.", ["ns1.host."])
    world = World(host(), child)
    await world.look()
    child.word = Word.UNKNOWN
    world.made._note_all()
    assert await world.look() == []
    child.word = Word.INSECURE
    assert await world.look() == []


async def test_servers_that_go_and_keys_that_change() -> None:
    child = Zone("child.", ["ns1.host.", "ns2.host."])
    world = World(host(), child)
    assert len(await world.look()) == 2
    child.rrsets[b"", 2] = _set(2, text_to_wire("ns2.host."))
    world.mailbox.published.send(cast(Any, child))
    assert await world.look() == ["_dsboot.child._signal.ns1.host."]
    child.rrsets[b"", CDS] = _set(CDS, CDS_RDATA[:-1] + b"\1")
    world.mailbox.published.send(cast(Any, child))
    assert await world.look() == ["_dsboot.child._signal.ns2.host."]


async def test_zones_that_go_now_or_while_the_daemon_was_down() -> None:
    child, lost = Zone("child.", ["ns1.host."]), Zone("lost.", ["ns1.host."])
    there = host()
    await World(there, child, lost).look()
    world = World(there, child)
    assert await world.look() == ["_dsboot.lost._signal.ns1.host."]
    del world.zones["child."]
    child.gone = True
    world.mailbox.removed.send(cast(Any, child))
    assert await world.look() == ["_dsboot.child._signal.ns1.host."]


async def test_what_fails_is_tried_again() -> None:
    child = Zone("child.", ["ns1.host."])
    world = World(host(), child)
    world.fails = True
    assert await world.look() == []
    world.fails = False
    assert await world.look() == []
    world.clock.advance(signalling.RETRY_S)
    assert len(await world.look()) == 1
    world.fails = True
    del world.zones["child."]
    child.gone = True
    world.mailbox.removed.send(cast(Any, child))
    assert await world.look() == []
    world.fails = False
    world.clock.advance(signalling.RETRY_S)
    assert len(await world.look()) == 1


async def test_no_cds_no_records() -> None:
    assert await World(host(), Zone("child.", ["ns1.host."], cds=False)).look() == []


@pytest.mark.parametrize(
    ("child", "server", "name"),
    [
        ("child.example.", "ns1.host.", "_dsboot.child.example._signal.ns1.host."),
        ("host.", "ns1.host.", None),
        (".", "ns1.host.", None),
        ("c" * 63 + "." + "d" * 63 + "." + "e" * 63 + ".", "f" * 63 + ".host.", None),
    ],
)
def test_names(child: str, server: str, name: str | None) -> None:
    made = signalling_name(text_to_wire(child), text_to_wire(server))
    assert made == (None if name is None else text_to_wire(name))
    if made is not None:
        assert child_of(owner_key(made, HOST), owner_key(text_to_wire(server), HOST)) == text_to_wire(child)


def test_other_names_below_a_server_are_not_signalling_names() -> None:
    server = owner_key(text_to_wire("ns1.host."), HOST)
    for name in ("ns1.host.", "_signal.ns1.host.", "_dsboot._signal.ns1.host.", "x._signal.ns1.host."):
        assert child_of(owner_key(text_to_wire(name), HOST), server) is None
