"""A small signer for tests: naive on purpose (every question is answered by looking at all names), Ed25519 keys.

It shares no code with the product but the data model, so that neither the signing side nor the verifier is judged
by itself.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dnssecd.core.dns.names import key_to_wire, owner_key, text_to_wire
from dnssecd.core.dns.rrset import RRset, Rrsigs, pack, unpack
from dnssecd.core.verify import MemoryZoneView

NOW = 1_700_000_000
ORIGIN = text_to_wire("example.")
A, NS, CNAME, SOA, TXT, DNAME, DS, RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM = (
    1, 2, 5, 6, 16, 39, 43, 46, 47, 48, 50, 51,
)  # fmt: skip

Content = dict[tuple[bytes, int], tuple[int, frozenset[bytes]]]


def key(text: str) -> bytes:
    """Owner key of a name relative to the zone; "" or "@" is the apex."""
    return b"" if text in ("", "@") else owner_key(text_to_wire(f"{text}.example."), ORIGIN)


def name(text: str) -> bytes:
    """Wire form of an absolute name."""
    return text_to_wire(text)


class Key:
    """A signing key; ``flags`` 257 is a KSK, 256 a ZSK."""

    def __init__(self, seed: int, flags: int) -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"%d" % seed).digest())
        public = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.rdata = struct.pack(">HBB", flags, 3, 15) + public
        total = sum(octet if at % 2 else octet << 8 for at, octet in enumerate(self.rdata))
        self.tag = (total + (total >> 16)) & 0xFFFF


KSK = Key(1, 257)
ZSK = Key(2, 256)


def soa(serial: int, minimum: int = 900) -> bytes:
    """SOA RDATA."""
    return name("ns1.example.") + name("h.example.") + struct.pack(">IIIII", serial, 1, 1, 1, minimum)


@dataclass
class Naive:
    """Signs content; ``nsec3`` None means NSEC."""

    nsec3: bool = False
    iterations: int = 0
    salt: bytes = b""
    opt_out: bool = False
    keep_opt_out_empty: bool = False
    keys: tuple[Key, ...] = (KSK, ZSK)
    inception: int = NOW - 3600
    expiration: int = NOW + 30 * 86400
    cache: dict[tuple[bytes, bytes], Rrsigs] = field(default_factory=dict)

    def sign(self, content: Content) -> MemoryZoneView:
        """Return the signed version of content (which has no derived RRsets)."""
        sets = {place: RRset(*place, ttl, pack(rdatas)) for place, (ttl, rdatas) in content.items()}
        sets[b"", DNSKEY] = RRset(b"", DNSKEY, 3600, pack(k.rdata for k in self.keys))
        if self.nsec3:
            param = bytes((1, 0)) + struct.pack(">HB", self.iterations, len(self.salt)) + self.salt
            sets[b"", NSEC3PARAM] = RRset(b"", NSEC3PARAM, 0, pack([param]))
        apex = sets[b"", SOA]
        ttl = min(apex.ttl, int.from_bytes(apex.rdata[-4:], "big"))
        types: dict[bytes, set[int]] = {}
        for owner, rtype in sets:
            types.setdefault(owner, set()).add(rtype)
        denial = self._nsec3s(types, ttl) if self.nsec3 else self._nsecs(types, ttl)
        signed = [s for s in sets.values() if is_signed(types, s.owner, s.rtype)]
        rrsigs = [self._sign(s) for s in [*signed, *denial]]
        return MemoryZoneView(ORIGIN, sets.values(), denial, rrsigs)

    def _nsecs(self, types: dict[bytes, set[int]], ttl: int) -> list[RRset]:
        owners = sorted(owner for owner in types if not is_occluded(types, owner))
        out = []
        for at, owner in enumerate(owners):
            after = key_to_wire(owners[(at + 1) % len(owners)], ORIGIN)
            listed = {t for t in types[owner] if is_listed(types, owner, t)} | {RRSIG, NSEC}
            out.append(RRset(owner, NSEC, ttl, pack([after + bitmap(listed)])))
        return out

    def _nsec3s(self, types: dict[bytes, set[int]], ttl: int) -> list[RRset]:
        bitmaps: dict[bytes, bytes] = {}
        for owner in sorted(types):
            if is_occluded(types, owner):
                continue
            secure = any(is_signed(types, owner, rtype) for rtype in types[owner])
            above = [owner[: at + 1] for at, octet in enumerate(owner) if octet == 0][:-1]
            if secure or not self.opt_out:
                listed = {t for t in types[owner] if is_listed(types, owner, t)}
                bitmaps[owner] = bitmap(listed | {RRSIG} if secure else listed)
            if secure or not self.opt_out or self.keep_opt_out_empty:
                for empty in above:
                    if empty not in types:
                        bitmaps[empty] = b""
        hashes = sorted((self._hash(key_to_wire(owner, ORIGIN)), field) for owner, field in bitmaps.items())
        head = bytes((1, self.opt_out)) + struct.pack(">HB", self.iterations, len(self.salt)) + self.salt
        out = []
        for at, (digest, listed_field) in enumerate(hashes):
            after = hashes[(at + 1) % len(hashes)][0]
            out.append(RRset(base32hex(digest), NSEC3, ttl, pack([head + b"\x14" + after + listed_field])))
        return out

    def _hash(self, wire: bytes) -> bytes:
        digest = hashlib.sha1(wire + self.salt).digest()
        for _ in range(self.iterations):
            digest = hashlib.sha1(digest + self.salt).digest()
        return digest

    def _sign(self, rrset: RRset) -> Rrsigs:
        place = (repr(rrset[:3]).encode(), rrset.rdata)
        if place not in self.cache:
            seps = [k for k in self.keys if k.rdata[1] & 1]
            zsks = [k for k in self.keys if not k.rdata[1] & 1]
            keys = (seps if rrset.rtype == DNSKEY else zsks) or seps or zsks
            self.cache[place] = make_rrsigs(rrset, keys, self.inception, self.expiration)
        return self.cache[place]


def make_rrsigs(rrset: RRset, keys: Iterable[Key], inception: int, expiration: int, **other: int) -> Rrsigs:
    """Sign a set; ``other`` overrides fields (labels, original_ttl, tag, algorithm, covered)."""
    rdatas = [sign_one(rrset, one, inception, expiration, **other) for one in keys]
    return Rrsigs(rrset.owner, rrset.rtype, rrset.ttl, pack(rdatas))


def sign_one(
    rrset: RRset, one: Key, inception: int, expiration: int, signer: bytes = ORIGIN, **other: int
) -> bytes:
    """Return one RRSIG RDATA."""
    wire = key_to_wire(rrset.owner, ORIGIN)
    count = rrset.owner.count(b"\0") + ORIGIN.count(b"example") - (1 if wire.startswith(b"\1*") else 0)
    head = struct.pack(
        ">HBBIIIH",
        other.get("covered", rrset.rtype),
        other.get("algorithm", 15),
        other.get("labels", count),
        other.get("original_ttl", rrset.ttl),
        expiration & 0xFFFFFFFF,
        inception & 0xFFFFFFFF,
        other.get("tag", one.tag),
    )
    message = head + signer
    for rdata in unpack(rrset.rdata):
        fixed = struct.pack(">HHIH", rrset.rtype, 1, other.get("original_ttl", rrset.ttl), len(rdata))
        message += wire + fixed + rdata
    return head + signer + one.private.sign(message)


def ancestors(owner: bytes) -> list[bytes]:
    """Owner keys strictly above, the apex included."""
    return [b""][: len(owner)] + [owner[: at + 1] for at, octet in enumerate(owner[:-1]) if octet == 0]


def is_occluded(types: dict[bytes, set[int]], owner: bytes) -> bool:
    """Whether a name lies below a delegation or DNAME."""
    return any(DNAME in types.get(up, ()) or (up and NS in types.get(up, ())) for up in ancestors(owner))


def is_listed(types: dict[bytes, set[int]], owner: bytes, rtype: int) -> bool:
    """Whether a type belongs into the type bit maps of a name that is not occluded."""
    return not (owner and NS in types[owner]) or rtype in (NS, DS)


def is_signed(types: dict[bytes, set[int]], owner: bytes, rtype: int) -> bool:
    """Whether an RRset is authoritative."""
    if is_occluded(types, owner):
        return False
    return rtype == DS or not (owner and NS in types[owner])


def bitmap(types: Iterable[int]) -> bytes:
    """Type bit maps, octet by octet."""
    out = b""
    for window in sorted({rtype >> 8 for rtype in types}):
        octets = bytearray(32)
        for rtype in types:
            if rtype >> 8 == window:
                octets[(rtype & 255) // 8] |= 1 << 7 - rtype % 8
        while octets and not octets[-1]:
            octets.pop()
        if octets:
            out += bytes((window, len(octets))) + octets
    return out


def base32hex(digest: bytes) -> bytes:
    """Owner key of an NSEC3 RR."""
    bits = "".join(f"{octet:08b}" for octet in digest)
    chars = "0123456789abcdefghijklmnopqrstuv"
    return "".join(chars[int(bits[at : at + 5], 2)] for at in range(0, 160, 5)).encode() + b"\0"


def example_content(serial: int = 1) -> Content:
    """A zone with one of everything that matters."""

    def one(ttl: int, *rdatas: bytes) -> tuple[int, frozenset[bytes]]:
        return ttl, frozenset(rdatas)

    return {
        (key("@"), SOA): one(3600, soa(serial)),
        (key("@"), NS): one(3600, name("ns1.example."), name("ns2.other.")),
        (key("ns1"), A): one(3600, b"\xc0\0\2\1"),
        (key("mail"), A): one(600, b"\xc0\0\2\2", b"\xc0\0\2\3"),
        (key("www"), CNAME): one(600, name("mail.example.")),
        (key("*.wild"), TXT): one(600, b"\1x"),
        (key("a.b.ent"), TXT): one(600, b"\1y"),
        (key("secure"), NS): one(3600, name("ns.secure.example.")),
        (key("secure"), DS): one(3600, b"\0\1\x0d\2" + bytes(32)),
        (key("ns.secure"), A): one(3600, b"\xc0\0\2\4"),
        (key("insecure"), NS): one(3600, name("ns.insecure.example.")),
        (key("ns.insecure"), A): one(3600, b"\xc0\0\2\5"),
        (key("x.y.insent"), NS): one(3600, name("ns.other.")),
        (key("dn"), DNAME): one(600, name("other.")),
    }
