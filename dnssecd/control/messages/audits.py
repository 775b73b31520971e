"""Audits: ``audit``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from dnssecd.control.messages.base import Answer, Request, Zone

#: As in ``config.audit.table``, which commands do not load.
Profile = Literal["keys", "sp800-81r3", "rfc9276", "tld"]


class Requirement(Answer, frozen=True, kw_only=True):
    """A requirement of a profile, and whether it is met."""

    id: Annotated[str, Meta(description="name of the requirement; it stays the same")]
    text: Annotated[str, Meta(description="what is required")]
    source: Annotated[str, Meta(description="the document that requires it")]
    verdict: Literal["met", "not met", "not known"]
    seen: Annotated[str, Meta(description="the evidence")]
    change: Annotated[str, Meta(description="what to change where it is not met")]


class AuditReport(Answer, frozen=True, kw_only=True):
    """The requirements of a profile, in the order of the profile."""

    profile: Profile
    zones: Annotated[list[Zone], Meta(description="the zones under audit")]
    ok: Annotated[bool, Meta(description="all requirements are met")]
    requirements: list[Requirement]


class RunAudit(Request[AuditReport], frozen=True, kw_only=True):
    """Judge each requirement of a profile by the configuration and by what daemon and key service report."""

    command: ClassVar[str] = "audit"

    profile: Annotated[Profile, Meta(description="the set of requirements")] = "keys"
    zone: Zone | None = None
