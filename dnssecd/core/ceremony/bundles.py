"""Requests and responses as Knot (``keymgr``) and BIND (``dnssec-ksr``) write them: bundles in zone file form.

Each bundle begins with a comment line, and is in force from the time in it until the next::

    ;; KeySigningRequest 1.0 1795987789 (2026-11-29T21:29:49Z) =========      Knot: epoch seconds
    ;; KeySigningRequest 1.0 20261129212949 (Sun Nov 29 21:29:49 2026)        BIND: YYYYMMDDHHMMSS
    example.com. 3600 IN DNSKEY 256 3 13 …
    ;; KeySigningRequest 1.0 generated at …                                   the end

The last bundle of a request in Knot's form only ends the one before it. In BIND's form it is one like the others; its
end is not in the file, but an option of ``dnssec-ksr sign``.

A request has DNSKEY records only, a response (SignedKeyResponse) also RRSIG, CDS and CDNSKEY. One bundle has one DNSKEY
RRset: the form cannot say that two are possible at a time, as ours can. It is not signed; its hash is that of the file.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from dnssecd.core.ceremony.request import (
    DOCUMENT_OCTETS_MAX,
    SLOTS_MAX,
    BadDocument,
    Planned,
    Request,
    Slot,
    hash_of_file,
    stamp,
)
from dnssecd.core.ceremony.response import Response
from dnssecd.core.dns.key_records import BadRecord, Record, rdata_text, records, time_of, time_text
from dnssecd.core.dns.names import wire_to_text
from dnssecd.core.dns.rrtypes import CDNSKEY, CDS, DNSKEY, RRSIG, type_text
from dnssecd.core.keys.keyset import SEP
from dnssecd.core.keys.signed_ahead import AheadSet, merge

Form = Literal["knot", "bind"]
REQUEST = "KeySigningRequest"
RESPONSE = "SignedKeyResponse"
BUNDLES_MAX = 10_000
#: YYYYMMDDHHMMSS; Knot writes epoch seconds.
BIND_TIME_DIGITS = 14
_HEADER = re.compile(r";;\s*(KeySigningRequest|SignedKeyResponse)\s+(\S+)\s+(\S+)")


@dataclass
class _Bundle:
    """A bundle while it is read."""

    start: int
    records: list[Record] = field(default_factory=list)


def is_bundles(text: str) -> bool:
    """Return whether a text is in this form."""
    return _HEADER.match(text.lstrip()) is not None


# Reading


def form_of(text: str) -> Form:
    """Return in whose form bundles are: BIND's times have 14 digits."""
    header = _HEADER.match(text.lstrip())
    return "bind" if header is not None and len(header[3]) == BIND_TIME_DIGITS else "knot"


class EndMissing(BadDocument):
    """The request does not say when its last bundle ends."""


def read_bundles_request(
    text: str, *, ttl: int, validity_s: int, now: int, stop: int | None = None
) -> Request:
    """Return a request in Knot's or BIND's form; raise BadDocument.

    Each bundle becomes one slot or several, of ``validity_s`` seconds at most; ``ttl`` is used where there is none.
    stop: when the last bundle ends (epoch seconds), which BIND's form does not say (EndMissing).
    """
    bundles = list(_bundles(text, REQUEST))
    if stop is None and form_of(text) == "bind":
        raise EndMissing("BIND's form does not say when its last DNSKEY RRset ends")
    if stop is not None and stop <= bundles[-1].start:
        raise BadDocument(f"its last DNSKEY RRset begins at {stamp(bundles[-1].start)}, after the given end")
    zone = _zone_of(bundles)
    ttls = {record.ttl for bundle in bundles for record in bundle.records}
    if len(ttls) > 1:
        raise BadDocument("the DNSKEY records have different TTLs")
    slots, plan = [], []
    for bundle, end in _with_ends(bundles, stop):
        zsks = tuple(sorted({record.rdata for record in bundle.records}))
        if not zsks or any(record.rtype != DNSKEY or record.rdata[1] & SEP for record in bundle.records):
            raise BadDocument(f"the bundle of {stamp(bundle.start)} has no ZSK, or other records than ZSKs")
        plan.append(Planned(bundle.start, zsks))
        if (end - bundle.start) * 2 > SLOTS_MAX * validity_s:
            raise BadDocument(f"the bundle of {stamp(bundle.start)} is in force for too long")
        slots += [
            Slot(start, start + validity_s, (zsks,)) for start in _starts(bundle.start, end, validity_s)
        ]
    return Request(
        zone=zone,
        number=0,
        made=now,
        start=bundles[0].start,
        stop=bundles[-1].start if stop is None else stop,
        ttl=ttls.pop() or ttl,
        zsks=tuple(dict.fromkeys(rdata for slot in slots for zsks in slot.sets for rdata in zsks)),
        slots=tuple(slots),
        plan=tuple(plan),
        cds=False,
        file_hash=hash_of_file(text),
    )


