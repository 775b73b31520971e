"""RRsets in canonical wire form (RFC 4034 §6.2 and §6.3, as amended by RFC 6840 §5.1).

The RDATA of a set is one byte string: for each RR its RDLENGTH (two octets) and RDATA, in canonical order,
without duplicates. A message and the input of a signature hold the RRs in the same form, so neither needs to
unpack the set.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, cast


class RRset(NamedTuple):
    """One RRset; ``owner`` is an owner key (core.names), ``rdata`` is packed as the module says."""

    owner: bytes
    rtype: int
    ttl: int
    rdata: bytes


class Rrsigs(NamedTuple):
    """The RRSIG RRs that cover one RRset, ``rdata`` packed and sorted as in an RRset."""

    owner: bytes
    covered: int
    ttl: int
    rdata: bytes


#: Make an RRset, or Rrsigs, of the fields in order (a database row). ``_make`` does the same in Python code;
#: in a walk over millions of rows that takes longer than reading them.
rrset_of = cast(Callable[[Iterable[Any]], RRset], partial(tuple.__new__, RRset))
rrsigs_of = cast(Callable[[Iterable[Any]], Rrsigs], partial(tuple.__new__, Rrsigs))


#: The most octets under one signature that validators (Unbound, Knot, ldns) accept.
SIGNED_OCTETS_MAX = 65_535


def signed_octets(packed: bytes, records: int, owner_octets: int, signer_octets: int) -> int:
    """Return the octets that a signature over a packed set of ``records`` RRs covers (RFC 4034 §3.1.8.1).

    That is the RRSIG RDATA without the signature, then each RR with its owner name in full: names are given by their
    octets in uncompressed wire form.
    """
    return 18 + signer_octets + len(packed) + records * (owner_octets + 8)


def pack(rdatas: Iterable[bytes]) -> bytes:
    """Return RDATAs packed in canonical order without duplicates."""
    unique = set(rdatas)
    if len(unique) == 1:
        (only,) = unique
        return pack_one(only)
    return b"".join([len(rdata).to_bytes(2, "big") + rdata for rdata in sorted(unique)])


def pack_one(rdata: bytes) -> bytes:
    """Return one RDATA packed."""
    return len(rdata).to_bytes(2, "big") + rdata


def unpack(packed: bytes) -> list[bytes]:
    """Return the RDATAs of a packed set, in canonical order."""
    out = []
    position, end = 0, len(packed)
    while position < end:
        start = position + 2
        position = start + (packed[position] << 8 | packed[position + 1])
        out.append(packed[start:position])
    return out


def is_one(packed: bytes) -> bool:
    """Tell whether a packed set holds exactly one RR."""
    return len(packed) >= 2 and len(packed) == 2 + (packed[0] << 8 | packed[1])


def count(packed: bytes) -> int:
    """Return how many RRs a packed set holds."""
    if is_one(packed):
        return 1
    number = position = 0
    while position < len(packed):
        position += 2 + (packed[position] << 8 | packed[position + 1])
        number += 1
    return number


def earliest_expiration(rrsig_rdata: bytes) -> int:
    """Return the earliest expiration field of packed RRSIG RDATA, 32 bits (RFC 4034 §3.1.5)."""
    return min(int.from_bytes(rdata[8:12], "big") for rdata in unpack(rrsig_rdata))
