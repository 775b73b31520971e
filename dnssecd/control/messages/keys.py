"""Keys: those of zones with their states, those in key stores, and the audit log of their use."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from dnssecd.control.messages.base import Answer, KeyTag, Message, Request, Time, Zone
from dnssecd.core.dns.names import wire_to_text

if TYPE_CHECKING:
    from dnssecd.keyservice_protocol import KeyInfo

Role = Literal["ksk", "zsk", "csk"]
RecordState = Annotated[
    str | None, Meta(description="hidden, rumoured, omnipresent or unretentive; null: not for this role")
]
AlgorithmNumber = Annotated[int, Meta(description="DNSSEC algorithm number")]
PublicKey = Annotated[str, Meta(description="DNSKEY record data, as text")]


class KeyRow(Answer, frozen=True, kw_only=True):
    """A key of a zone, with the states of its records."""

    zone: Zone
    role: Role
    algorithm: AlgorithmNumber
    tag: KeyTag
    public_key: PublicKey
    goal: str
    state: Annotated[str, Meta(description="the use of the key in a word, as `explain` shows it")]
    keystore: str
    label: Annotated[str, Meta(description="the name of the key in its key store")]
    dnskey: RecordState
    zrrsig: RecordState
    krrsig: RecordState
    ds: RecordState
    signer: Annotated[str, Meta(description='who has the private key; "": dnssecd')] = ""


class KeyRows(Answer, frozen=True, kw_only=True):
    """Keys of zones."""

    keys: list[KeyRow]


class ListKeys(Request[KeyRows], frozen=True, kw_only=True):
    """List the keys of one zone or of all, with the states of their records."""

    command: ClassVar[str] = "key.list"

    zone: Zone | None = None


class StoredKey(Answer, frozen=True, kw_only=True):
    """A key in a key store."""

    id: str
    keystore: str
    zones: list[str]
    role: Role
    algorithm: AlgorithmNumber
    bits: int
    tag: KeyTag
    public_key: PublicKey
    created: Time
    state: Annotated[str, Meta(description="available, unavailable, missing or unproven")]
    detail: str


class StoredKeys(Answer, frozen=True, kw_only=True):
    """Keys in key stores."""

    keys: list[StoredKey]


class ListStoredKeys(Request[StoredKeys], frozen=True, kw_only=True):
    """List what the key stores hold, in use or not."""

    command: ClassVar[str] = "key.stored"

    zone: Zone | None = None


class KeysAdded(Answer, frozen=True, kw_only=True):
    """Keys that a zone can use now."""

    zone: Zone
    keys: list[StoredKey]
    message: Message


class GenerateKeys(Request[KeysAdded], frozen=True, kw_only=True):
    """Generate the keys that the policy of a zone asks for, or one that is described."""

    command: ClassVar[str] = "key.generate"
    changes: ClassVar[bool] = True
    for_officers: ClassVar[bool] = True
    progress: ClassVar[bool] = True

    zone: Zone
    role: Role | None = None
    algorithm: AlgorithmNumber | None = None
    bits: Annotated[int | None, Meta(description="size of an RSA key")] = None
    keystore: str | None = None


class BackupsConfirmed(Answer, frozen=True, kw_only=True):
    """Keys that count as backed up now."""

    keys: list[StoredKey]
    message: Message


class ConfirmBackup(Request[BackupsConfirmed], frozen=True, kw_only=True):
    """Record that a backup contains keys: the command has opened it, or an operator says so of keys in tokens."""

    command: ClassVar[str] = "key.backup-confirm"
    changes: ClassVar[bool] = True
    for_officers: ClassVar[bool] = True

    keys: Annotated[
        tuple[str, ...], Meta(description="ids of keys whose private key was found in the backup")
    ] = ()
    zone: Annotated[Zone | None, Meta(description="with key_tag: the zone of a key in a token")] = None
    key_tag: Annotated[int | None, Meta(description="tag of a key in a token")] = None
    detail: Annotated[str, Meta(description="which backup, for people")]


class AdoptKey(Request[KeysAdded], frozen=True, kw_only=True):
    """Use a key that is in a token already."""

    command: ClassVar[str] = "key.adopt"
    changes: ClassVar[bool] = True
    for_officers: ClassVar[bool] = True

    zone: Zone
    role: Role | None = None
    algorithm: AlgorithmNumber | None = None
    bits: Annotated[int | None, Meta(description="size of an RSA key")] = None
    keystore: str | None = None
    cka_id: Annotated[str | None, Meta(description="its CKA_ID in hexadecimal")] = None
    label: Annotated[str | None, Meta(description="its CKA_LABEL")] = None


class AuditLine(Answer, frozen=True, kw_only=True):
    """An entry of the audit log."""

    number: int
    at: Time
    event: str
    fields: dict[str, str | int]
    hash: Annotated[str, Meta(description="of this entry and the hash before it")]


class Audit(Answer, frozen=True, kw_only=True):
    """Whether the chain of the audit log holds, and its last entries."""

    ok: bool
    detail: str
    count: int
    head: Annotated[str, Meta(description="hash of the last entry")]
    entries: list[AuditLine]


class CheckAudit(Request[Audit], frozen=True, kw_only=True):
    """Check the audit log of the key service."""

    command: ClassVar[str] = "key.audit"

    limit: Annotated[int, Meta(ge=1, description="at most this many entries, and at most 1,000")] = 100


def describe_key(info: KeyInfo) -> StoredKey:
    """Return a key as the key service describes it, for commands."""
    return StoredKey(
        id=info.id,
        keystore=info.store,
        zones=[wire_to_text(zone) for zone in info.zones],
        role=info.role,
        algorithm=info.algorithm,
        bits=info.bits,
        tag=info.tag,
        public_key=f"{info.flags} 3 {info.algorithm} {b64encode(info.public_key).decode()}",
        created=info.created,
        state=info.state,
        detail=info.detail,
    )