def read_bundles_response(text: str, now: int) -> Response:
    """Return a response in Knot's or BIND's form; raise BadDocument."""
    bundles = list(_bundles(text, RESPONSE))
    sets = [made for bundle in bundles for made in _signed_sets(bundle)]
    return Response(
        zone=_zone_of(bundles),
        sets=merge(sets),
        made=now,
        start=bundles[0].start,
        stop=bundles[-1].start,
        file_hash=hash_of_file(text),
    )


def _signed_sets(bundle: _Bundle) -> Iterator[AheadSet]:
    for rtype in (DNSKEY, CDNSKEY, CDS):
        found = [record for record in bundle.records if record.rtype == rtype]
        rrsigs = [
            record.rdata
            for record in bundle.records
            if record.rtype == RRSIG and int.from_bytes(record.rdata[:2]) == rtype
        ]
        if not found:
            continue
        if len({record.ttl for record in found}) > 1:
            raise BadDocument(f"the bundle of {stamp(bundle.start)}: {type_text(rtype)} with different TTLs")
        yield AheadSet(rtype, found[0].ttl, tuple(sorted({record.rdata for record in found})), tuple(rrsigs))


def _bundles(text: str, kind: str) -> Iterator[_Bundle]:
    if len(text) > DOCUMENT_OCTETS_MAX:
        raise BadDocument(f"more than {DOCUMENT_OCTETS_MAX} octets")
    number, bundle = 0, None
    try:
        for _, item in records(text):
            if isinstance(item, Record):
                if bundle is None:
                    raise BadDocument("there are records before the first bundle")
                bundle.records.append(item)
            elif (start := _start(item, kind)) is not None:
                if bundle is not None:
                    yield bundle
                bundle, number = _Bundle(start), number + 1
                if number > BUNDLES_MAX:
                    raise BadDocument(f"more than {BUNDLES_MAX} bundles")
    except BadRecord as error:
        raise BadDocument(str(error)) from None
    if bundle is None:
        raise BadDocument(f"there is no {kind} in it")
    yield bundle


def _start(comment: str, kind: str) -> int | None:
    """Return when the bundle under a header begins; None for other comments and for the last line."""
    header = _HEADER.match(comment)
    if header is None:
        return None
    if header[1] != kind:
        raise BadDocument(f"this is a {header[1]}, not a {kind}")
    if header[2] != "1.0":
        raise BadDocument(f"version {header[2]} of the form; this dnssecd reads 1.0")
    return None if header[3] == "generated" else time_of(header[3])


def _zone_of(bundles: list[_Bundle]) -> bytes:
    owners = {record.owner for bundle in bundles for record in bundle.records}
    if len(owners) != 1:
        names = ", ".join(sorted(map(wire_to_text, owners))) or "none"
        raise BadDocument(f"all records of a file are of one zone; here: {names}")
    starts = [bundle.start for bundle in bundles]
    if starts != sorted(starts):
        raise BadDocument("the bundles are not in the order of their times")
    return owners.pop()


def _with_ends(bundles: list[_Bundle], stop: int | None) -> Iterator[tuple[_Bundle, int]]:
    last = bundles[-1].start if stop is None else stop
    yield from zip(bundles, [*(bundle.start for bundle in bundles[1:]), last], strict=True)


def _starts(start: int, stop: int, validity_s: int) -> Iterator[int]:
    """Yield when the slots of a bundle begin: each half a validity after the one before."""
    yield start
    step = max(1, validity_s // 2)
    at = start + step
    while at + step <= stop:
        yield at
        at += step


# Writing


def write_bundles_request(request: Request, form: Form, now: int) -> str:
    """Return the request in Knot's or BIND's form: each planned set, and the last one again."""
    lines: list[str] = []
    last = request.plan[-1].zsks
    for each in (*request.plan, Planned(request.stop, last)):
        lines.append(_header(REQUEST, each.start, form))
        lines += [_line(request.zone, request.ttl, DNSKEY, rdata) for rdata in each.zsks]
    lines.append(_end(REQUEST, now))
    return "\n".join(lines) + "\n"


def write_bundles_response(
    bundles: Iterable[tuple[int, tuple[AheadSet, ...]]], zone: bytes, form: Form, now: int
) -> str:
    """Return bundles (beginning, RRsets with the RRSIGs of that time) in Knot's or BIND's form."""
    lines: list[str] = []
    for start, sets in bundles:
        lines.append(_header(RESPONSE, start, form))
        for each in sets:
            lines += [_line(zone, each.ttl, each.rtype, rdata) for rdata in each.rdatas]
            lines += [_line(zone, each.ttl, RRSIG, rrsig) for rrsig in each.rrsigs]
    lines.append(_end(RESPONSE, now))
    return "\n".join(lines) + "\n"


def _header(kind: str, start: int, form: Form) -> str:
    if form == "knot":
        return f";; {kind} 1.0 {start} ({stamp(start)}) ========="
    return f";; {kind} 1.0 {time_text(start)} ({stamp(start)})"


def _end(kind: str, now: int) -> str:
    return f";; {kind} 1.0 generated at {stamp(now)} by dnssecd"


def _line(zone: bytes, ttl: int, rtype: int, rdata: bytes) -> str:
    return f"{wire_to_text(zone)} {ttl} IN {type_text(rtype)} {rdata_text(rtype, rdata)}"
