"""TSIG (RFC 8945) on raw wire messages, sans I/O: verify requests, sign answers, verify streams of answers.

Order of checks (RFC 8945 §5.2): form, key and algorithm (BADKEY), MAC (BADSIG), time (BADTIME), truncation
(BADTRUNC). The time is checked only after the MAC is verified, and every length is checked against the octets
present. Local policy (RFC 8945 §5.2.2.1, §10): no MAC may be truncated, and no fudge exceeds 300 seconds,
independent of the sender's.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from dnssecd.core.dns.message import (
    CLASS_ANY,
    FORMERR,
    NOTAUTH,
    TYPE_TSIG,
    FormError,
    Message,
    Record,
    parse,
    read_name,
)
from dnssecd.core.dns.names import text_to_wire

BADSIG, BADKEY, BADTIME, BADTRUNC = 16, 17, 18, 22
_ERROR_NAMES = {BADSIG: "BADSIG", BADKEY: "BADKEY", BADTIME: "BADTIME", BADTRUNC: "BADTRUNC"}
DEFAULT_FUDGE_S = 300
#: A longer fudge is reduced to this one: the sender must not decide how long a recorded message can be replayed.
FUDGE_MAX_S = 300
MAX_UNSIGNED = 99

#: Algorithm name in wire form, and the hash behind it; hmac-md5 is left out on purpose (RFC 8945 §6).
ALGORITHMS: Mapping[bytes, str] = {
    text_to_wire("hmac-sha1."): "sha1",
    text_to_wire("hmac-sha224."): "sha224",
    text_to_wire("hmac-sha256."): "sha256",
    text_to_wire("hmac-sha384."): "sha384",
    text_to_wire("hmac-sha512."): "sha512",
}

#: Octets of a whole MAC, by algorithm.
_MAC_SIZES = {wire: hashlib.new(name).digest_size for wire, name in ALGORITHMS.items()}

_CLASS_TTL = CLASS_ANY.to_bytes(2, "big") + bytes(4)


class TsigError(ValueError):
    """A signed answer cannot be accepted; the text says why."""


class TsigPeerError(TsigError):
    """The peer rejects the TSIG of our request; ``code``: the error's mnemonic (RFC 8945 §5.2)."""

    def __init__(self, error: int) -> None:
        self.code = _ERROR_NAMES.get(error, str(error))
        super().__init__(f"the peer rejects our TSIG: {self.code}")


@dataclass(frozen=True, slots=True)
class TsigKey:
    """A shared secret: lower-cased wire name, algorithm in wire form (a key of ALGORITHMS), secret octets."""

    name: bytes
    algorithm: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def make(cls, name: str, algorithm: str, secret: bytes) -> TsigKey:
        """Return the key for configuration texts; raises ValueError for an algorithm that is not in RFC 8945."""
        wire = text_to_wire(algorithm)
        if wire not in ALGORITHMS:
            raise ValueError(
                f"TSIG algorithm {algorithm!r} is not supported: use one of hmac-sha1/224/256/384/512"
            )
        return cls(text_to_wire(name), wire, secret)

    @property
    def mac_size(self) -> int:
        """Octets of a whole MAC."""
        return _MAC_SIZES[self.algorithm]

    @property
    def record_size(self) -> int:
        """The most octets a TSIG record of this key adds to a message (with the server time of BADTIME)."""
        return len(self.name) + 10 + len(self.algorithm) + 16 + self.mac_size + 6

    def digest(self, *pieces: bytes) -> bytes:
        """Return the whole MAC over the pieces."""
        return hmac.digest(self.secret, b"".join(pieces), ALGORITHMS[self.algorithm])


class TsigRdata(Struct, frozen=True):
    """A parsed TSIG record (RFC 8945 §4.2); names are lower-cased, ``start`` is its offset."""

    start: int
    name: bytes
    algorithm: bytes
    time_signed: int
    fudge: int
    mac: bytes
    original_id: int
    error: int
    other: bytes

    @property
    def window_s(self) -> int:
        """Return how far from the time signed the message is accepted, in seconds."""
        return min(self.fudge, FUDGE_MAX_S)

    def variables(self) -> bytes:
        """Return the TSIG variables as they enter a digest (RFC 8945 §4.3.3)."""
        return (
            self.name
            + _CLASS_TTL
            + self.algorithm
            + self.timers()
            + self.error.to_bytes(2, "big")
            + len(self.other).to_bytes(2, "big")
            + self.other
        )

    def timers(self) -> bytes:
        """Return time signed and fudge: the only TSIG fields in the digest of a later message of a stream."""
        return self.time_signed.to_bytes(6, "big") + self.fudge.to_bytes(2, "big")

    def to_wire(self) -> bytes:
        """Return the whole record."""
        rdata = (
            self.algorithm
            + self.timers()
            + len(self.mac).to_bytes(2, "big")
            + self.mac
            + self.original_id.to_bytes(2, "big")
            + self.error.to_bytes(2, "big")
            + len(self.other).to_bytes(2, "big")
            + self.other
        )
        return self.name + TYPE_TSIG.to_bytes(2, "big") + _CLASS_TTL + len(rdata).to_bytes(2, "big") + rdata


