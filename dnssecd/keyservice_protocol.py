"""The frames exchanged between the key service and its clients.

A frame is a 4-octet big-endian length followed by that many octets of msgpack, over a Unix stream socket.
Every request carries an id chosen by the client; replies carry the same id and may come in any order, so
several requests can be under way on one connection. Bodies are arrays with a tag in front (`array_like`):
fields may be added at the end, never moved.

Zone names are uncompressed wire form in lower case (``b"\\x07example\\x03com\\x00"``). Key ids are 32 hex
digits. Signatures are in DNSSEC wire form (RFC 3110, RFC 6605 §4, RFC 8080 §4), as they stand in an RRSIG.

This and `wire_settings` are all that the key service and the rest of the package share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, get_args

import msgspec

from dnssecd.keyservice_settings import VALIDITY_S_MAX as VALIDITY_S_MAX
from dnssecd.keyservice_settings import KeystoreSettings as KeystoreSettings
from dnssecd.keyservice_settings import SignerSettings as SignerSettings
from dnssecd.keyservice_settings import TokenSettings as TokenSettings
from dnssecd.procs.frames import FrameBuffer, build_frame
from dnssecd.procs.frames import FrameError as FrameError

PROTOCOL_VERSION = 1
FRAME_OCTETS_MAX = 4 * 1024 * 1024
BATCH_PREIMAGES_MAX = 512
BATCH_OCTETS_TARGET = 1024 * 1024
NONCE_OCTETS_MIN = 16
NONCE_OCTETS_MAX = 64

Role = Literal["ksk", "zsk", "csk"]
Fault = Literal["caller", "keystore", "operator", "signer"]
KeyState = Literal["available", "unavailable", "missing", "unproven"]
ErrorCode = Literal[
    "bad_request",
    "refused",
    "unknown_key",
    "missing_key",
    "unavailable",
    "busy",
    "deadline",
    "unsupported",
    "collision",
    "exists",
    "operator",
    "internal",
]


class ProtocolError(FrameError):
    """The peer sent a frame that is not a message of this protocol."""


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all frames; `id` joins a reply to its request."""

    id: int


# Requests ---------------------------------------------------------------------------------------------------


class HelloRequest(Message, frozen=True, tag="hello"):
    """First frame on a connection: agree on the version."""

    version: int = PROTOCOL_VERSION


class StatusRequest(Message, frozen=True, tag="status"):
    """Counters, store states and warnings."""


class KeysRequest(Message, frozen=True, tag="keys"):
    """All keys bound to `zone`, or every key when it is empty; only ids above `after`, for the next page."""

    zone: bytes = b""
    after: str = ""


class GenerateRequest(Message, frozen=True, tag="generate"):
    """Make a key pair for `zone` in `store` (empty: the only one).

    `bits` is for RSA (0: 2048). A repeated `idempotency` text returns the key made the first time. `share` names
    those who use the same keys: their newest, unless `known` to `zone` or older than that, is bound and returned.
    """

    zone: bytes
    role: Role
    algorithm: int
    store: str = ""
    bits: int = 0
    idempotency: str = ""
    timeout_ms: int = 0
    share: str = ""
    known: tuple[str, ...] = ()


class ImportRequest(Message, frozen=True, tag="import"):
    """Take a private key (PKCS#8 DER, PEM or BIND `.private` text) into a software store."""

    zone: bytes
    role: Role
    algorithm: int
    private: bytes
    store: str = ""
    created: int = 0


class ExportRequest(Message, frozen=True, tag="export"):
    """Give out a private key of a software store, sealed under `passphrase`; for root or the service's user."""

    key_id: str
    passphrase: bytes


class RestoreRequest(Message, frozen=True, tag="restore"):
    """Take an exported key back, as it was: id, zones, role and all."""

    sealed: bytes
    passphrase: bytes
    store: str = ""


class AdoptRequest(Message, frozen=True, tag="adopt"):
    """Bind a key that is already in a token, named by CKA_ID (hex), by label or by its public key, to `zone`.

    `public_key`: as in DNSKEY RDATA; no other key is bound then, and CKA_ID or label only help to find it.
    """

    zone: bytes
    role: Role
    algorithm: int
    store: str = ""
    cka_id: str = ""
    label: str = ""
    timeout_ms: int = 0
    public_key: bytes = b""


class ReportRequest(Message, frozen=True, tag="report"):
    """A signature this service made does not verify: find out which token made it, and evict it."""

    zone: bytes
    key_id: str
    preimage: bytes
    signature: bytes


class BindRequest(Message, frozen=True, tag="bind"):
    """Let an existing key sign for one more zone (`share_keys`)."""

    zone: bytes
    key_id: str


