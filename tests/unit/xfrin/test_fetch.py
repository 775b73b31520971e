"""Fetching from primaries: what goes wrong on the way, TSIG, bounds, the next primary."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dnssecd.core.dns.tsig import TsigKey
from dnssecd.pipeline.fetch.link import FetchLink
from dnssecd.pipeline.fetch.plan import Fetched, FetchKey, FetchLimits, FetchPeer, FetchPlan
from dnssecd.pipeline.fetch.receive import Places, fetch
from dnssecd.pipeline.spool import spooled
from dnssecd.server.acl import ZoneAccess
from tests.unit.server.fakes import KEYS, FakeVersion, FakeZone, small_zone
from tests.unit.server.test_server_listener import serving
from tests.unit.xfrin.liar import Cut, Item, Liar, Raw, Script, Stall, Unsigned, answers, ixfr_answers, rcode
from tests.unit.xfrin.streams import IXFR, NS_RR, ORIGIN, a, message, soa

KEY = TsigKey.make("transfer.", "hmac-sha256", b"s" * 32)
OTHER = TsigKey.make("transfer.", "hmac-sha256", b"o" * 32)
GOOD = answers([soa(8), NS_RR], [a("www", 1), soa(8)])
ZONE = [soa(8), NS_RR, a("www", 1)]
SHORT = FetchLimits(connect_s=0.5, idle_s=0.3, total_s=1.0, octets=100_000)


def peer(liar: Liar, *, signed: bool = False, name: str = "p") -> FetchPeer:
    key = ("transfer.", "hmac-sha256", KEY.secret) if signed else ()
    return FetchPeer(name, "127.0.0.1", liar.port, *key)


async def from_peers(path: Path, *peers: FetchPeer, base: int | None = None) -> Fetched:
    plan = FetchPlan(origin=ORIGIN, primaries=peers, path=str(path / "spool"), base=base, limits=SHORT)
    return await fetch(plan, time.time)


def reasons(fetched: Fetched) -> list[str]:
    return [attempt.reason for attempt in fetched.attempts]


@pytest.mark.parametrize("signed", [False, True])
async def test_axfr(tmp_path: Path, signed: bool) -> None:
    async with Liar(KEY) as liar:
        liar.axfr = GOOD
        fetched = await from_peers(tmp_path, peer(liar, signed=signed))
    assert (fetched.result, fetched.primary, fetched.messages, fetched.whole) == ("axfr", "p", 2, True)
    spool = tmp_path / "spool"
    assert spool.stat().st_mode & 0o777 == 0o600
    wires = list(spooled(spool))
    assert [wire[12:] for wire in wires] == [wire[12:] for wire in GOOD(0)]


@pytest.mark.parametrize("name", ["new.", "other."])
async def test_the_key_that_the_primary_has_is_used(tmp_path: Path, name: str) -> None:
    """During a change of keys: the primary does not have the new one, or has another secret for it."""
    access = ZoneAccess.make(allow_transfer=["transfer."])
    held = FetchKey("transfer.", "hmac-sha256", KEYS[b"\x08transfer\x00"].secret)
    async with serving(FakeZone(FakeVersion(small_zone(5)), access)) as server:
        port = server.addresses[0][1]

        async def fetched(*others: FetchKey) -> Fetched:
            peer = FetchPeer("p", "127.0.0.1", port, name, "hmac-sha256", b"n" * 32, others=others)
            origin = b"\x07example\x00"
            plan = FetchPlan(origin=origin, primaries=(peer,), path=str(tmp_path / "spool"), limits=SHORT)
            return await fetch(plan, time.time)

        done = await fetched(held)
        assert (done.result, done.key, done.attempts) == ("axfr", "transfer.", ())
        assert (await fetched()).result == "failed"


async def test_ixfr_forms(tmp_path: Path) -> None:
    async with Liar() as liar:
        liar.ixfr = ixfr_answers([soa(8)], [soa(7), a("www", 1)], [soa(8), a("www", 2), soa(8)])
        fetched = await from_peers(tmp_path, peer(liar), base=7)
        assert (fetched.result, fetched.whole, fetched.messages) == ("ixfr", False, 3)
        liar.ixfr = ixfr_answers([soa(8)], [NS_RR, soa(8)])
        fetched = await from_peers(tmp_path, peer(liar), base=7)
        assert (fetched.result, fetched.whole) == ("ixfr", True)
        liar.ixfr = ixfr_answers([soa(7)])
        assert (await from_peers(tmp_path, peer(liar), base=7)).result == "current"
        liar.ixfr = ixfr_answers([soa(6)])
        assert (await from_peers(tmp_path, peer(liar), base=7)).result == "current"
    assert liar.asked == ["ixfr"] * 4


def broken(text: Callable[[int], list[Item]]) -> Script:
    return text


IXFR_FAILS: dict[str, Script] = {
    "NOTIMP": rcode(4, IXFR),
    "FORMERR": rcode(1, IXFR),
    "SERVFAIL": rcode(2, IXFR),
    "REFUSED": rcode(5, IXFR),
    "TC": lambda mid: [message([soa(8)], IXFR, mid=mid, flags=0x8600)],
    "one newer SOA": ixfr_answers([soa(8)]),
    "one newer SOA, then the end": lambda mid: [message([soa(8)], IXFR, mid=mid), Cut()],
    "timeout": lambda mid: [Stall()],
    "closed": lambda mid: [Cut()],
    "no SOA": ixfr_answers([NS_RR]),
    "nothing in it": ixfr_answers([]),
}


@pytest.mark.parametrize("script", IXFR_FAILS.values(), ids=IXFR_FAILS.keys())
async def test_axfr_follows_where_ixfr_fails(tmp_path: Path, script: Script) -> None:
    async with Liar() as liar:
        liar.ixfr, liar.axfr = script, GOOD
        fetched = await from_peers(tmp_path, peer(liar), base=7)
    assert (fetched.result, len(fetched.attempts), liar.asked) == ("axfr", 1, ["ixfr", "axfr"])


AXFR_FAILS: dict[str, tuple[Script, str]] = {
    "REFUSED": (rcode(5), "REFUSED"),
    "NOTAUTH": (rcode(9), "NOTAUTH"),
    "cut": (lambda mid: [message(ZONE, mid=mid), Cut()], "closed before the end"),
    "cut in a message": (lambda mid: [Raw(b"\x01\x00abc"), Cut()], "closed before the end"),
    "half a length": (lambda mid: [Raw(b"\x01"), Stall()], "no complete message"),
    "stalls": (lambda mid: [message(ZONE, mid=mid), Stall()], "no complete message"),
    "an octet at a time": (
        lambda mid: [Raw(b"\x00"), 0.05, Raw(b"\x90"), *(i for _ in range(99) for i in (Raw(b"x"), 0.05))],
        "no complete message",
    ),
    "a message at a time": (
        lambda mid: [
            message(ZONE, mid=mid),
            *(i for _ in range(99) for i in (message([NS_RR], mid=mid), 0.05)),
        ],
        "not finished within",
    ),
    "endless": (
        lambda mid: [message(ZONE, mid=mid), *[message(ZONE[1:] * 200, mid=mid)] * 99],
        "max_transfer_mib",
    ),
    "another id": (lambda mid: [message(ZONE, mid=mid ^ 1)], "a different question"),
    "a query": (lambda mid: [message(ZONE, mid=mid, flags=0)], "a different question"),
    "TC": (lambda mid: [message(ZONE, mid=mid, flags=0x8600)], "truncated"),
    "SERVFAIL in the middle": (lambda mid: [message(ZONE, mid=mid), *rcode(2)(mid)], "SERVFAIL"),
    "empty message": (lambda mid: [b""], "header"),
    "message of one octet": (lambda mid: [b"x"], "header"),
    "RRs cut short": (lambda mid: [message(ZONE, mid=mid)[:-3]], "cut short"),
    "more announced than there is": (
        lambda mid: [message(ZONE, mid=mid)[:6] + b"\xff\xff" + message(ZONE, mid=mid)[8:]],
        "cut short",
    ),
}


@pytest.mark.parametrize(("script", "why"), AXFR_FAILS.values(), ids=AXFR_FAILS.keys())
async def test_axfr_fails_and_the_next_primary_is_asked(tmp_path: Path, script: Script, why: str) -> None:
    async with Liar() as liar, Liar() as honest:
        liar.axfr, honest.axfr = script, GOOD
        fetched = await from_peers(tmp_path, peer(liar, name="liar"), peer(honest, name="honest"))
    assert (fetched.result, fetched.primary) == ("axfr", "honest")
    assert [wire[12:] for wire in spooled(tmp_path / "spool")] == [wire[12:] for wire in GOOD(0)]
    assert why in reasons(fetched)[0]


async def test_no_server_there(tmp_path: Path) -> None:
    async with Liar() as gone:
        pass
    fetched = await from_peers(tmp_path, peer(gone), peer(gone), base=7)
    assert fetched.result == "failed"
    assert len(fetched.attempts) == 2  # IXFR that finds nobody is not followed by AXFR
    assert "no connection" in reasons(fetched)[0]


def signed_in_between(unsigned: int, *, last: bool = True) -> Script:
    def script(mid: int) -> list[Item]:
        first = message([soa(8), NS_RR], mid=mid)
        middle = [Unsigned(message([a("www", i % 250)], mid=mid)) for i in range(unsigned)]
        end = message([soa(8)], mid=mid)
        return [first, *middle, end if last else Unsigned(end)]

    return script


def forged(mid: int) -> list[Item]:
    return [message([soa(8), NS_RR], mid=mid), Unsigned(message([a("www", 1), soa(8)], mid=mid))]


TSIG_FAILS: dict[str, tuple[Script, str]] = {
    "100 unsigned": (signed_in_between(100), "99 unsigned"),
    "last unsigned": (signed_in_between(3, last=False), "last message is not signed"),
    "none signed": (lambda mid: [Unsigned(w) for w in GOOD(mid)], "first message is not signed"),
    "end added by somebody": (forged, "last message is not signed"),
}


async def test_tsig_up_to_99_unsigned(tmp_path: Path) -> None:
    async with Liar(KEY) as liar:
        liar.axfr = signed_in_between(99)
        fetched = await from_peers(tmp_path, peer(liar, signed=True))
    assert (fetched.result, fetched.messages) == ("axfr", 101)


@pytest.mark.parametrize(("script", "why"), TSIG_FAILS.values(), ids=TSIG_FAILS.keys())
async def test_tsig_fails(tmp_path: Path, script: Script, why: str) -> None:
    async with Liar(KEY) as liar:
        liar.axfr = script
        fetched = await from_peers(tmp_path, peer(liar, signed=True))
    assert fetched.result == "failed"
    assert why in reasons(fetched)[0]


async def test_tsig_of_another_secret_or_time(tmp_path: Path) -> None:
    async with Liar(OTHER) as liar:
        liar.axfr = GOOD
        assert "MAC is wrong" in reasons(await from_peers(tmp_path, peer(liar, signed=True)))[0]
    async with Liar(KEY) as liar:
        liar.axfr = GOOD
        liar.now = lambda: int(time.time()) + 4000  # type: ignore[method-assign]
        assert "fudge" in reasons(await from_peers(tmp_path, peer(liar, signed=True)))[0]


async def test_octets_like_a_tsig_record_in_data(tmp_path: Path) -> None:
    """The short way to the TSIG record must not be led astray by data that look like one."""
    decoy = KEY.name + b"\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x05abcde"
    rr = a("www", 1)._replace(rtype=65280, rdata=decoy)
    async with Liar(KEY) as liar:
        liar.axfr = answers([soa(8), NS_RR, rr, soa(8)])
        assert (await from_peers(tmp_path, peer(liar, signed=True))).result == "axfr"
        liar.axfr = lambda mid: [Unsigned(message([soa(8), NS_RR, soa(8), rr], mid=mid))]
        assert (await from_peers(tmp_path, peer(liar, signed=True))).result == "failed"


async def test_disk_that_cannot_be_written(tmp_path: Path) -> None:
    async with Liar() as liar:
        liar.axfr = GOOD
        fetched = await from_peers(tmp_path / "nowhere", peer(liar))
    assert "on this host" in reasons(fetched)[0]


async def test_the_fetcher_process(tmp_path: Path) -> None:
    """Many at a time; one that stalls holds up no other; killed, it fails what was under way and comes again."""
    link = FetchLink()

    def plan(liar: Liar, name: str) -> FetchPlan:
        return FetchPlan(origin=ORIGIN, primaries=(peer(liar),), path=str(tmp_path / name))

    async with Liar() as slow, Liar() as good:
        slow.axfr, good.axfr = (lambda mid: [message(ZONE, mid=mid), Stall()]), GOOD
        stalled = asyncio.create_task(link.fetch(plan(slow, "slow")))
        others = await asyncio.gather(*(link.fetch(plan(good, f"good{number}")) for number in range(5)))
        assert [fetched.result for fetched in others] == ["axfr"] * 5
        assert not stalled.done()
        assert link._process is not None
        link._process.kill()
        assert "check whether it was killed" in reasons(await stalled)[0]
        assert (await link.fetch(plan(good, "again"))).result == "axfr"
        await link.close()
        assert (await link.fetch(plan(good, "closed"))).result == "axfr"
        await link.close()


async def test_a_transfer_that_drips_is_given_up(tmp_path: Path) -> None:
    limits = FetchLimits(idle_s=5.0, total_s=60.0, octets_per_s=2_000, rate_after_s=0.3)

    def drip(mid: int) -> list[Item]:
        drops = [[0.05, message([a(f"h{number}", 1)], mid=mid)] for number in range(40)]
        return [message([soa(8), NS_RR], mid=mid), *(item for drop in drops for item in drop)]

    async with Liar() as liar:
        liar.axfr = drip
        plan = FetchPlan(origin=ORIGIN, primaries=(peer(liar),), path=str(tmp_path / "spool"), limits=limits)
        started = time.monotonic()
        fetched = await fetch(plan, time.time)
    assert fetched.result == "failed"
    assert "octets a second, but at least 2000 are required" in reasons(fetched)[0]
    assert time.monotonic() - started < 2


async def test_a_full_disk_ends_a_transfer_before_databases_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dnssecd.pipeline.fetch.receive.DISK_LEFT_MIN", 1 << 60)
    async with Liar() as liar:
        liar.axfr = GOOD
        fetched = await from_peers(tmp_path, peer(liar))
    assert fetched.result == "failed"
    assert "MiB are free on the disk" in reasons(fetched)[0]


async def test_one_address_gets_a_share_of_the_places() -> None:
    places = Places(4, 2)
    running: list[str] = []
    hold = asyncio.Event()

    async def transfer(host: str) -> None:
        async with places.take(host):
            running.append(host)
            await hold.wait()

    tasks = [asyncio.create_task(transfer(host)) for host in ["drip"] * 40 + ["other", "third"]]
    for _ in range(20):
        await asyncio.sleep(0)
    assert sorted(running) == ["drip", "drip", "other", "third"]
    hold.set()
    await asyncio.gather(*tasks)
    assert len(running) == 42
    assert places._hosts == {}, "nothing is remembered of addresses without a transfer"