def parse_rdata(wire: bytes, record: Record) -> TsigRdata:
    """Return the TSIG record at ``record``; raises FormError when a length does not fit."""
    algorithm, position = read_name(wire[: record.end], record.rdata)
    if len(algorithm) != position - record.rdata:
        raise FormError("compressed algorithm name in TSIG")
    rdata = wire[position : record.end]
    if len(rdata) < 16:
        raise FormError("TSIG cut short")
    mac_end = 10 + int.from_bytes(rdata[8:10], "big")
    other_at = mac_end + 6
    if other_at > len(rdata) or other_at + int.from_bytes(rdata[mac_end + 4 : other_at], "big") != len(rdata):
        raise FormError("TSIG lengths do not add up")
    return TsigRdata(
        start=record.start,
        name=record.name,
        algorithm=algorithm,
        time_signed=int.from_bytes(rdata[:6], "big"),
        fudge=int.from_bytes(rdata[6:8], "big"),
        mac=rdata[10:mac_end],
        original_id=int.from_bytes(rdata[mac_end : mac_end + 2], "big"),
        error=int.from_bytes(rdata[mac_end + 2 : mac_end + 4], "big"),
        other=rdata[other_at:],
    )


def strip(wire: bytes, tsig: TsigRdata) -> bytes:
    """Return the message as it was before signing: without the record, counted down, with the Original ID."""
    arcount = int.from_bytes(wire[10:12], "big") - 1
    return (
        tsig.original_id.to_bytes(2, "big") + wire[2:10] + arcount.to_bytes(2, "big") + wire[12 : tsig.start]
    )


def append(wire: bytes, tsig: TsigRdata) -> bytes:
    """Return the message with the record as its last one."""
    arcount = int.from_bytes(wire[10:12], "big") + 1
    return wire[:10] + arcount.to_bytes(2, "big") + wire[12:] + tsig.to_wire()


def _prefixed(mac: bytes) -> bytes:
    return len(mac).to_bytes(2, "big") + mac


class Verdict(Struct, frozen=True):
    """The result of verifying a signed request.

    ``key`` is set only when the request is verified. Otherwise ``rcode`` is the RCODE of the answer (FORMERR
    or NOTAUTH) and ``error`` the TSIG error. ``signer`` signs the answer (for BADKEY and BADSIG it adds an
    unsigned TSIG record); it is None for FORMERR, whose answer has no TSIG record. ``tsig`` is the TSIG
    record of the request.
    """

    key: TsigKey | None
    rcode: int
    error: int
    signer: AnswerSigner | None
    tsig: TsigRdata | None = None


class AnswerSigner:
    """Signs the answer to one request, or every message of a stream of answers, in order."""

    def __init__(self, request: TsigRdata, key: TsigKey | None, error: int = 0) -> None:
        self._request = request
        self._key = key
        self._error = error
        self._prior = _prefixed(request.mac)
        self._first = True

    @property
    def reserve(self) -> int:
        """Octets that every message must leave free for the TSIG record."""
        if self._key is not None:
            return self._key.record_size
        return len(self._request.name) + 10 + len(self._request.algorithm) + 16

    def sign(self, wire: bytes, now: int) -> bytes:
        """Return the next message of the answer with its TSIG record; now: epoch seconds."""
        request, key = self._request, self._key
        late = self._error == BADTIME
        # RFC 8945 §5.2.3: BADTIME carries the client's time as time signed, ours as other data.
        time_signed = request.time_signed if late or key is None else now
        other = now.to_bytes(6, "big") if late else b""
        original_id = int.from_bytes(wire[:2], "big")
        unsigned = TsigRdata(
            0,
            request.name,
            request.algorithm,
            time_signed,
            request.fudge if late else DEFAULT_FUDGE_S,
            b"",
            original_id,
            self._error,
            other,
        )
        if key is None:
            return append(wire, unsigned)
        mac = key.digest(self._prior, wire, unsigned.variables() if self._first else unsigned.timers())
        self._first = False
        self._prior = _prefixed(mac)
        return append(wire, _with_mac(unsigned, mac))


