"""RRSIG RDATA and what is signed (RFC 4034 §3.1), built from packed RRsets."""

from dnssecd.core.keyset import SigningKey
from dnssecd.core.lifetimes import Window
from dnssecd.core.names import is_wildcard, key_to_wire, wire_label_count
from dnssecd.core.rrset import RRset
from dnssecd.core.rrtypes import CLASS_IN

_CLASS = CLASS_IN.to_bytes(2, "big")


class RrsigBuilder:
    """Makes RRSIG RDATA heads (all before the signature) and preimages for one zone and time window."""

    def __init__(self, origin: bytes, window: Window) -> None:
        self._origin = origin
        self._origin_labels = wire_label_count(origin)
        self._window = window
        self._inception = (window.inception % (1 << 32)).to_bytes(4, "big")

    def expiration(self, rrset: RRset) -> int:
        """Return the expiration the RRSIGs over this RRset get, epoch seconds."""
        return self._window.expiration(rrset.owner, rrset.rtype)

    def head(self, rrset: RRset, key: SigningKey, expiration: int) -> bytes:
        """Return RRSIG RDATA without the signature (RFC 4034 §3.1)."""
        owner = rrset.owner
        labels = owner.count(b"\x00") + self._origin_labels
        if owner.endswith(b"*\x00") and is_wildcard(owner):
            labels -= 1
        return b"".join((
            rrset.rtype.to_bytes(2, "big"),
            bytes((key.algorithm, labels)),
            rrset.ttl.to_bytes(4, "big"),
            (expiration % (1 << 32)).to_bytes(4, "big"),
            self._inception,
            key.tag.to_bytes(2, "big"),
            self._origin,
        ))  # fmt: skip

    def body(self, rrset: RRset) -> bytes:
        """Return the RRs as they are signed: canonical form and order (RFC 4034 §3.1.8.1)."""
        prefix = (
            key_to_wire(rrset.owner, self._origin) + rrset.rtype.to_bytes(2, "big") + _CLASS
            + rrset.ttl.to_bytes(4, "big")
        )  # fmt: skip
        packed = rrset.rdata
        length = 2 + (packed[0] << 8 | packed[1])
        if length == len(packed):
            return prefix + packed
        parts: list[bytes] = []
        position = 0
        while position < len(packed):
            end = position + 2 + (packed[position] << 8 | packed[position + 1])
            parts += (prefix, packed[position:end])
            position = end
        return b"".join(parts)