class RemoveRequest(Message, frozen=True, tag="remove"):
    """Unbind the key from `zone`; the private key is destroyed with its last binding."""

    zone: bytes
    key_id: str
    timeout_ms: int = 0


class SignRequest(Message, frozen=True, tag="sign"):
    """Sign RRSIG preimages (RFC 4034 §3.1.8.1): RRSIG RDATA without signature, then the canonical RRs."""

    zone: bytes
    key_id: str
    preimages: list[bytes]
    timeout_ms: int = 0


class ProveRequest(Message, frozen=True, tag="prove"):
    """Show that every token holding the key can sign with it: `nonce` in a preimage of type covered 0."""

    zone: bytes
    key_id: str
    nonce: bytes
    timeout_ms: int = 0


class AuditRequest(Message, frozen=True, tag="audit"):
    """Check the audit log's hash chain; return up to `limit` of its last entries."""

    limit: int = 100


class TestRequest(Message, frozen=True, tag="test"):
    """Generate, sign, verify and destroy a throw-away key in `store`."""

    store: str = ""
    algorithm: int = 13
    timeout_ms: int = 0


class BenchRequest(Message, frozen=True, tag="bench"):
    """Measure signatures per second in `store` with a throw-away key.

    It ends after `signatures`, or `seconds` where those are not 0. `sessions` are used at most (0: all) of
    `token` (empty: the first that works).
    """

    store: str = ""
    algorithm: int = 13
    signatures: int = 2000
    batch: int = 64
    timeout_ms: int = 0
    sessions: int = 0
    token: str = ""
    seconds: float = 0.0


Request = (
    HelloRequest
    | StatusRequest
    | KeysRequest
    | GenerateRequest
    | ImportRequest
    | ExportRequest
    | RestoreRequest
    | AdoptRequest
    | BindRequest
    | ReportRequest
    | RemoveRequest
    | SignRequest
    | ProveRequest
    | AuditRequest
    | TestRequest
    | BenchRequest
)


# Replies ----------------------------------------------------------------------------------------------------


class KeyInfo(msgspec.Struct, frozen=True):
    """What may be known of a key outside the key service.

    `dnskey` is the DNSKEY RDATA in wire form as it is to be published (REVOKE bit clear); `tag` is its key
    tag and `revoked_tag` the one with the REVOKE bit set (RFC 5011 §2.1). `created` is in epoch seconds.
    `state` is "unavailable" while the store cannot be reached, "missing" when the store is there and the
    key is not.
    """

    id: str
    store: str
    zones: tuple[bytes, ...]
    role: Role
    algorithm: int
    bits: int
    flags: int
    dnskey: bytes
    tag: int
    revoked_tag: int
    created: int
    state: KeyState = "available"
    detail: str = ""

    @property
    def public_key(self) -> bytes:
        """The public key field of the DNSKEY RDATA."""
        return self.dnskey[4:]


class Proof(msgspec.Struct, frozen=True):
    """One token's answer to a proof request: a signature over `preimage`, or why there is none."""

    token: str
    preimage: bytes
    signature: bytes
    error: str = ""


class Warning(msgspec.Struct, frozen=True):
    """Something an operator should hear of; `code` is a stable name, times are epoch seconds.

    `firing`: the condition holds. `once`: it happened and was over at once, such as a mode that was corrected.
    """

    code: str
    subject: str
    detail: str
    first_at: int
    last_at: int
    count: int
    firing: bool = True
    once: bool = False


class TokenStatus(msgspec.Struct, frozen=True):
    """One token of a PKCS#11 store; latencies in seconds."""

    name: str
    state: str
    detail: str = ""
    sessions_open: int = 0
    sessions_busy: int = 0
    queue: int = 0
    breaker: str = "closed"
    retry_in_s: float = 0.0
    signatures: int = 0
    calls: int = 0
    latency_sum_s: float = 0.0
    latency_buckets: dict[str, int] = {}
    errors: dict[str, int] = {}
    workers_replaced: int = 0


class StoreStatus(msgspec.Struct, frozen=True):
    """One key store; `last_used` in epoch seconds, 0 when not used since the start."""

    name: str
    type: str
    state: str
    detail: str = ""
    keys: int = 0
    queue: int = 0
    signatures: int = 0
    tokens: tuple[TokenStatus, ...] = ()
    removable: bool = False
    last_used: int = 0


class AuditEntry(msgspec.Struct, frozen=True):
    """One line of the audit log; `hash` covers the line and the hash before it."""

    number: int
    at: int
    event: str
    fields: dict[str, str | int]
    hash: str


