"""What a signer demands of a response before anything of it is used. Every refusal is a line for people."""

from collections.abc import Iterable

from msgspec import Struct

from dnssecd.core.ceremony.report import ds_digest, ds_text
from dnssecd.core.ceremony.response import Response
from dnssecd.core.ceremony.rrsigs import rrsig_faults
from dnssecd.core.dns.names import wire_to_text
from dnssecd.core.dns.rrtypes import DNSKEY
from dnssecd.core.keys.keyset import SEP, ZONE, SigningKey, key_tag
from dnssecd.core.keys.signed_ahead import (
    AheadSet,
    SignedAhead,
    expiration,
    inception,
    merge,
    signer_mark,
    unexpired,
)
from dnssecd.core.utc import moment

LINES_MAX = 20
KSK_FLAGS = ZONE | SEP
TTL_MAX = 2**31 - 1  # RFC 2181 §8


class ResponseRefused(ValueError):
    """A response that is not used; ``reasons`` are lines for people."""

    def __init__(self, reasons: list[str]) -> None:
        """Take the reasons."""
        super().__init__("; ".join(reasons[:LINES_MAX]))
        self.reasons = reasons


class Published(Struct, frozen=True):
    """The DNSKEY RRset published now: RDATA, and who signs it; no RDATA where nothing is published yet."""

    rdatas: tuple[bytes, ...] = ()
    keys: tuple[SigningKey, ...] = ()


class Signer(Struct, frozen=True):
    """What the signer knows. ``zsks``, ``ksks``: DNSKEY RDATA; ``accepted``: digests of KSKs that a person accepts.

    Each as by `ds_digest`: a tag has 16 bits, and anybody can make a key with a given one.
    """

    zone: bytes
    zsks: frozenset[bytes]
    ksks: frozenset[bytes]
    ahead: SignedAhead
    published: Published = Published()
    accepted: frozenset[str] = frozenset()


class Accepted(Struct, frozen=True):
    """What may be used. ``ksks``: DNSKEY RDATA of KSKs that the signer did not know; ``until``: epoch s."""

    ahead: SignedAhead
    ksks: tuple[bytes, ...]
    until: int


def accept_response(response: Response, signer: Signer, now: int) -> Accepted:
    """Return what may be used of a response; raise ResponseRefused."""
    if response.zone != signer.zone:
        raise ResponseRefused(
            [f"the response is for {wire_to_text(response.zone)}, not for {wire_to_text(signer.zone)}"]
        )
    reasons = [*_foreign_zsks(response, signer), *_strange_ksks(response, signer)]
    reasons += _long_ttls(response, now)
    reasons += rrsig_faults(response.zone, response.sets, {*response.ksks, *signer.ksks}, now)
    if reasons:
        raise ResponseRefused(reasons)
    useful = unexpired(response.sets, now)
    if not any(each.rtype == DNSKEY for each in useful):
        raise ResponseRefused([f"all signatures have expired, the last {_last(response.sets, now)}"])
    ahead = SignedAhead(signer.ahead.stores, unexpired(merge((*signer.ahead.sets, *useful)), now))
    until = _until(signer, useful, ahead, now)
    return Accepted(ahead, tuple(rdata for rdata in response.ksks if rdata not in signer.ksks), until)


def _foreign_zsks(response: Response, signer: Signer) -> list[str]:
    foreign = sorted(key_tag(rdata) for rdata in response.zsks if rdata not in signer.zsks)
    if not foreign:
        return []
    tags = ", ".join(map(str, foreign))
    return [
        f"it has ZSKs that this signer does not have: key tags {tags}; is it the response of another signer?"
    ]


def _strange_ksks(response: Response, signer: Signer) -> list[str]:
    """Return a line for each KSK that no known KSK confirms and no person accepted."""
    if not response.ksks:
        return ["it has no DNSKEY RRset with a KSK"]
    odd = [rdata for rdata in response.ksks if int.from_bytes(rdata[:2]) != KSK_FLAGS]
    if odd:
        return [
            f"KSK {key_tag(rdata)} has flags {int.from_bytes(rdata[:2])}: the DNSKEY of a KSK here has {KSK_FLAGS}, so "
            "that what was signed could never be published"
            for rdata in odd
        ]
    trusted = set(signer.ksks) | {
        rdata for rdata in response.ksks if ds_digest(signer.zone, rdata) in signer.accepted
    }
    confirmed = {rdata for each in response.sets if _confirms(each, trusted) for rdata in each.rdatas}
    return [
        f"KSK {key_tag(rdata)} is not known, and no known KSK signs a DNSKEY RRset with it: compare its DS with the "
        f"report of the ceremony, then add --accept-ksk with its digest; {ds_text(signer.zone, rdata)}"
        for rdata in response.ksks
        if rdata not in trusted and rdata not in confirmed
    ]


def _long_ttls(response: Response, now: int) -> list[str]:
    """Return a line for each TTL with which rollovers would wait longer than the RRset is signed."""
    lines = []
    for ttl in sorted({each.ttl for each in response.sets}):
        rrsigs = [rrsig for each in response.sets if each.ttl == ttl for rrsig in each.rrsigs]
        shortest = min((expiration(rrsig, now) - inception(rrsig, now) for rrsig in rrsigs), default=TTL_MAX)
        if ttl > min(shortest, TTL_MAX):
            lines.append(
                f"an RRset has TTL {ttl} s, and its shortest RRSIG is valid for {shortest} s: sign with a shorter TTL"
            )
    return lines


def _confirms(each: AheadSet, trusted: set[bytes]) -> bool:
    """Return whether a trusted KSK signs a DNSKEY RRset (the signature itself is verified elsewhere)."""
    if each.rtype != DNSKEY:
        return False
    marks = {(rdata[3], key_tag(rdata)) for rdata in trusted if rdata in each.rdatas}
    return any(signer_mark(rrsig) in marks for rrsig in each.rrsigs)


def _until(signer: Signer, useful: tuple[AheadSet, ...], ahead: SignedAhead, now: int) -> int:
    """Return until when the published RRset is signed with the response; raise ResponseRefused for a gap."""
    current = signer.published
    if not current.rdatas:
        return max(_ends(useful, now))
    if not any(each.rtype == DNSKEY and each.rdatas == current.rdatas for each in useful):
        raise ResponseRefused(
            [
                "none of its DNSKEY RRsets is the one published now (key tags "
                f"{_tags(current.rdatas)}): make a new request and have that signed"
            ]
        )
    keys = ahead.absent(current.keys)
    until = ahead.until(DNSKEY, current.rdatas, keys, now)
    last = max(_ends((each for each in useful if each.rdatas == current.rdatas), now))
    if until < last:
        begin = "now" if until <= now else moment(until)
        raise ResponseRefused(
            [
                f"the DNSKEY RRset published now has no valid signature from {begin} until a later one begins: "
                "there is a gap. Have a request signed that begins earlier"
            ]
        )
    return until


def _ends(sets: Iterable[AheadSet], now: int) -> list[int]:
    return [expiration(rrsig, now) for each in sets if each.rtype == DNSKEY for rrsig in each.rrsigs]


def _last(sets: Iterable[AheadSet], now: int) -> str:
    ends = _ends(sets, now)
    return moment(max(ends)) if ends else "never valid"


def _tags(rdatas: tuple[bytes, ...]) -> str:
    return ", ".join(str(key_tag(rdata)) for rdata in rdatas)
