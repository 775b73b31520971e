"""Fuzz what judges a signed input: ``python -m tests.fuzz.fuzz_input [--seconds N] [--seed N]``.

A primary sends a zone with signatures, denial and ZONEMD, each changed at random: the judgement of its digest and of
its signatures is an answer, never an exception, and nothing that was changed verifies by the anchor.
"""

from __future__ import annotations

import argparse
import random
import time
from contextlib import suppress
from functools import cache

import dns.dnssec
import dns.name
import dns.rdataset
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from dnssecd.core.verify import Expectation, inline_checker, verify_zone, verify_zonemd
from dnssecd.ingest.collect import gather
from dnssecd.ingest.xfrin import Inbound, TransferLimits, Whole
from dnssecd.ingest.xfrin_wire import TransferError
from dnssecd.ingest.zonefile import take_rrsigs
from dnssecd.pipeline.adoption.served_zone import ForeignZone
from dnssecd.server.update_rdata import RdataReader
from tests.fuzz.fuzz_update import mutated
from tests.unit.xfrin.streams import ORIGIN, RR, SOA, ZONE, message

_TEXT = """
@ 300 SOA ns host 8 60 30 600 300
@ 300 NS ns
ns 300 A 192.0.2.1
*.wild 300 TXT "any"
www 300 A 192.0.2.2
sub 300 NS ns.sub
ns.sub 300 A 192.0.2.3
secure 300 NS ns.sub
secure 300 DS 4711 13 2 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
"""
#: Links of a chain that is not there, as rows that a hostile primary may add.
_STRANGE = (
    "NSEC3PARAM 1 0 0 -",
    "NSEC3PARAM 1 0 65535 ffff",
    "NSEC3 1 1 0 - 00000000000000000000000000000000 A RRSIG",
    "NSEC3 9 0 65535 ff 00000000000000000000000000000000",
    "ZONEMD 8 1 240 aaaaaaaaaaaaaaaaaaaaaaaa",
    "ZONEMD 8 240 1 " + 96 * "a",
    "ZONEMD 8 1 1 " + 96 * "a",
    "CDS 0 0 0 00",
    "DNSKEY 257 3 13 AA==",
    "DNSKEY 256 3 8 AQ==",
    "DNSKEY 256 3 8 AAAB",
    "RRSIG A 13 2 300 20380101000000 20260101000000 1 example. AA==",
    "NSEC example. A RRSIG NSEC",
)
NOW = 1_780_000_000


@cache
def signed() -> tuple[tuple[RR, ...], bytes]:
    """The rows of a signed zone, and the DS (RDATA) of its key."""
    zone = dns.zone.from_text(_TEXT, ZONE, relativize=False)
    private = ec.derive_private_key(7, ec.SECP256R1())
    dnskey = dns.dnssec.make_dnskey(private.public_key(), "ECDSAP256SHA256", flags=257)
    with zone.writer() as writer:
        dns.dnssec.sign_zone(
            zone,
            writer,
            keys=[(private, dnskey)],
            inception=NOW - 3600,
            expiration=NOW + 86_400,
            add_dnskey=True,
        )
    rows = [
        RR(name.to_wire(), rdataset.rdtype, rdata.to_wire(), rdataset.ttl)
        for name, node in sorted(zone.items())
        for rdataset in node
        for rdata in rdataset
    ]
    return tuple(rows), dns.dnssec.make_ds(dns.name.from_text(ZONE), dnskey, "SHA256").to_wire()


@cache
def strange() -> tuple[RR, ...]:
    found = []
    for text in _STRANGE:
        kind, _, rdata = text.partition(" ")
        made = dns.rdataset.from_text("IN", kind, 300, rdata)
        found += [RR(owner, made.rdtype, made[0].to_wire(), 300) for owner in (ORIGIN, b"\x03www" + ORIGIN)]
    return tuple(found)


def judged(rows: list[RR]) -> bool | None:
    """Judge a transferred zone; tell whether its signatures lead to the anchor. None: it is no zone."""
    soa = next(row for row in rows if row.rtype == SOA)
    rest = [row for row in rows if row is not soa]
    inbound = Inbound(ORIGIN, None, RdataReader, TransferLimits(100_000), keep=True)
    try:
        inbound.feed(message([soa, *rest, soa]))
        received = inbound.finish()
    except TransferError:
        return None
    assert isinstance(received, Whole)
    found = [*received.rows, received.soa]
    rrsigs = take_rrsigs(found)
    zone = ForeignZone(ORIGIN, gather(found).rrsets, rrsigs, as_given=True)
    verify_zonemd(zone, 100)
    expectation = Expectation(ORIGIN, NOW, ds=(signed()[1],), zonemd=False, checkable=True)
    return not verify_zone(zone, expectation, 100, inline_checker)


def one_input(rng: random.Random) -> bool | None:
    """Judge the zone with one to three changes: an RDATA, an owner, a TTL, a row that is missing, double or strange."""
    rows = list(signed()[0])
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(rows))
        row = rows[at]
        match rng.randrange(6):
            case 0 | 1 if row.rtype != SOA:
                rows[at] = row._replace(rdata=mutated(rng, row.rdata))
            case 2 if row.rtype != SOA:
                rows[at] = row._replace(owner=rng.choice(rows).owner)
            case 3:
                rows[at] = row._replace(ttl=rng.choice((0, 1, 301, 2**31 - 1)))
            case 4 if row.rtype != SOA:
                del rows[at]
            case _:
                rows.insert(rng.randrange(len(rows) + 1), rng.choice(strange()))
    with suppress(StopIteration):
        good = judged(rows)
        if good:
            assert sorted(set(rows)) == sorted(set(signed()[0])) or _harmless(rows), "a changed zone verifies"
        return good
    return None


def _harmless(rows: list[RR]) -> bool:
    """Tell whether all that differs is not signed: glue, and delegations (RFC 4035 §2.2)."""
    kept = set(signed()[0])
    return all(b"\x03sub" in row.owner or b"\x06secure" in row.owner for row in kept ^ set(rows))


def mutate(seconds: float, seed: int, most: int | None = None) -> tuple[int, int]:
    """Judge zones for a while; return how many there were, and how many verified.

    most: end after so many, so that a run (of `inf` seconds) judges the same input on every machine.
    """
    rng = random.Random(seed)
    until = time.monotonic() + seconds
    count = good = 0
    while time.monotonic() < until and count != most:
        good += bool(one_input(rng))
        count += 1
    return count, good


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=int.from_bytes(random.randbytes(4)))
    given = options.parse_args()
    print(f"signed inputs: random changes, seed {given.seed}")
    print("{} zones, {} verified".format(*mutate(given.seconds, given.seed)))


if __name__ == "__main__":
    main()
