"""What replies carry: keys, proofs, warnings, the state of stores and tokens, lines of the audit log and of a bench."""

from __future__ import annotations

import msgspec

from dnssecd.keyservice_protocol.terms import ConsentAct, KeyState, Role


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


class TrashedKey(msgspec.Struct, frozen=True):
    """A key in the trash. Times in epoch seconds.

    `removed_by`: the user who removed it. `destroyed_at`: when the key service destroys it; with `two_person` not
    without consent.
    """

    key: KeyInfo
    removed_at: int
    removed_by: int
    destroyed_at: int
    two_person: bool = False


class Consent(msgspec.Struct, frozen=True):
    """A request that waits for consent, or has it. Users are numbers, times epoch seconds.

    `act` on `subject` was asked for by the user `asked_by`. `given_by` is -1 while it waits. It is forgotten at
    `ends_at`.
    """

    id: str
    act: ConsentAct
    subject: str
    detail: str
    asked_by: int
    asked_at: int
    ends_at: int
    given_by: int = -1


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
    """One token of a PKCS#11 store; latencies in seconds.

    The last fields are the token's own report: flags that are set, sessions of all its clients and octets of memory, -1
    where it has no number; `token_sessions_max` 0: no limit.
    """

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
    workers_renewed: int = 0
    login_failures: int = 0
    flags: tuple[str, ...] = ()
    token_sessions: int = -1
    token_sessions_max: int = -1
    memory_free: int = -1
    memory_total: int = -1


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
