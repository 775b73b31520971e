"""Trust anchors of zones: ``anchors.show``, ``anchors.check``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from dnssecd.control.messages.base import Answer, KeyTag, Request, Time, Zone
from dnssecd.control.messages.keys import AlgorithmNumber


class AnchorKey(Answer, frozen=True, kw_only=True):
    """A KSK or CSK as a trust anchor."""

    tag: KeyTag
    role: str
    algorithm: AlgorithmNumber
    standing: Annotated[
        Literal["given", "later", "ended"],
        Meta(description="given: validators may be configured with it now"),
    ]
    since: Time
    until: Annotated[Time | None, Meta(description="null: no end is known")]
    why: Annotated[str, Meta(description="why it is not given")]


class AnchorFile(Answer, frozen=True, kw_only=True):
    """A file with the anchors that are given."""

    name: Annotated[str, Meta(description="`anchors.xml` (RFC 9718), `anchors.ds`, …")]
    text: str
    signature: Annotated[
        str | None, Meta(description="detached CMS signature, DER in base 64; null: none is configured")
    ]


class AnchorPublication(Answer, frozen=True, kw_only=True):
    """What is published of the anchors."""

    directory: Annotated[str, Meta(description="of the zone's files")]
    url: Annotated[str, Meta(description='where it is looked at; "": nowhere')]
    trouble: Annotated[str, Meta(description='why the files cannot be written; ""')]
    looked_at: Time | None
    faults: Annotated[list[str], Meta(description="what the last look found wrong")]


class ZoneAnchors(Answer, frozen=True, kw_only=True):
    """The trust anchors of a zone."""

    zone: Zone
    rfc5011: Annotated[bool, Meta(description="validators that follow RFC 5011 replace them themselves")]
    keys: list[AnchorKey]
    files: Annotated[list[AnchorFile], Meta(description="empty: no anchor is given yet")]
    published: Annotated[AnchorPublication | None, Meta(description="null: the zone has no `anchors = true`")]


class ShowAnchors(Request[ZoneAnchors], frozen=True, kw_only=True):
    """Show the trust anchors of an island of security or a zone that follows RFC 5011, in every form."""

    command: ClassVar[str] = "anchors.show"

    zone: Zone


class AnchorsChecked(Answer, frozen=True, kw_only=True):
    """What was found."""

    zone: Zone
    ok: bool
    published: AnchorPublication


class CheckAnchors(Request[AnchorsChecked], frozen=True, kw_only=True):
    """Bring the files of a zone's anchors up to date, and compare them with what the web server gives out."""

    command: ClassVar[str] = "anchors.check"
    changes: ClassVar[bool] = True

    zone: Zone
