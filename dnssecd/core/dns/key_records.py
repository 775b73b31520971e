"""DNSKEY, CDS, CDNSKEY and RRSIG records as text (RFC 4034 §2.2 and §3.2, RFC 7344 §3), both ways."""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from dnssecd.core.dns.names import BadName, text_to_wire, wire_to_text
from dnssecd.core.dns.rrtypes import CDNSKEY, CDS, DNSKEY, RRSIG, type_text

TYPES = {"DNSKEY": DNSKEY, "CDS": CDS, "CDNSKEY": CDNSKEY, "RRSIG": RRSIG}
RECORD_OCTETS_MAX = 8192
#: Key tag, algorithm and digest type (RFC 4034 §5.1).
DS_HEAD_OCTETS = 4
_ALGORITHMS = {
    "RSASHA1": 5, "NSEC3RSASHA1": 7, "RSASHA256": 8, "RSASHA512": 10, "ECDSAP256SHA256": 13,
    "ECDSAP384SHA384": 14, "ED25519": 15, "ED448": 16, "MLDSA44": 18,
}  # fmt: skip
_TIME = re.compile(r"\d{14}")
_COMMENT = re.compile(r";[^\n]*")


class BadRecord(ValueError):
    """Text that is not a record of keys; the message says which part."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record: owner in lower-case wire form, TTL in seconds, RDATA in wire form."""

    owner: bytes
    ttl: int
    rtype: int
    rdata: bytes


def time_text(when: int) -> str:
    """Return epoch seconds as YYYYMMDDHHMMSS (RFC 4034 §3.2)."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y%m%d%H%M%S")


def time_of(text: str) -> int:
    """Return epoch seconds of YYYYMMDDHHMMSS or of a plain number; raise BadRecord."""
    if _TIME.fullmatch(text):
        try:
            return int(datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp())
        except ValueError:
            pass
    elif text.isascii() and text.isdigit() and len(text) <= 10:
        return int(text)
    raise BadRecord(f'"{text[:20]}" is not a time')


def rdata_text(rtype: int, rdata: bytes) -> str:
    """Return RDATA in presentation form, on one line."""
    if rtype in (DNSKEY, CDNSKEY):
        return f"{int.from_bytes(rdata[:2])} {rdata[2]} {rdata[3]} {_base64(rdata[4:])}"
    if rtype == CDS:
        return f"{int.from_bytes(rdata[:2])} {rdata[2]} {rdata[3]} {rdata[4:].hex().upper()}"
    if rtype == RRSIG:
        return _rrsig_text(rdata)
    raise BadRecord(f"{type_text(rtype)} is not a record of keys")


def _rrsig_text(rdata: bytes) -> str:
    covered, ttl = int.from_bytes(rdata[:2]), int.from_bytes(rdata[4:8])
    expiration, inception = (int.from_bytes(rdata[at : at + 4]) for at in (8, 12))
    end = _name_end(rdata, 18)
    head = f"{type_text(covered)} {rdata[2]} {rdata[3]} {ttl} {time_text(expiration)} {time_text(inception)}"
    return f"{head} {int.from_bytes(rdata[16:18])} {wire_to_text(rdata[18:end])} {_base64(rdata[end:])}"


def rdata_of(rtype: int, words: list[str]) -> bytes:
    """Return RDATA from the words of its presentation form; raise BadRecord."""
    try:
        if rtype in (DNSKEY, CDNSKEY):
            return _number(words[0], 2) + _number(words[1], 1) + _algorithm(words[2]) + _decoded(words[3:])
        if rtype == CDS:
            head = _number(words[0], 2) + _algorithm(words[1]) + _number(words[2], 1)
            return head + bytes.fromhex("".join(words[3:]))
        if rtype == RRSIG:
            return _rrsig_of(words)
    except (IndexError, ValueError, OverflowError) as error:
        detail = "it ends too early" if isinstance(error, IndexError) else str(error)
        raise BadRecord(f"not a {type_text(rtype)} record: {detail}") from None
    raise BadRecord(f"{type_text(rtype)} is not a record of keys")


def ds_of(text: str) -> bytes:
    """Return DS RDATA from presentation form, with or without owner, TTL, class and type; raise BadRecord."""
    words = text.replace("(", " ").replace(")", " ").split()
    upper = [word.upper() for word in words]
    if "DS" in upper:
        words = words[upper.index("DS") + 1 :]
    rdata = rdata_of(CDS, words)
    if len(rdata) == DS_HEAD_OCTETS:
        raise BadRecord("not a DS record: it has no digest")
    return rdata


def _rrsig_of(words: list[str]) -> bytes:
    covered = TYPES.get(words[0].upper())
    if covered is None or covered == RRSIG:
        raise BadRecord(f"an RRSIG over {words[0][:20]}")
    head = covered.to_bytes(2) + _algorithm(words[1]) + _number(words[2], 1) + _number(words[3], 4)
    times = time_of(words[4]).to_bytes(4) + time_of(words[5]).to_bytes(4)
    return head + times + _number(words[6], 2) + owner_of(words[7]) + _decoded(words[8:])


def owner_of(text: str) -> bytes:
    """Return a name in lower-case wire form; raise BadRecord."""
    try:
        return text_to_wire(text)
    except BadName as error:
        raise BadRecord(str(error)) from None


def records(text: str) -> Iterator[tuple[int, Record | str]]:
    """Yield (line number, record or comment line) of a text in zone file form.

    Comment lines (beginning with ";") come as text: they are the headers of a bundle. TTL and class may come in either
    order; an owner is needed on each record.
    """
    waiting: list[str] = []
    begun = 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(";") and not waiting:
            yield number, line
            continue
        begun = begun or number
        waiting.append(_COMMENT.sub("", line))
        joined = " ".join(waiting)
        if len(joined) > RECORD_OCTETS_MAX:
            raise BadRecord(f"line {begun}: a record of more than {RECORD_OCTETS_MAX} octets")
        if joined.count("(") == joined.count(")"):
            words = joined.replace("(", " ").replace(")", " ").split()
            if words:
                yield begun, _record(words, begun)
            waiting, begun = [], 0
    if waiting:
        raise BadRecord(f"line {begun}: a parenthesis is not closed")


def _record(words: list[str], number: int) -> Record:
    ttl, at = 0, 1
    while at < len(words) and words[at].upper() not in TYPES:
        word = words[at].upper()
        if word.isascii() and word.isdigit() and len(word) <= 10:
            ttl = int(word)
        elif word != "IN":
            raise BadRecord(f'line {number}: "{words[at][:20]}" is not a type of records of keys')
        at += 1
    if at >= len(words):
        raise BadRecord(f"line {number}: no record type")
    rtype = TYPES[words[at].upper()]
    try:
        return Record(owner_of(words[0]), ttl, rtype, rdata_of(rtype, words[at + 1 :]))
    except BadRecord as error:
        raise BadRecord(f"line {number}: {error}") from None


def _number(text: str, octets: int) -> bytes:
    if not (text.isascii() and text.isdigit()):
        raise BadRecord(f'"{text[:20]}" is not a number')
    return int(text[:11]).to_bytes(octets)


def _algorithm(text: str) -> bytes:
    known = _ALGORITHMS.get(text.upper())
    return bytes((known,)) if known is not None else _number(text, 1)


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


def _decoded(words: list[str]) -> bytes:
    if not words:
        raise IndexError
    try:
        return base64.b64decode("".join(words), validate=True)
    except binascii.Error as error:
        raise BadRecord(f"not base64: {error}") from None


def _name_end(wire: bytes, start: int) -> int:
    while wire[start]:
        start += 1 + wire[start]
    return start + 1
