"""Plain words to wire form: names, numbers and TTLs without quotes or escapes, in a cache of recent ones.

A word that is not plain raises one of DECLINED; the slow lane then finds the reason.
"""

from dnssecd.core.dns.names import escape_label, is_subdomain, labels, wire_to_text
from dnssecd.ingest import words
from dnssecd.ingest.errors import RecordError

DECLINED = (IndexError, KeyError, ValueError, OverflowError)

#: Octets without special meaning at any place in a word.
PLAIN = bytes(c for c in range(33, 127) if c not in b'"();\\@$')

_LENGTH = [bytes((length,)) for length in range(64)]
_LENGTH2 = [bytes((0, length)) for length in range(256)]
_MEMO_MAX = 8192


class PlainWords:
    """Reads the words of one zone; relative names are relative to ``origin``, see :meth:`set_origin`."""

    def __init__(self, zone: bytes) -> None:
        self._zone = zone
        # The slow lane handles a zone name with escapes.
        text = wire_to_text(zone).encode()
        self._zone_text = b"" if b"\\" in text else text
        self._suffix = text if zone == b"\x00" else b"." + text
        self._name_rdata: dict[bytes, bytes] = {}
        self._numbers: dict[bytes, bytes] = {}
        self.ttls: dict[bytes, int] = {}
        self.set_origin(zone)

    def set_origin(self, origin: bytes) -> None:
        """Set the origin of relative names (lower-cased wire name)."""
        self.origin = origin
        self._origin_key: bytes | None = None
        if is_subdomain(origin, self._zone):
            relative = labels(origin[: len(origin) - len(self._zone)] + b"\x00")
            self._origin_key = b"".join([escape_label(label) + b"\x00" for label in reversed(relative)])
        self._name_rdata.clear()

    def owner_key(self, word: bytes) -> bytes:
        """Return the owner key of a plain name inside the zone."""
        if word.translate(None, PLAIN):
            return self._apex_or_origin(word)
        name = word.lower()
        prefix = self._origin_key
        if name.endswith(b"."):
            if name == self._zone_text:
                return b""
            if not (self._zone_text and name.endswith(self._suffix)):
                raise ValueError
            name = name[: len(name) - len(self._suffix)]
            prefix = b""
        if prefix is None:
            raise ValueError
        parts = name.split(b".")
        if len(parts) > 1:
            parts.reverse()
            if b"" in parts or max(map(len, parts)) > 63:
                raise ValueError
        elif not 0 < len(name) < 64:
            raise ValueError
        key = prefix + b"\x00".join(parts) + b"\x00"
        if len(key) + len(self._zone) > 255:
            raise ValueError
        return key

    def _apex_or_origin(self, word: bytes) -> bytes:
        if word != b"@" or self._origin_key is None:
            raise ValueError
        return self._origin_key

    def name(self, word: bytes) -> bytes:
        """Return the lower-cased wire form of a plain name in RDATA."""
        return self.name_as_written(word.lower())

    def name_as_written(self, word: bytes) -> bytes:
        """Return the wire form of a plain name in RDATA, in the case it is written."""
        if word.translate(None, PLAIN):
            if word == b"@":
                return self.origin
            raise ValueError
        name = word
        tail = self.origin
        if name.endswith(b"."):
            name = name[:-1]
            tail = b"\x00"
            if not name:
                return tail
        parts = name.split(b".")
        if b"" in parts:
            raise ValueError
        wire = b"".join([_LENGTH[len(part)] + part for part in parts]) + tail
        if len(wire) > 255:
            raise ValueError
        return wire

    def ttl(self, word: bytes) -> int:
        """Return the TTL of a word, and store it in ``ttls``."""
        if len(word) > 10:
            raise ValueError
        try:
            value = words.ttl(word)
        except RecordError:
            value = None
        if value is None:
            raise ValueError
        if len(self.ttls) < _MEMO_MAX:
            self.ttls[word] = value
        return value

    def uint16(self, word: bytes) -> bytes:
        """Return a decimal number up to 65,535 as two octets."""
        number = self._numbers.get(word)
        if number is None:
            if not word.isdigit() or len(word) > 5:
                raise ValueError
            number = self._numbers[word] = uint(word, 65535).to_bytes(2, "big")
        return number

    def name_rdata(self, word: bytes) -> bytes:
        """Return packed RDATA that is only a name."""
        rdata = self._name_rdata.get(word)
        if rdata is None:
            name = self.name(word)
            rdata = _LENGTH2[len(name)] + name
            if len(self._name_rdata) >= _MEMO_MAX:
                self._name_rdata.clear()
            self._name_rdata[word] = rdata
        return rdata


def uint(word: bytes, most: int) -> int:
    """Return a decimal number of at most ten digits."""
    if not word.isdigit() or len(word) > 10 or int(word) > most:
        raise ValueError
    return int(word)
