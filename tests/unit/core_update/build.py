"""UPDATE messages and zones from short notation, without any of the code under test but names and packing."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import dns.name
import dns.rdata
import dns.rdatatype

from dnssecd.core.dns.names import APEX, owner_key, text_to_wire
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.verify.memoryview import MemoryZoneView
from dnssecd.core.zone.grants import ANY_TYPE, NameGrants

#: Covers the whole zone.
EVERYTHING = NameGrants({APEX: frozenset({ANY_TYPE})}, {APEX: frozenset({ANY_TYPE})})

ZONE = "example."
ORIGIN = text_to_wire(ZONE)
IN, NONE, ANY = 1, 254, 255
UPDATE_FLAGS = 5 << 11

#: The zone most tests start from.
ZONE_TEXT = """
@ 3600 SOA ns1.other. host.other. 10 3600 600 86400 300
@ 3600 NS ns1.other.
@ 3600 NS ns2.other.
@ 300 TXT "apex"
www 300 A 192.0.2.1
www 300 A 192.0.2.2
www 300 TXT "hello"
alias 300 CNAME www.example.
*.wild 300 A 192.0.2.9
sub 3600 NS ns.sub.example.
sub 3600 DS 1 13 2 AA00000000000000000000000000000000000000000000000000000000000000
ns.sub 3600 A 192.0.2.53
mx 300 MX 10 mail.example.
"""


class RR(NamedTuple):
    """One RR as it is put in a message; ``rdata`` in wire form."""

    name: bytes
    rtype: int
    rclass: int = IN
    ttl: int = 0
    rdata: bytes = b""

    def wire(self) -> bytes:
        head = struct.pack("!HHIH", self.rtype, self.rclass, self.ttl, len(self.rdata))
        return self.name + head + self.rdata


def wire_name(text: str) -> bytes:
    """Wire form with the case kept; relative to the zone, ``@`` is the apex."""
    return dns.name.from_text(text, dns.name.from_text(ZONE)).to_wire()


def rtype_of(mnemonic: str) -> int:
    return int(dns.rdatatype.from_text(mnemonic))


def rdata_of(mnemonic: str, text: str) -> bytes:
    origin = dns.name.from_text(ZONE)
    return dns.rdata.from_text("IN", mnemonic, text, origin=origin, relativize=False).to_wire()


def add(name: str, mnemonic: str, text: str, ttl: int = 300) -> RR:
    return RR(wire_name(name), rtype_of(mnemonic), IN, ttl, rdata_of(mnemonic, text))


def delete(name: str, mnemonic: str = "ANY") -> RR:
    """Delete an RRset, or all at a name."""
    return RR(wire_name(name), rtype_of(mnemonic), ANY)


def delete_rr(name: str, mnemonic: str, text: str) -> RR:
    return RR(wire_name(name), rtype_of(mnemonic), NONE, 0, rdata_of(mnemonic, text))


def exists(name: str, mnemonic: str = "ANY") -> RR:
    """The RRset exists, or the name is in use."""
    return RR(wire_name(name), rtype_of(mnemonic), ANY)


def absent(name: str, mnemonic: str = "ANY") -> RR:
    """The RRset does not exist, or the name is not in use."""
    return RR(wire_name(name), rtype_of(mnemonic), NONE)


def equals(name: str, mnemonic: str, *texts: str) -> list[RR]:
    """The RRset exists with just this content."""
    return [RR(wire_name(name), rtype_of(mnemonic), IN, 0, rdata_of(mnemonic, text)) for text in texts]


def message(
    updates: Iterable[RR] = (),
    prerequisites: Iterable[RR] = (),
    zone: bytes = ORIGIN,
    additional: Sequence[bytes] = (),
    ztype: int = 6,
    zclass: int = 1,
    ident: int = 4711,
) -> bytes:
    """An UPDATE message, uncompressed."""
    first, second = list(prerequisites), list(updates)
    header = struct.pack("!6H", ident, UPDATE_FLAGS, 1, len(first), len(second), len(additional))
    section = b"".join(rr.wire() for rr in (*first, *second))
    return header + zone + struct.pack("!HH", ztype, zclass) + section + b"".join(additional)


def rrsets(text: str) -> list[RRset]:
    """RRsets of a small zone, one RR a line: owner, TTL, type, RDATA."""
    found: dict[tuple[bytes, int], tuple[int, list[bytes]]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, ttl, mnemonic, rdata = line.split(None, 3)
        place = (owner_key(wire_name(name), ORIGIN), rtype_of(mnemonic))
        found.setdefault(place, (int(ttl), []))[1].append(rdata_of(mnemonic, rdata))
    return [RRset(*place, ttl, pack(rdatas)) for place, (ttl, rdatas) in sorted(found.items())]


def zone_view(text: str = ZONE_TEXT) -> MemoryZoneView:
    return MemoryZoneView(ORIGIN, rrsets(text), (), ())


def applied(view: MemoryZoneView, changes: Iterable[object], soa: RRset | None = None) -> MemoryZoneView:
    """The zone after changes (of changeset.Change)."""
    content = {rrset[:2]: rrset for rrset in view.scan()}
    for owner, rtype, old, new in changes:  # type: ignore[misc]
        assert content.get((owner, rtype)) == old
        if new is None:
            del content[owner, rtype]
        else:
            content[owner, rtype] = new
    if soa is not None:
        content[soa[:2]] = soa
    return MemoryZoneView(view.origin, content.values(), (), ())


def lines(view: MemoryZoneView) -> set[str]:
    """The zone in words, one RR a line: owner, TTL, type, RDATA; names absolute."""
    from dnssecd.core.dns.names import key_to_text
    from dnssecd.core.dns.rrset import unpack

    out = set()
    for owner, rtype, ttl, rdata in view.scan():
        for one in unpack(rdata):
            text = dns.rdata.from_wire(1, rtype, one, 0, len(one)).to_text()
            out.add(f"{key_to_text(owner, view.origin)} {ttl} {dns.rdatatype.to_text(rtype)} {text}")
    return out
