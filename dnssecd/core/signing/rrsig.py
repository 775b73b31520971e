"""RRSIG RDATA and the octets that are signed (RFC 4034 §3.1), built from packed RRsets."""

from dnssecd.core.dns.names import is_wildcard, key_to_wire, wire_label_count
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import CLASS_IN
from dnssecd.core.keys.keyset import SigningKey
from dnssecd.core.signing.lifetimes import Window

_CLASS = CLASS_IN.to_bytes(2, "big")


class RrsigBuilder:
    """Makes RRSIG RDATA heads (all before the signature) and preimages for one zone and time window.

    Most octets are the same for thousands of RRsets, and are made once.
    """

    def __init__(self, origin: bytes, window: Window) -> None:
        self._origin = origin
        self._origin_labels = wire_label_count(origin)
        # RFC 4034 §3.1.3: a leading label "*" is not counted, not even at an apex such as *.wild.example.
        self._apex_labels = self._origin_labels - origin.startswith(b"\x01*")
        self._window = window
        self._inception = (window.inception % (1 << 32)).to_bytes(4, "big")
        self._fronts: dict[tuple[int, int, int, int], bytes] = {}
        self._tails: dict[int, bytes] = {}
        self._middles: dict[tuple[int, int], bytes] = {}

    def expiration(self, rrset: RRset) -> int:
        """Return the expiration the RRSIGs over this RRset get, epoch seconds."""
        return self._window.expiration(rrset[0], rrset[1])

    def head(self, rrset: RRset, key: SigningKey, expiration: int) -> bytes:
        """Return RRSIG RDATA without the signature (RFC 4034 §3.1)."""
        owner, rtype, ttl, _ = rrset
        labels = owner.count(b"\x00") + self._origin_labels
        if owner.endswith(b"*\x00") and is_wildcard(owner):
            labels -= 1
        elif not owner:
            labels = self._apex_labels
        place = (rtype, key.algorithm, labels, ttl)
        front = self._fronts.get(place) or self._front(place)
        tail = self._tails.get(key.tag) or self._tail(key.tag)
        return front + (expiration & 0xFFFFFFFF).to_bytes(4, "big") + tail

    def _front(self, place: tuple[int, int, int, int]) -> bytes:
        rtype, algorithm, labels, ttl = place
        front = rtype.to_bytes(2, "big") + bytes((algorithm, labels)) + ttl.to_bytes(4, "big")
        self._fronts[place] = front
        return front

    def _tail(self, tag: int) -> bytes:
        tail = self._tails[tag] = self._inception + tag.to_bytes(2, "big") + self._origin
        return tail

    def body(self, rrset: RRset) -> bytes:
        """Return the RRs as they are signed: canonical form and order (RFC 4034 §3.1.8.1)."""
        owner, rtype, ttl, packed = rrset
        middle = self._middles.get((rtype, ttl)) or self._middle(rtype, ttl)
        prefix = key_to_wire(owner, self._origin) + middle
        if 2 + (packed[0] << 8 | packed[1]) == len(packed):
            return prefix + packed
        parts: list[bytes] = []
        position = 0
        while position < len(packed):
            end = position + 2 + (packed[position] << 8 | packed[position + 1])
            parts += (prefix, packed[position:end])
            position = end
        return b"".join(parts)

    def _middle(self, rtype: int, ttl: int) -> bytes:
        """Return the octets between owner and RDLENGTH of each RR."""
        middle = self._middles[rtype, ttl] = rtype.to_bytes(2, "big") + _CLASS + ttl.to_bytes(4, "big")
        return middle