def _with_mac(tsig: TsigRdata, mac: bytes) -> TsigRdata:
    return TsigRdata(
        tsig.start,
        tsig.name,
        tsig.algorithm,
        tsig.time_signed,
        tsig.fudge,
        mac,
        tsig.original_id,
        tsig.error,
        tsig.other,
    )


def verify_request(wire: bytes, message: Message, keys: Mapping[bytes, TsigKey], now: int) -> Verdict:
    """Judge the TSIG record of a request (RFC 8945 §5.2); ``keys`` by lower-cased wire name, now: epoch seconds."""
    if message.tsig is None:
        raise ValueError("the request carries no TSIG record")
    try:
        tsig = parse_rdata(wire, message.tsig)
    except FormError:
        return Verdict(None, FORMERR, 0, None)
    key = keys.get(tsig.name)
    if key is None or key.algorithm != tsig.algorithm:
        return Verdict(None, NOTAUTH, BADKEY, AnswerSigner(tsig, None, BADKEY))
    if not max(10, key.mac_size // 2) <= len(tsig.mac) <= key.mac_size:
        return Verdict(None, FORMERR, 0, None)
    expected = key.digest(strip(wire, tsig), tsig.variables())
    if not hmac.compare_digest(expected[: len(tsig.mac)], tsig.mac):
        return Verdict(None, NOTAUTH, BADSIG, AnswerSigner(tsig, None, BADSIG))
    if tsig.error:
        # A request reports no error; one that does is an attack (CVE-2020-8617).
        return Verdict(None, FORMERR, 0, None)
    if abs(now - tsig.time_signed) > tsig.window_s:
        return Verdict(None, NOTAUTH, BADTIME, AnswerSigner(tsig, key, BADTIME))
    if len(tsig.mac) < key.mac_size:
        return Verdict(None, NOTAUTH, BADTRUNC, AnswerSigner(tsig, key, BADTRUNC))
    return Verdict(key, 0, 0, AnswerSigner(tsig, key), tsig)


def sign_request(wire: bytes, key: TsigKey, now: int, fudge: int = DEFAULT_FUDGE_S) -> tuple[bytes, bytes]:
    """Return the signed request and its MAC; the verifier of the answer needs the MAC."""
    unsigned = TsigRdata(0, key.name, key.algorithm, now, fudge, b"", int.from_bytes(wire[:2], "big"), 0, b"")
    mac = key.digest(wire, unsigned.variables())
    return append(wire, _with_mac(unsigned, mac)), mac


class AnswerVerifier:
    """Verifies the messages that answer a signed request, in order (RFC 8945 §5.3.1).

    Feed every message to :meth:`accept`, then call :meth:`finish`: the first and the last message must be
    signed, and at most 99 unsigned ones may stand between two signed ones.
    """

    def __init__(self, key: TsigKey, request_mac: bytes) -> None:
        self._key = key
        self._pending = [_prefixed(request_mac)]
        self._first = True
        self._unsigned = 0

    def accept(self, wire: bytes, now: int) -> bytes:
        """Return the message without its TSIG record; raise TsigError or FormError when it must be refused."""
        record = parse(wire).tsig
        if record is None:
            return self._accept_unsigned(wire)
        tsig = parse_rdata(wire, record)
        stripped = strip(wire, tsig)
        self._check(tsig, stripped, now)
        self._pending = [_prefixed(tsig.mac)]
        self._first = False
        self._unsigned = 0
        return stripped

    def finish(self) -> None:
        """Raise TsigError unless the last message was signed."""
        if self._first or self._unsigned:
            raise TsigError("the last message is not signed")

    def _accept_unsigned(self, wire: bytes) -> bytes:
        if self._first:
            raise TsigError("the first message is not signed")
        self._unsigned += 1
        if self._unsigned > MAX_UNSIGNED:
            raise TsigError(f"more than {MAX_UNSIGNED} unsigned messages in a row")
        self._pending.append(wire)
        return wire

    def _check(self, tsig: TsigRdata, stripped: bytes, now: int) -> None:
        key = self._key
        if tsig.name != key.name or tsig.algorithm != key.algorithm:
            raise TsigError("signed with another key or algorithm")
        if tsig.error in (BADSIG, BADKEY):
            raise TsigPeerError(tsig.error)
        if len(tsig.mac) != key.mac_size:
            raise TsigError(f"the MAC has {len(tsig.mac)} octets, not {key.mac_size}")
        last = tsig.variables() if self._first else tsig.timers()
        expected = key.digest(*self._pending, stripped, last)
        if not hmac.compare_digest(expected, tsig.mac):
            raise TsigError("the MAC is wrong")
        if tsig.error:
            raise TsigPeerError(tsig.error)
        if abs(now - tsig.time_signed) > tsig.window_s:
            raise TsigError("signed at a time beyond the fudge")
