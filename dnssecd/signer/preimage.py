"""What a key may sign: a cheap check that octets are an RRSIG preimage the key is for.

A preimage (RFC 4034 §3.1.8.1) is RRSIG RDATA without the signature:

    type covered 2 | algorithm 1 | labels 1 | original TTL 4 | expiration 4 | inception 4 | key tag 2 |
    signer name

followed by one or more RRs of the one owner, type, class IN and original TTL: owner | type | class | TTL |
RDLENGTH | RDATA. Names are uncompressed and in lower case.
"""

from __future__ import annotations

import struct

from dnssecd.signer.errors import BadRequest

DNSKEY = 48
CDS = 59
CDNSKEY = 60
KEY_TYPES = frozenset({DNSKEY, CDS, CDNSKEY})
RRSIG = 46
OPT = 41
FIXED = 18
CLASS_IN = b"\x00\x01"
#: RRs that a DNS message can hold: each has at least the octet of the root's name, and ten of fixed fields.
RRS_MAX = 65_535 // 11
PROOF_LABEL = b"dnssecd proof"


class BadName(ValueError):
    """Not an uncompressed wire name in lower case."""


def name_labels(wire: bytes) -> list[bytes]:
    """Return the labels of a whole uncompressed wire name, the root's left out; BadName when malformed."""
    labels = []
    position = 0
    while position < len(wire) and wire[position]:
        length = wire[position]
        if length > 63:
            raise BadName("label over 63 octets or a compression pointer")
        labels.append(wire[position + 1 : position + 1 + length])
        position += 1 + length
    if position != len(wire) - 1 or len(wire) > 255 or wire != wire.lower():
        raise BadName("not an uncompressed wire name in lower case")
    return labels


def name_text(wire: bytes) -> str:
    """Return a wire name in presentation form with its final dot, for messages and labels."""
    return "".join(_label_text(label) + "." for label in name_labels(wire)) or "."


def zone_text(zone: bytes) -> str:
    """`name_text` for what a client sent: BadRequest when it is no name."""
    try:
        return name_text(zone)
    except BadName as error:
        raise BadRequest(f"zone name: {error}") from None


def _label_text(label: bytes) -> str:
    return "".join(
        chr(octet) if 33 <= octet <= 126 and chr(octet) not in '.\\";()@$' else f"\\{octet:03d}"
        for octet in label
    )


def may_cover(role: str, covered: int) -> bool:
    """Whether a key of `role` may sign RRsets of type `covered`.

    CDS and CDNSKEY are zone data too, which have to be signed in every algorithm that all other data are signed in
    (RFC 4035 §2.2): while a new algorithm comes in its KSK is not published yet, so its ZSK signs them as well.
    """
    if covered in (0, RRSIG, OPT) or 128 <= covered <= 255:  # RFC 6895 §3.1: meta and query types
        return False
    return role == "csk" or (covered in KEY_TYPES if role == "ksk" else covered != DNSKEY)


TOO_LONG = "a signature may be valid for {} s at most, and expire no later than that from now (validity_max)"


class Permit:
    """Says whether one key may sign given octets for one zone; `check` runs for every signature.

    `validity_s_max` is the ceiling: the most that an expiration may lie after the inception, and after the present.
    """

    def __init__(
        self,
        zone: bytes,
        role: str,
        algorithm: int,
        tag: int,
        revoked_tag: int,
        validity_s_max: int,
    ) -> None:
        self.zone = zone
        self._validity_s_max = validity_s_max
        self._role = role
        self._algorithm = algorithm
        self._tag = tag
        self._signer = struct.pack(">H", tag) + zone
        self._revoked_signer = struct.pack(">H", revoked_tag) + zone
        self._start = FIXED - 2 + len(self._signer)

    def check(self, preimage: bytes, now: int) -> str:
        """Return "" when the key may sign `preimage` at `now` (epoch seconds), else why not."""
        try:
            return self._check(preimage, now)
        except IndexError:
            return "not an RRSIG preimage: it ends too early"

    def is_over_ceiling(self, preimage: bytes, now: int) -> bool:
        """Return whether the times of a signature are beyond what may be signed.

        Times are serial numbers (RFC 4034 §3.1.5). An expiration in the past is no danger, and may be signed.
        """
        expiration, inception = int.from_bytes(preimage[8:12]), int.from_bytes(preimage[12:16])
        ahead = (expiration - now) & 0xFFFFFFFF
        return (
            self._validity_s_max < ahead < 0x80000000
            or (expiration - inception) & 0xFFFFFFFF > self._validity_s_max
        )

    def _check(self, preimage: bytes, now: int) -> str:
        covered = preimage[0] << 8 | preimage[1]
        if not may_cover(self._role, covered):
            return f"a {self._role.upper()} does not sign type {covered}"
        if preimage[2] != self._algorithm:
            return f"algorithm {preimage[2]}, the key's is {self._algorithm}"
        start = self._start
        if not preimage.startswith(self._signer, 16):
            if not preimage.startswith(self._revoked_signer, 16):
                return f"key tag and signer name are not {self._tag} and {name_text(self.zone)}"
            if covered != DNSKEY:
                return "a revoked key signs the DNSKEY RRset only"
        end = start
        labels = 0
        inside = len(self.zone) == 1
        while length := preimage[end]:
            if length > 63:
                return "malformed owner name"
            if preimage.startswith(self.zone, end):
                inside = True
            labels += 1
            end += length + 1
        end += 1
        if not inside:
            return f"owner name outside {name_text(self.zone)}"
        if labels - preimage.startswith(b"\x01*", start) != preimage[3]:
            return "labels field does not fit the owner name"
        if (covered == DNSKEY or self._role == "ksk") and preimage[start:end] != self.zone:
            return f"type {covered} by a {self._role.upper()} is signed at the zone's apex only"
        if self.is_over_ceiling(preimage, now):
            return TOO_LONG.format(self._validity_s_max)
        return self._check_rrs(preimage, start, end)

    def _check_rrs(self, preimage: bytes, start: int, end: int) -> str:
        head = preimage[start:end] + preimage[:2] + CLASS_IN + preimage[4:8]
        octets = len(preimage)
        head_octets = len(head)
        position = start
        for _ in range(RRS_MAX):
            if position >= octets:
                break
            if not preimage.startswith(head, position):
                return "an RR of another owner, type, class or TTL"
            position += head_octets
            position += 2 + (preimage[position] << 8 | preimage[position + 1])
        if position < octets:
            return f"more than {RRS_MAX} RRs, which no DNS message can hold"
        return "" if position == octets else "an RR runs over the end"


def proof_preimage(zone: bytes, algorithm: int, tag: int, nonce: bytes) -> bytes:
    """Return a preimage of type covered 0 that holds `nonce`; its signature can never validate as data."""
    rdata = PROOF_LABEL + nonce
    fixed = struct.pack(">HBBIIIH", 0, algorithm, len(name_labels(zone)), 0, 0, 0, tag)
    return fixed + zone + zone + struct.pack(">HHIH", 0, 1, 0, len(rdata)) + rdata
