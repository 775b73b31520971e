"""Random UPDATE messages that hit a small zone often: shared names, all forms, prerequisites true half of the time."""

from __future__ import annotations

import random
from collections.abc import Sequence

from dnssecd.core.dns.names import key_to_wire
from dnssecd.core.dns.rrset import RRset, unpack
from tests.unit.core_update.build import (
    ANY,
    IN,
    NONE,
    ORIGIN,
    RR,
    message,
    rdata_of,
    rtype_of,
    wire_name,
    zone_view,
)

OWNERS = (
    "@", "www", "alias", "*.wild", "wild", "sub", "ns.sub", "below.ns.sub", "mx", "a", "b.a", "c.b.a", "d", "*.d", "e",
)  # fmt: skip
SETS = {
    "A": ("192.0.2.1", "192.0.2.2", "192.0.2.3"),
    "AAAA": ("2001:db8::1", "2001:db8::2"),
    "TXT": ('"one"', '"two" "strings"', '"ONE"'),
    "MX": ("10 mail.example.", "10 MAIL.example.", "20 mail.other."),
    "NS": ("ns1.other.", "ns2.other.", "NS2.Other.", "ns3.other."),
    "DS": tuple(f"{tag} 13 2 {tag:02X}{'00' * 31}" for tag in (1, 2)),
    "CNAME": ("www.example.", "a.example.", "WWW.example."),
    "DNAME": ("other.", "elsewhere."),
    "SRV": ("0 0 53 a.example.", "0 0 53 A.example."),
    "PTR": ("a.example.", "www.example."),
    "NAPTR": ('1 1 "u" "E2U+sip" "!^.*$!sip:a@b!" .',),
    "SVCB": ("1 svc.example. alpn=h2", "1 SVC.example. alpn=h2", "0 svc.example."),
    "WKS": ("192.0.2.1 6 25", "192.0.2.1 6 25 80", "192.0.2.1 17 53"),
    "KEY": ("512 3 8 AQPS", "512 3 8 AQPT"),
    "TYPE65280": (r"\# 0", r"\# 3 010203"),
    "MD": (r"\# 9 076578616d706c6500",),
    "SOA": tuple(f"ns1.other. host.other. {serial} 3600 600 86400 300" for serial in (0, 5, 9, 11, 2**31 + 9)),
}  # fmt: skip
_WEIGHTED = ("A", "A", "A", "TXT", "TXT", "NS", "NS", "NS", "DS", "DS", "CNAME", "CNAME", *SETS)
TTLS = (300, 300, 300, 600, 0)


class Generator:
    """Messages for a zone as it stands; the same seed gives the same messages."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._serial = 10

    def message(self, content: Sequence[RRset], serial: int) -> bytes:
        """Return the next message; content and serial are what the zone holds now."""
        rng = self._rng
        self._serial = serial
        prerequisites: list[RR] = []
        while rng.random() < 0.3:
            prerequisites += self._prerequisite(content)
        # named holds a doubled RR of a value-dependent prerequisite against the client; to us it is a set.
        prerequisites = list(
            {(rr.name.lower(), rr.rtype, rr.rclass, rr.rdata.lower()): rr for rr in prerequisites}.values()
        )
        rng.shuffle(prerequisites)
        updates = [self._update(content) for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 5, 8)))]
        if rng.random() < 0.1 and updates:
            # What is added is deleted, or the other way round: often no change at all.
            updates += [rr._replace(rclass=NONE if rr.rclass == IN else rr.rclass, ttl=0) for rr in updates]
        return message(updates, prerequisites)

    def _case(self, name: bytes) -> bytes:
        return name.upper() if self._rng.random() < 0.1 else name

    def _existing(self, content: Sequence[RRset]) -> RRset:
        return self._rng.choice(content)

    def _prerequisite(self, content: Sequence[RRset]) -> list[RR]:
        rng = self._rng
        some = self._existing(content)
        name = self._case(
            key_to_wire(some.owner, ORIGIN) if rng.random() < 0.6 else wire_name(rng.choice(OWNERS))
        )
        rtype = some.rtype if rng.random() < 0.6 else rtype_of(rng.choice(_WEIGHTED))
        kind = rng.randrange(4)
        if kind == 0:
            return [RR(name, 255, rng.choice((ANY, NONE)))]
        if kind == 1:
            return [RR(name, rtype, rng.choice((ANY, NONE)))]
        rdatas = unpack(some.rdata)
        if rng.random() < 0.3 and len(rdatas) > 1:
            rdatas.pop()
        elif rng.random() < 0.2:
            mnemonic = next((m for m in SETS if rtype_of(m) == some.rtype), "A")
            rdatas.append(rdata_of(mnemonic, SETS[mnemonic][-1]))
        rng.shuffle(rdatas)
        return [RR(self._case(key_to_wire(some.owner, ORIGIN)), some.rtype, IN, 0, rdata) for rdata in rdatas]

    def _update(self, content: Sequence[RRset]) -> RR:
        rng = self._rng
        form = rng.random()
        if form < 0.35:
            return self._deletion(content)
        name, mnemonic = self._case(wire_name(rng.choice(OWNERS))), rng.choice(_WEIGHTED)
        rdata = rdata_of(mnemonic, rng.choice(SETS[mnemonic]))
        if mnemonic == "SOA" and rng.random() < 0.5:
            rdata = (
                rdata[:-20] + ((self._serial + rng.randrange(-2, 4)) % 2**32).to_bytes(4, "big") + rdata[-16:]
            )
        return RR(name, rtype_of(mnemonic), IN, rng.choice(TTLS), rdata)

    def _deletion(self, content: Sequence[RRset]) -> RR:
        rng = self._rng
        some = self._existing(content)
        name = self._case(
            key_to_wire(some.owner, ORIGIN) if rng.random() < 0.7 else wire_name(rng.choice(OWNERS))
        )
        kind = rng.randrange(4)
        if kind == 0:
            return RR(name, 255, ANY)
        if kind == 1:
            return RR(name, some.rtype, ANY)
        return RR(name, some.rtype, NONE, 0, rng.choice(unpack(some.rdata)))


def start() -> list[RRset]:
    """The content of the zone all sequences start from."""
    return list(zone_view().scan())
