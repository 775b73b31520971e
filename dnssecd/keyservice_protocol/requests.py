"""What a client may ask for. The server answers each with a reply of the same id."""

from __future__ import annotations

import msgspec

from dnssecd.keyservice_protocol.terms import PROTOCOL_VERSION, Message, Role


class HelloRequest(Message, frozen=True, tag="hello"):
    """First frame on a connection: agree on the version."""

    version: int = PROTOCOL_VERSION


class StatusRequest(Message, frozen=True, tag="status"):
    """Counters, store states and warnings."""


#: All key tags, and the smallest range of them that a key can be asked for: one key in 16 has such a tag.
TAGS = (0, 65_535)
TAG_RANGE_MIN = 4_096
#: The most keys that are made for a zone in one request.
ORDERS_MAX = 8
#: The most zones whose keys are listed in one request, beside the first.
ALSO_MAX = 255


class KeyOrder(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A key that is to be made; the fields are those of a GenerateRequest."""

    role: Role
    algorithm: int
    store: str = ""
    bits: int = 0
    idempotency: str = ""


class KeysRequest(Message, frozen=True, tag="keys"):
    """All keys bound to `zone`, or every key when it is empty; only ids above `after`, for the next page.

    `make`: if the zone has no key at all, these are made, and returned with the proofs of a ProveRequest with `nonce`.
    `tags`: as in a GenerateRequest. An older service makes none.

    `also`: the keys of these zones, too, without pages; an older service lists those of `zone` alone.
    """

    zone: bytes = b""
    after: str = ""
    make: tuple[KeyOrder, ...] = ()
    tags: tuple[int, int] = TAGS
    nonce: bytes = b""
    also: tuple[bytes, ...] = ()


class GenerateRequest(Message, frozen=True, tag="generate"):
    """Make a key pair for `zone` in `store` (empty: the only one).

    `bits` is for RSA (0: 2048). A repeated `idempotency` text returns the key made the first time. `share` names
    those who use the same keys: their newest, unless `known` to `zone` or older than that, is bound and returned.
    `tags`: first and last key tag that the new key may have, with and without the REVOKE bit. `nonce`, unless it is
    empty, asks for the proofs of a ProveRequest in the same reply; an older service gives none.
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
    tags: tuple[int, int] = TAGS
    nonce: bytes = b""


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

    `public_key`: as in DNSKEY RDATA; no other key is bound then, and CKA_ID or label only help to find it. `key_id`:
    the id that the key has in the key service of another node that shares the token, "" for one of its own.
    """

    zone: bytes
    role: Role
    algorithm: int
    store: str = ""
    cka_id: str = ""
    label: str = ""
    timeout_ms: int = 0
    public_key: bytes = b""
    key_id: str = ""


class SealingKeyRequest(Message, frozen=True, tag="sealing-key"):
    """The public sealing key of this node of a cluster, made if there is none. Answered by DoneReply."""


class SealRequest(Message, frozen=True, tag="seal"):
    """Seal a private key of `zone` for the key service of another node, whose sealing key the configuration has."""

    zone: bytes
    key_id: str
    node: str


class OpenRequest(Message, frozen=True, tag="open"):
    """Take a key from the letter that another node's key service made (SealReply), into `store`, for `zone`."""

    zone: bytes
    letter: bytes
    store: str = ""


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
    """Unbind the key from `zone`; with its last binding the key goes into the trash."""

    zone: bytes
    key_id: str
    timeout_ms: int = 0


class TrashRequest(Message, frozen=True, tag="trash"):
    """All keys in the trash; only ids above `after`, for the next page."""

    after: str = ""


class RecoverRequest(Message, frozen=True, tag="recover"):
    """Take a key out of the trash, as it was before its removal."""

    key_id: str


class DestroyRequest(Message, frozen=True, tag="destroy"):
    """Destroy a key that is in the trash now, before its time."""

    key_id: str


class ConsentsRequest(Message, frozen=True, tag="consents"):
    """All requests that wait for the consent of a second person, or have it and were not repeated yet."""


class ConsentRequest(Message, frozen=True, tag="consent"):
    """Give or refuse consent to the request with the number `consent_id`; for key officers."""

    consent_id: str
    give: bool


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
    | SealingKeyRequest
    | SealRequest
    | OpenRequest
    | BindRequest
    | ReportRequest
    | RemoveRequest
    | TrashRequest
    | RecoverRequest
    | DestroyRequest
    | ConsentsRequest
    | ConsentRequest
    | SignRequest
    | ProveRequest
    | AuditRequest
    | TestRequest
    | BenchRequest
)
