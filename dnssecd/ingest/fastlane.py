"""The fast reader for plain one-line records of common types; it makes no object for each field.

It never reports an error. It declines a line that is not plain, and leaves it to the slow lane, which returns
the same result (a property test compares the two) or the error message. Declining is an exception internally,
so that the common path has no checks for it.
"""

from collections.abc import Iterator
from socket import AF_INET, inet_pton

from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, SIGNATURE_TYPES, A
from dnssecd.ingest import fastdnssec, fastrdata
from dnssecd.ingest.collect import Row
from dnssecd.ingest.errors import RecordError
from dnssecd.ingest.lexer import BLANKS
from dnssecd.ingest.plainwords import DECLINED, PLAIN, PlainWords

_PLAIN_LINE = PLAIN + b" \t@$"
_BLANKS = frozenset(BLANKS)
_IN = frozenset({b"IN", b"in", b"In", b"iN"})
#: RDATA of records left out of the input.
_STRIPPED = b""

_MNEMONICS = {
    b"A": 1, b"NS": 2, b"CNAME": 5, b"PTR": 12, b"MX": 15, b"TXT": 16, b"AAAA": 28, b"SRV": 33, b"DNAME": 39,
    b"DS": 43, b"TLSA": 52, b"CAA": 257, b"RRSIG": 46, b"NSEC": 47, b"DNSKEY": 48, b"NSEC3": 50,
}  # fmt: skip
_TYPES = {**_MNEMONICS, **{word.lower(): number for word, number in _MNEMONICS.items()}}


class FastLane(PlainWords):
    """Reads plain lines into ``rows``; one Reader owns it, sets the origin and keeps the TTLs."""

    def __init__(self, zone: bytes, rows: list[Row], stripped: dict[int, int], *, strip: bool) -> None:
        super().__init__(zone)
        self._rows = rows
        self._stripped = stripped
        self._parsers = {**fastrdata.PARSERS, **fastdnssec.PARSERS}
        if strip:
            self._parsers |= dict.fromkeys(SIGNATURE_TYPES, _strip)
            self._parsers |= dict.fromkeys(APEX_DERIVED_TYPES, _strip_at_apex)

    def decline(self, rtype: int) -> None:
        """Leave records of this type to the reader."""
        self._parsers[rtype] = _declined

    def run(
        self,
        lines: Iterator[tuple[int, bytes]],
        key: bytes | None,
        default_ttl: int | None,
        last_ttl: int | None,
    ) -> tuple[tuple[int, bytes] | None, bytes | None, int | None]:
        """Read lines until one is declined.

        key: the last owner's key, None if there is none to inherit. Returns the declined line (None: all were
        read), the last owner key and the last stated TTL.
        """
        append = self._rows.append
        types, ttls, parsers = _TYPES, self.ttls, self._parsers
        last_word = None
        line, text = 0, b""
        try:
            for line, text in lines:  # noqa: B007 - the line that declines is what is returned
                fields = text.split()
                if not fields:
                    continue
                if text[0] in _BLANKS:
                    if key is None:
                        break
                    owner, word, at = key, last_word, 0
                else:
                    word = fields[0]
                    owner = key if word == last_word else self.owner_key(word)  # type: ignore[assignment]
                    at = 1
                ttl = None
                field = fields[at]
                if field in _IN:
                    at += 1
                    field = fields[at]
                rtype = types.get(field)
                if rtype is None:
                    ttl = ttls.get(field)
                    if ttl is None:
                        ttl = self.ttl(field)
                    at += 1
                    field = fields[at]
                    if field in _IN and fields[at - 2] not in _IN:
                        at += 1
                        field = fields[at]
                    rtype = types[field]
                if rtype == A:
                    if len(fields) != at + 2:
                        break
                    rdata = b"\x00\x04" + inet_pton(AF_INET, fields[at + 1].decode("ascii"))
                else:
                    rdata = parsers[rtype](self, fields, at + 1, text, owner)
                if ttl is None:
                    ttl = default_ttl if default_ttl is not None else last_ttl
                    if ttl is None:
                        break
                else:
                    last_ttl = ttl
                key, last_word = owner, word
                if rdata:
                    append((owner, rtype, ttl, rdata))
                else:
                    self._stripped[rtype] = self._stripped.get(rtype, 0) + 1
            else:
                return None, key, last_ttl
        except RecordError:
            raise
        except DECLINED:
            pass
        except OSError:  # from inet_pton; errors of reading are RecordError
            pass
        return (line, text), key, last_ttl

    def rdata(self, rtype: int, given: list[bytes]) -> bytes | None:
        """Return packed RDATA for the words of a record that is kept, or None for the slow lane."""
        parser = fastrdata.PARSERS.get(rtype) or fastdnssec.PARSERS.get(rtype) or fastrdata.SINGLE.get(rtype)
        if parser is None:
            return None
        try:
            return parser(self, given, 0, b" ".join(given), b"-")
        except (*DECLINED, OSError):
            return None


def _declined(_plain: PlainWords, _fields: list[bytes], _at: int, _text: bytes, _owner: bytes) -> bytes:
    raise ValueError


def _strip(_plain: PlainWords, _fields: list[bytes], _at: int, text: bytes, _owner: bytes) -> bytes:
    if text.translate(None, _PLAIN_LINE):
        raise ValueError
    return _STRIPPED


def _strip_at_apex(plain: PlainWords, fields: list[bytes], at: int, text: bytes, owner: bytes) -> bytes:
    if owner:
        raise ValueError
    return _strip(plain, fields, at, text, owner)
