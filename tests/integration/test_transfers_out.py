"""Transfers out of the store to real secondaries: NSD, Knot and BIND hold exactly what was published."""

from __future__ import annotations

import asyncio
import base64
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rrset
import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.dns.tsig import TsigKey as OurKey
from dnssecd.core.zone.changeset import diff
from dnssecd.daemon.notify_sender import NotifySender
from dnssecd.publish import xfrout
from dnssecd.publish.exchange import Peer, PeerKey
from dnssecd.publish.notify import Goal, Notifier, NotifyHooks, ZoneServers
from dnssecd.server.acl import ZoneAccess
from dnssecd.server.interfaces import EndedTransfer, Hooks
from dnssecd.server.listener import DnsServer
from dnssecd.store.snapshot import Snapshot
from dnssecd.store.zonedb import ZoneDatabase
from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.nameserver import Nameserver, SecondaryZone
from tests.peers.nsd import Nsd
from tests.peers.process import LOOPBACK, Servers, free_port, wait_until
from tests.peers.tools import dig, kdig
from tests.peers.tsig import TsigKey
from tests.peers.zones import axfr, difference, ixfr

pytestmark = pytest.mark.integration

ZONE = "transfers.test."
ORIGIN = text_to_wire(ZONE)
ALGORITHMS = ["hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"]
Content = dict[tuple[bytes, int], RRset]


def soa_rdata(serial: int) -> bytes:
    times = (serial, 3600, 600, 864000, 300)
    return b"\x02ns" + ORIGIN + b"\x04host" + ORIGIN + b"".join(n.to_bytes(4, "big") for n in times)


def base() -> Content:
    return {
        (b"", 2): RRset(b"", 2, 3600, pack([b"\x02ns" + ORIGIN])),
        (b"ns\x00", 1): RRset(b"ns\x00", 1, 3600, pack([bytes([127, 0, 0, 1])])),
    }


def addresses(owner: bytes, *numbers: int, ttl: int = 300) -> RRset:
    return RRset(owner, 1, ttl, pack([b"\x0a" + n.to_bytes(3, "big") for n in numbers]))


class _Zone:
    """A zone of the store, as the server wants it."""

    def __init__(self, db: ZoneDatabase, key: TsigKey) -> None:
        self.origin = ORIGIN
        self.expires_at = None
        self.access = ZoneAccess.make(["127.0.0.0/8"], [key.name])
        self._db = db

    def snapshot(self) -> AbstractContextManager[Snapshot] | None:
        with self._db.snapshot() as now:
            if now.version is None:
                return None
        return self._db.snapshot()


class _Noted(Hooks, NotifyHooks):
    def __init__(self) -> None:
        self.transfers: list[tuple[str, str]] = []
        self.caught: list[tuple[str, int]] = []

    def transfer_ended(self, transfer: EndedTransfer) -> None:
        self.transfers.append((transfer.kind, transfer.outcome))

    def caught_up(self, zone, secondary, serial, seconds) -> None:
        self.caught.append((secondary, serial))


