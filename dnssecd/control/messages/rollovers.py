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


class KeysChanged(Answer, frozen=True, kw_only=True):
    """What was asked for, and what waits now."""

    zone: Zone
    message: Message
    waiting: list[Wait]


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


class ReportCompromise(Request[Recovery], frozen=True, kw_only=True):
    """Replace a compromised key by the fastest safe steps."""

    command: ClassVar[str] = "key.compromised"
    changes: ClassVar[bool] = True

    zone: Zone
    key_tag: KeyTag
