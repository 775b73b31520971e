"""What an algorithm does to the size of a zone: its answers, transfers and store, before any key of it exists.

The stored version is measured, and its keys and signatures are replaced by those of the other algorithm in number and
size. Owner names in answers count as compressed (two octets), those in transfers in full: real transfers are somewhat
smaller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from msgspec import Struct

from dnssecd.core.dns.names import APEX, key_to_wire
from dnssecd.core.dns.rrset import RRset, unpack
from dnssecd.core.dns.rrtypes import CDNSKEY, DNSKEY, NSEC3, SOA
from dnssecd.core.zone.zoneview import ZoneView

#: Octets of the public key in a DNSKEY, and of a signature. RSA: of 2,048 bits.
OCTETS: Mapping[int, tuple[int, int]] = MappingProxyType(
    {
        8: (260, 256),
        10: (260, 256),
        13: (64, 64),
        14: (96, 96),
        15: (32, 64),
        16: (57, 114),
        18: (1_312, 2_420),
    }
)
#: Header and OPT of a message; what an RR has besides its name and RDATA; a compressed name; an address.
_MESSAGE, _RR, _POINTER, _ADDRESS = 12 + 11, 10, 2, 4
_QUESTION = 4
#: What an RRSIG's RDATA has before the name of the signer (RFC 4034 §3.1).
_RRSIG_FIXED = 18
_NSEC3_OWNER = 1 + 32 + _POINTER
#: Algorithm and octets of each signature over a set; and from those the octets of the signatures in a stage.
_Signatures = tuple[tuple[int, int], ...]
_SignedBy = Callable[[_Signatures], list[int]]
#: NSEC3 or NSEC RRs in the proof that a name does not exist.
_PROOFS = {True: 3, False: 2}


class Sizes(Struct, frozen=True):
    """Octets of one stage. ``signatures``: how many there are. ``update``: IXFR of one address added at a name.

    ``dnskey``, ``soa``, ``address``, ``nxdomain``: answers to queries for these, with signatures.
    """

    dnskey: int
    soa: int
    address: int
    nxdomain: int
    update: int
    transfer: int
    signatures: int
    signature_octets: int


class SizeForecast(Struct, frozen=True):
    """A zone as it is, while both algorithms sign it (RFC 4035 §2.2), and with the other algorithm alone."""

    now: Sizes
    during: Sizes
    after: Sizes


@dataclass(slots=True)
class _Measured:
    """A version: octets of RRs in transfers, RDATA of the keys, and the signatures of each set by algorithm."""

    origin: bytes
    content: int = 0
    keys: list[bytes] = field(default_factory=list)
    soa: int = 0
    denial_rdata: int = 0
    denials: int = 0
    hashed: bool = False
    #: Octets of the owner, and signatures by octets of the signature, with how often both occur.
    sets: Counter[tuple[int, _Signatures]] = field(default_factory=Counter)
    dnskey_signatures: _Signatures = ()


def forecast_sizes(view: ZoneView, algorithm: int) -> SizeForecast:
    """Measure a signed version, and compute it with an algorithm of :data:`OCTETS`; KeyError for another one."""
    key_octets, signature_octets = OCTETS[algorithm]
    measured = _measure(view)
    old_keys = [len(rdata) for rdata in measured.keys]
    number = max(Counter(rdata[3] for rdata in measured.keys).values(), default=0)
    new_keys = [4 + key_octets] * number

    def changed(signatures: _Signatures) -> list[int]:
        most = max(Counter(number for number, _ in signatures).values(), default=0)
        return [signature_octets] * most

    def kept(signatures: _Signatures) -> list[int]:
        return [octets for _, octets in signatures]

    return SizeForecast(
        now=_stage(measured, old_keys, kept),
        during=_stage(measured, [*old_keys, *new_keys], lambda each: [*kept(each), *changed(each)]),
        after=_stage(measured, new_keys, changed),
    )


def _measure(view: ZoneView) -> _Measured:
    found = _Measured(view.origin)
    for rrset in view.scan():
        if rrset.rtype in (DNSKEY, CDNSKEY) and rrset.owner == APEX:
            if rrset.rtype == DNSKEY:
                found.keys = unpack(rrset.rdata)
            continue  # counted by stage; CDNSKEY is published for a short time only
        found.content += _octets(rrset, view.origin)
        if rrset.rtype == SOA and rrset.owner == APEX:
            found.soa = len(rrset.rdata) - 2
    for rrset in view.denial_scan():
        found.content += _octets(rrset, view.origin)
        found.denial_rdata += len(rrset.rdata) - 2
        found.denials += 1
        found.hashed = rrset.rtype == NSEC3
    for signatures in view.rrsig_scan():
        fixed = _RRSIG_FIXED + len(view.origin)
        each = tuple((rdata[2], len(rdata) - fixed) for rdata in unpack(signatures.rdata))
        found.sets[len(key_to_wire(signatures.owner, view.origin)), each] += 1
        if signatures.covered == DNSKEY and signatures.owner == APEX:
            found.dnskey_signatures = each
    return found


def _octets(rrset: RRset, origin: bytes) -> int:
    owner = len(key_to_wire(rrset.owner, origin))
    return sum(owner + _RR + len(rdata) for rdata in unpack(rrset.rdata))


def _stage(measured: _Measured, keys: list[int], signed_by: _SignedBy) -> Sizes:
    """Return the sizes with DNSKEY RDATAs and signatures of given lengths. signed_by: lengths for those of a set."""
    origin, fixed = len(measured.origin), _RRSIG_FIXED + len(measured.origin)
    typical = signed_by(_most_common(measured))
    over_set = sum(_POINTER + _RR + fixed + octets for octets in typical)

    def answer(*rrs: int, sets: int = 1, name: int = origin) -> int:
        return _MESSAGE + name + _QUESTION + sum(_RR + octets for octets in rrs) + sets * over_set

    proofs = _PROOFS[measured.hashed]
    denial = measured.denial_rdata // max(1, measured.denials) + (
        _NSEC3_OWNER if measured.hashed else _POINTER + 8
    )
    over_dnskey = sum(_POINTER + _RR + fixed + octets for octets in signed_by(measured.dnskey_signatures))
    numbers, transfer = 0, measured.content + sum(origin + _RR + octets for octets in keys)
    total = 0
    for (owner, signatures), times in measured.sets.items():
        lengths = signed_by(signatures)
        numbers += times * len(lengths)
        total += times * sum(lengths)
        transfer += times * sum(owner + _RR + fixed + octets for octets in lengths)
    soa = _POINTER + measured.soa
    return Sizes(
        dnskey=answer(*(_POINTER + octets for octets in keys), sets=0) + over_dnskey,
        soa=answer(soa),
        address=answer(_POINTER + _ADDRESS, name=origin + 4),
        nxdomain=answer(soa, *([denial] * proofs), sets=1 + proofs, name=origin + 4),
        update=answer(*([soa] * 4), _POINTER + _ADDRESS, sets=4) - 11,
        transfer=transfer,
        signatures=numbers,
        signature_octets=total,
    )


def _most_common(measured: _Measured) -> _Signatures:
    by_signatures: Counter[_Signatures] = Counter()
    for (_, signatures), times in measured.sets.items():
        by_signatures[signatures] += times
    return by_signatures.most_common(1)[0][0] if by_signatures else ()