class Primary:
    """Our store, server and notifier in a thread of their own."""

    def __init__(self, home: Path, key: TsigKey, seconds: list[Nameserver], port: int) -> None:
        self.hooks = _Noted()
        self.db = ZoneDatabase(home / "zone.db", ORIGIN)
        self.content: Content = {}
        self.serial = 0
        self.key = key
        self.home = home
        self.port = port
        secret = base64.b64decode(key.secret)
        peer_key = PeerKey(key.name, key.algorithm, secret)
        self._peers = [Peer(second.name, LOOPBACK, second.port, peer_key) for second in seconds]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        our_key = OurKey.make(key.name, key.algorithm, secret)
        zone = _Zone(self.db, key)
        self._server = DnsServer(
            [(LOOPBACK, port)],
            {ORIGIN: zone}.get,
            lambda: {our_key.name: our_key},
            xfrout,
            time.time,
            self.hooks,
        )

    def start(self) -> None:
        self._thread.start()
        self._wait(self._start())

    async def _start(self) -> None:
        self._notifier = Notifier(time.time, NotifySender(time.time), self.hooks)
        self._servers = ZoneServers(ZONE, self._notifier)
        await self._server.start()

    def _wait(self, work: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(20)

    def publish(self, content: Content, serial: int) -> None:
        """Commit the next version and tell the secondaries."""
        new = {**content, (b"", 6): RRset(b"", 6, 3600, pack([soa_rdata(serial)]))}
        old = self.content
        changes = list(diff([old[place] for place in sorted(old)], [new[place] for place in sorted(new)]))
        with self.db.write() as version:
            version.apply_content(changes)
            version.set_state("version", {"serial": serial})
            version.close_journal(0, old.get((b"", 6)), new[b"", 6], (self.serial, serial) if old else None)
            version.commit_if(version.generation)
        self.content, self.serial = new, serial
        self._loop.call_soon_threadsafe(
            self._servers.published, Goal(serial, soa_rdata(serial), 3600), self._peers
        )

    def wait_caught_up(self, timeout: float = 30.0) -> None:
        wanted = {(peer.name, self.serial) for peer in self._peers}
        wait_until(lambda: wanted <= set(self.hooks.caught), f"all secondaries at {self.serial}", timeout)

    def content_lines(self) -> set[str]:
        return axfr(self.port, ZONE, self.key, self.home)

    def close(self) -> None:
        self._wait(self._notifier.close())
        self._wait(self._server.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self.db.close()


@contextmanager
def world(
    servers: Servers, home: Path, key: TsigKey, *kinds: type[Nameserver]
) -> Iterator[tuple[Primary, list[Nameserver]]]:
    """A primary that has published nothing yet, and running secondaries of it."""
    port = free_port()
    seconds: list[Nameserver] = [kind(home / kind.name, [SecondaryZone(ZONE, port, key)]) for kind in kinds]
    primary = Primary(home, key, seconds, port)
    primary.start()
    try:
        for second in seconds:
            servers.start(second)
        yield primary, seconds
    finally:
        primary.close()


def assert_equal(primary: Primary, seconds: list[Nameserver]) -> None:
    ours = primary.content_lines()
    for second in seconds:
        assert not difference(ours, second.zone_content(ZONE)), second.name


def edit(rng: random.Random, content: Content) -> Content:
    """Some owners added, changed in RDATA or TTL, or removed."""
    new = {place: one for place, one in content.items() if place[1] != 6}
    for _ in range(rng.randint(1, 5)):
        owner = b"h%03d\x00" % rng.randrange(200)
        if rng.random() < 0.3:
            new.pop((owner, 1), None)
        else:
            count, ttl = rng.choice((1, 1, 3)), rng.choice((0, 300, 600))
            new[owner, 1] = addresses(owner, *(rng.randrange(6) for _ in range(count)), ttl=ttl)
    return new


def test_edits_reach_all_secondaries_by_ixfr(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    rng = random.Random(1)
    with world(servers, peer_dir, tsig_key, Nsd, Knotd, Named) as (primary, seconds):
        content = base() | {(b"h%03d\x00" % n, 1): addresses(b"h%03d\x00" % n, n) for n in range(100)}
        serials = [2**32 - 3, 2**32 - 2, 2**32 - 1, *range(1, 13)]
        for serial in serials:
            primary.publish(content, serial)
            primary.wait_caught_up()
            assert_equal(primary, seconds)
            content = edit(rng, content)
        for second in seconds:
            transfers = second.transfers(ZONE)
            assert (transfers.axfr, transfers.ixfr) == (1, len(serials) - 1), second.name


def test_ixfr_from_every_earlier_serial_after_a_restart(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    rng, held = random.Random(2), {}
    with world(servers, peer_dir, tsig_key) as (primary, _):
        content = base()
        for serial in range(1, 9):
            primary.publish(content, serial)
            held[serial] = primary.content_lines()
            content = edit(rng, content)
    again = Primary(peer_dir, tsig_key, [], free_port())
    again.start()
    try:
        final = again.content_lines()
        assert final == held[8]
        for serial in range(1, 8):
            answer = ixfr(again.port, ZONE, serial, tsig_key, peer_dir)
            assert answer.apply(held[serial]) == final, serial
        assert len(ixfr(again.port, ZONE, 8, tsig_key, peer_dir).lines) == 1
        assert len(ixfr(again.port, ZONE, 9, tsig_key, peer_dir).lines) == 1
        assert not ixfr(again.port, ZONE, 2**31 + 4, tsig_key, peer_dir).incremental
    finally:
        again.close()


class PatientNamed(Named):
    """BIND refuses sets of more than 100 RRs (its answer to CVE-2024-1737) unless told not to."""

    def configuration(self) -> str:
        return super().configuration().replace("options {", "options {\n    max-records-per-type 0;", 1)


def rrset_at(port: int, owner: str, rtype: str) -> dns.rrset.RRset:
    """One RRset over TCP (NSD 4.6 breaks off its own AXFR of such big RRs, so whole zones are not compared)."""
    answer = dns.query.tcp(dns.message.make_query(owner + "." + ZONE, rtype), LOOPBACK, 10, port)
    (rrset,) = answer.answer
    return rrset


def test_big_records_and_sets_are_held_by_all(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """One RR of 60,000 octets, a set that just fits into an answer, and a difference with both."""
    with world(servers, peer_dir, tsig_key, Nsd, Knotd, PatientNamed) as (primary, seconds):
        content = base()
        content[b"one\x00", 65280] = RRset(b"one\x00", 65280, 60, pack([b"x" * 60_000]))
        content[b"set\x00", 1] = addresses(b"set\x00", *range(2000))
        content[b"wide\x00", 65280] = RRset(
            b"wide\x00", 65280, 60, pack([bytes([n]) * 900 for n in range(70)])
        )
        primary.publish(content, 1)
        primary.wait_caught_up()
        content[b"two\x00", 65280] = RRset(b"two\x00", 65280, 60, pack([b"y" * 60_000]))
        content[b"set\x00", 1] = addresses(b"set\x00", *range(500, 2500), ttl=60)
        primary.publish(content, 2)
        primary.wait_caught_up()
        for second in seconds:
            for owner, rtype in (("one", "TYPE65280"), ("two", "TYPE65280"), ("set", "A")):
                ours, theirs = rrset_at(primary.port, owner, rtype), rrset_at(second.port, owner, rtype)
                assert (ours, ours.ttl) == (theirs, theirs.ttl), (second.name, owner)


def test_set_over_64k_is_transferred(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """NSD and Knot take such a set in, though no answer can hold it and they cannot pass it on; BIND refuses it."""
    with world(servers, peer_dir, tsig_key, Nsd, Knotd) as (primary, _):
        wide = RRset(b"wide\x00", 65280, 60, pack([bytes([n]) * 900 for n in range(75)]))
        primary.publish(base() | {(b"wide\x00", 65280): wide}, 1)
        primary.wait_caught_up()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_with_every_client(servers: Servers, peer_dir: Path, algorithm: str) -> None:
    key = TsigKey("Transfer.", algorithm)
    with world(servers, peer_dir, key, Named) as (primary, seconds):
        bulk = {(b"h%05d\x00" % n, 1): addresses(b"h%05d\x00" % n, n) for n in range(3000)}
        primary.publish(base() | bulk, 7)
        primary.wait_caught_up()
        assert_equal(primary, seconds)
        for answer in (
            dig(primary.port, ZONE, "AXFR", tsig=key, directory=peer_dir),
            kdig(primary.port, ZONE, "AXFR", tsig=key),
        ):
            assert answer.status == 0, answer.text
            assert "h02999.transfers.test." in answer.out
            assert "erification" not in answer.text
