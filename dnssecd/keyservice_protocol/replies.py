"""What the key service answers."""

from __future__ import annotations

from dnssecd.keyservice_protocol.reports import (
    AuditEntry,
    BenchLine,
    Consent,
    KeyInfo,
    Proof,
    StoreStatus,
    TrashedKey,
    Warning,
)
from dnssecd.keyservice_protocol.terms import ErrorCode, Fault, Message


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
    """Answer to keys, generate, import, adopt and bind; `more` when a page was full.

    `proofs`: of the key that was asked for with a nonce, one for each token that should hold it. `made`: the same of
    each of the keys, if they were made for this request. `counts`: of a request for several zones, how many of the keys
    are of each, in order; none if they are too many for one reply.
    """

    keys: tuple[KeyInfo, ...]
    more: bool = False
    proofs: tuple[Proof, ...] = ()
    made: tuple[tuple[Proof, ...], ...] = ()
    counts: tuple[int, ...] = ()


class SignReply(Message, frozen=True, tag="sign!"):
    """Signatures in the order of the preimages."""

    signatures: list[bytes]


class ProveReply(Message, frozen=True, tag="prove!"):
    """One proof for each token that should hold the key."""

    proofs: tuple[Proof, ...]


class DoneReply(Message, frozen=True, tag="done!"):
    """It was done; `detail` says what. `evicted`: of a report, whether it took a token out of use."""

    detail: str = ""
    evicted: bool = False


class TrashedReply(DoneReply, frozen=True, tag="trashed!"):
    """The key was removed: it is in the trash, and is destroyed at `destroyed_at` (epoch seconds)."""

    destroyed_at: int = 0


class TrashReply(Message, frozen=True, tag="trash!"):
    """Keys in the trash; `more` when a page was full."""

    keys: tuple[TrashedKey, ...]
    more: bool = False


class ConsentsReply(Message, frozen=True, tag="consents!"):
    """Requests that wait for consent, or have it."""

    consents: tuple[Consent, ...]


class ExportReply(Message, frozen=True, tag="export!"):
    """The key file's content; worth nothing without the passphrase."""

    sealed: bytes


class SealReply(Message, frozen=True, tag="seal!"):
    """A key that only the other node's key service can read."""

    letter: bytes


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
    | TrashedReply
    | TrashReply
    | ConsentsReply
    | ExportReply
    | SealReply
    | AuditReply
    | BenchReply
)