class BenchLine(msgspec.Struct, frozen=True):
    """Signatures per second seen with `sessions` at work and batches of `batch`."""

    sessions: int
    batch: int
    signatures: int
    seconds: float
    per_second: float
    token: str = ""


class ErrorReply(Message, frozen=True, tag="error"):
    """Why a request failed: whose fault, a stable code, and a message that says what to do next."""

    fault: Fault
    code: ErrorCode
    message: str
    retry_in_s: float = 0.0


class HelloReply(Message, frozen=True, tag="hello!"):
    """The service's protocol version and process id."""

    version: int
    pid: int


class StatusReply(Message, frozen=True, tag="status!"):
    """State of the whole service; `counters` only grow while the process lives.

    `audit_head` is number and hash of the audit log's last entry; noted elsewhere it shows a log cut off.
    """

    pid: int
    uptime_s: float
    stores: tuple[StoreStatus, ...]
    warnings: tuple[Warning, ...]
    counters: dict[str, int]
    audit_head: str = ""


class KeysReply(Message, frozen=True, tag="keys!"):
    """Answer to keys, generate, import, adopt and bind; `more` when a page was full."""

    keys: tuple[KeyInfo, ...]
    more: bool = False


class SignReply(Message, frozen=True, tag="sign!"):
    """Signatures in the order of the preimages."""

    signatures: list[bytes]


class ProveReply(Message, frozen=True, tag="prove!"):
    """One proof for each token that should hold the key."""

    proofs: tuple[Proof, ...]


class DoneReply(Message, frozen=True, tag="done!"):
    """It was done; `detail` says what."""

    detail: str = ""


class ExportReply(Message, frozen=True, tag="export!"):
    """The key file's content; worth nothing without the passphrase."""

    sealed: bytes


class AuditReply(Message, frozen=True, tag="audit!"):
    """`ok` is whether the chain holds from the first entry to the last."""

    ok: bool
    detail: str
    count: int
    entries: tuple[AuditEntry, ...]


class BenchReply(Message, frozen=True, tag="bench!"):
    """Measured throughput."""

    lines: tuple[BenchLine, ...]


Reply = (
    ErrorReply
    | HelloReply
    | StatusReply
    | KeysReply
    | SignReply
    | ProveReply
    | DoneReply
    | ExportReply
    | AuditReply
    | BenchReply
)


# Frames -----------------------------------------------------------------------------------------------------

_encoder = msgspec.msgpack.Encoder()
_PLACE = re.compile(r"at `\$\[(\d+)\]")
_FIELDS_OF_TAG: dict[str, tuple[str, ...]] = {
    str(kind.__struct_config__.tag): kind.__struct_fields__ for kind in get_args(Request)
}
_request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_reply_decoder: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def encode_frame(message: Message) -> bytes:
    """Encode `message` as one frame; FrameError when it is larger than FRAME_OCTETS_MAX."""
    return build_frame(_encoder.encode(message), FRAME_OCTETS_MAX)


def decode_request(body: bytes | bytearray | memoryview) -> Request:
    """Decode a frame's body as a request; ProtocolError when it is none."""
    try:
        return _request_decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise ProtocolError(f"not a request of this protocol: {_field(body, str(error))}{error}") from None


def _field(body: bytes | bytearray | memoryview, error: str) -> str:
    """Return the name of the field that a decoder's error is about, and a colon; "" when it is about none."""
    place = _PLACE.search(error)
    if place is None:
        return ""
    try:
        raw = msgspec.msgpack.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return ""
    fields = _FIELDS_OF_TAG.get(raw[0], ()) if isinstance(raw, list) and isinstance(raw[0], str) else ()
    number = int(place[1]) - 1
    return f"{fields[number]}: " if 0 <= number < len(fields) else ""


def decode_reply(body: bytes | bytearray | memoryview) -> Reply:
    """Decode a frame's body as a reply; ProtocolError when it is none."""
    try:
        return _reply_decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise ProtocolError(f"not a reply of this protocol: {error}") from None


def frame_buffer() -> FrameBuffer:
    """Return a buffer that cuts a stream into frame bodies of this protocol."""
    return FrameBuffer(FRAME_OCTETS_MAX)


def split_batches(preimages: list[bytes]) -> Iterator[list[bytes]]:
    """Cut `preimages` into batches within the limits of one SignRequest, in order."""
    batch: list[bytes] = []
    octets = 0
    for preimage in preimages:
        if batch and (len(batch) >= BATCH_PREIMAGES_MAX or octets + len(preimage) > BATCH_OCTETS_TARGET):
            yield batch
            batch, octets = [], 0
        batch.append(preimage)
        octets += len(preimage)
    if batch:
        yield batch
