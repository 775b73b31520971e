"""RRSIG preimages as dnspython makes them: the referee for what the key service must accept."""

from __future__ import annotations

import dns.dnssec
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.RRSIG
import dns.rrset

from dnssecd.keyservice_protocol import KeyInfo

INCEPTION = 1_900_000_000
EXPIRATION = 1_902_592_000


def wire(text: str) -> bytes:
    """A name in lower-case wire form."""
    return dns.name.from_text(text).canonicalize().to_wire()


def rrsig_without_signature(
    rrset: dns.rrset.RRset, zone: str, algorithm: int, tag: int
) -> dns.rdtypes.ANY.RRSIG.RRSIG:
    labels = len(rrset.name) - 1 - rrset.name.is_wild()
    return dns.rdtypes.ANY.RRSIG.RRSIG(
        dns.rdataclass.IN,
        dns.rdatatype.RRSIG,
        rrset.rdtype,
        algorithm,
        labels,
        rrset.ttl,
        EXPIRATION,
        INCEPTION,
        tag,
        dns.name.from_text(zone),
        b"",
    )


def rrset_preimage(rrset: dns.rrset.RRset, zone: str, algorithm: int, tag: int) -> bytes:
    """What is signed for `rrset` (RFC 4034 §3.1.8.1)."""
    rrsig = rrsig_without_signature(rrset, zone, algorithm, tag)
    return dns.dnssec._make_rrsig_signature_data(rrset, rrsig)


def preimage_for(key: KeyInfo, zone: str, owner: str, rtype: str, *rdatas: str, ttl: int = 3600) -> bytes:
    """A preimage `key` is asked to sign."""
    rrset = dns.rrset.from_text(owner, ttl, "IN", rtype, *rdatas)
    return rrset_preimage(rrset, zone, key.algorithm, key.tag)


def empty_rrs(key: KeyInfo, zone: bytes, count: int, now: int) -> bytes:
    """A preimage of a TXT RRset with so many empty RRs at the apex of a zone of two labels, valid for a day."""
    times = (now + 86_400).to_bytes(4) + now.to_bytes(4)
    head = b"\x00\x10" + bytes([key.algorithm, 2]) + (60).to_bytes(4) + times + key.tag.to_bytes(2) + zone
    return head + (zone + b"\x00\x10\x00\x01" + (60).to_bytes(4) + b"\x00\x00") * count
