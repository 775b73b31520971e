"""Roll-overs: ``explain``, ``key.rollover``, ``key.retire``, ``key.revoke``, ``key.approve``, ``key.compromised``."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from dnssecd.control.messages.base import Answer, KeyTag, Message, Request, Time, Zone
from dnssecd.control.messages.keys import Role


class Missing(msgspec.Struct, frozen=True, kw_only=True, rename={"source": "from"}):
    """What one server has not shown yet."""

    source: Annotated[str, Meta(description="the server")]
    seen: str
    wanted: str
    next_look: Time | None


class Wait(Answer, frozen=True, kw_only=True):
    """A step that waits, and for what.

    A zone that is not published yet has waits with the fields ``step``, ``gate``, ``rule``, ``missing`` and
    ``next_look`` only.
    """

    step: Annotated[str, Meta(description="key, record and event")]
    gate: Annotated[str, Meta(description="what holds the step")]
    rule: str
    detail: str | UnsetType = UNSET
    key_tag: KeyTag | UnsetType | None = UNSET
    since: Time | UnsetType | None = UNSET
    until: Time | UnsetType | None = UNSET
    token: Annotated[str | UnsetType | None, Meta(description="what key.approve takes as step")] = UNSET
    missing: list[Missing]
    next_look: Time | None


class Explanation(Answer, frozen=True, kw_only=True):
    """The state of a zone, and why."""

    zone: Zone
    text: Annotated[str, Meta(description="all of it, for people")]
    waiting: list[Wait]
    next_wake: Annotated[Time | None, Meta(description="when the daemon next looks at the zone")]


class Explain(Request[Explanation], frozen=True, kw_only=True):
    """Explain the state of a zone: what is awaited, from which server, and when the daemon looks again."""

    command: ClassVar[str] = "explain"

    zone: Zone
    rules: Annotated[bool, Meta(description="also show the states of records and the names of rules")] = False


class KeysChanged(Answer, frozen=True, kw_only=True):
    """What was asked for, and what waits now."""

    zone: Zone
    message: Message
    waiting: list[Wait]
    summary: Annotated[str, Meta(description="about when it is done, and when a person has to act")] = ""


class RollOver(Request[KeysChanged], frozen=True, kw_only=True):
    """Give the key in use in a role a successor. Refused while a rollover of that role is running."""

    command: ClassVar[str] = "key.rollover"
    changes: ClassVar[bool] = True

    zone: Zone
    role: Role


class RetireKey(Request[KeysChanged], frozen=True, kw_only=True):
    """Take a key out of use as soon as it is safe."""

    command: ClassVar[str] = "key.retire"
    changes: ClassVar[bool] = True

    zone: Zone
    key_tag: KeyTag


class RevokeKey(Request[KeysChanged], frozen=True, kw_only=True):
    """Take a KSK out of use with the REVOKE bit set (RFC 5011)."""

    command: ClassVar[str] = "key.revoke"
    changes: ClassVar[bool] = True

    zone: Zone
    key_tag: KeyTag


class ApproveStep(Request[KeysChanged], frozen=True, kw_only=True):
    """Approve a step that waits for an operator."""

    command: ClassVar[str] = "key.approve"
    changes: ClassVar[bool] = True

    zone: Zone
    step: Annotated[str | None, Meta(description="token of a Wait; null: the only one")] = None


class ImportPublicKeys(Request[KeysChanged], frozen=True, kw_only=True):
    """Publish public keys of another signer of the zone (RFC 8901), whose private keys are not here."""

    command: ClassVar[str] = "key.import-public"
    changes: ClassVar[bool] = True
    for_officers: ClassVar[bool] = True

    zone: Zone
    signer: Annotated[str, Meta(description="name of the other signer, as in other_signers")]
    dnskeys: Annotated[list[str], Meta(description="DNSKEY record data, as text", max_length=16)]


class RemoveForeignKeys(Request[KeysChanged], frozen=True, kw_only=True):
    """Take another signer's keys, or one of them, out of the zone as soon as it is safe."""

    command: ClassVar[str] = "key.remove-foreign"
    changes: ClassVar[bool] = True
    for_officers: ClassVar[bool] = True

    zone: Zone
    signer: Annotated[str, Meta(description='name of the other signer; "": any')] = ""
    key_tag: Annotated[KeyTag | None, Meta(description="only this key; null: all of the signer")] = None
    ns_gone: Annotated[
        bool, Meta(description="an operator says that the signer's NS are gone from zone and parent")
    ] = False


class RecoveryStep(Answer, frozen=True, kw_only=True):
    """A step of a recovery."""

    at: Time | None
    who: Annotated[str, Meta(description='"people" or "dnssecd"')]
    text: str


class Recovery(Answer, frozen=True, kw_only=True):
    """How a compromised key is replaced."""

    zone: Zone
    key_tag: KeyTag
    safe_at: Annotated[Time | None, Meta(description="from when no validator trusts the key")]
    text: Annotated[str, Meta(description="all of it, for people")]
    costs: list[str]
    steps: list[RecoveryStep]


class LostRecovery(Answer, frozen=True, kw_only=True):
    """How a lost key is replaced."""

    zone: Zone
    key_tag: KeyTag
    over_at: Annotated[
        Time | None, Meta(description="from when nothing needs the key; null: no end in sight")
    ]
    expires_at: Annotated[Time | None, Meta(description="when the first signature of the zone expires")]
    in_time: Annotated[bool, Meta(description="whether it is over before that")]
    begun: Annotated[bool, Meta(description="false: this is what would happen")]
    text: Annotated[str, Meta(description="all of it, for people")]
    costs: list[str]
    steps: list[RecoveryStep]


class ReportLoss(Request[LostRecovery], frozen=True, kw_only=True):
    """Replace a key whose private key is lost, by the fastest safe steps, or show how."""

    command: ClassVar[str] = "key.lost"
    changes: ClassVar[bool] = True

    zone: Zone
    key_tag: KeyTag
    begin: Annotated[bool, Meta(description="false: only show the plan")] = False


class ReportFound(Request[KeysChanged], frozen=True, kw_only=True):
    """Use a key that was reported lost again: its private key is back."""

    command: ClassVar[str] = "key.found"
    changes: ClassVar[bool] = True

    zone: Zone
    key_tag: KeyTag


class ReportCompromise(Request[Recovery], frozen=True, kw_only=True):
    """Replace a compromised key by the fastest safe steps."""

    command: ClassVar[str] = "key.compromised"
    changes: ClassVar[bool] = True

    zone: Zone
    key_tag: KeyTag
