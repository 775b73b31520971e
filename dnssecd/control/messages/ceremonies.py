"""Off-line KSKs: ``ksr.export``, ``skr.import``."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, field

from dnssecd.control.messages.base import Answer, KeyTag, Message, Request, Time, Zone


class SigningRequest(Answer, frozen=True, kw_only=True):
    """What a ceremony is to sign."""

    zone: Zone
    number: Annotated[int, Meta(description="which request of the zone it is")]
    digest: Annotated[str, Meta(description="SHA-256 of the request, in hex")]
    document: Annotated[str, Meta(description="the request as text")]
    notes: Annotated[list[str], Meta(description="what to know about it")]


class ExportRequest(Request[SigningRequest], frozen=True, kw_only=True):
    """Make a key signing request: ZSKs that are still needed are made, and sign it."""

    command: ClassVar[str] = "ksr.export"
    changes: ClassVar[bool] = True
    for_officers: ClassVar[bool] = True

    zone: Zone
    start: Annotated[Time, Meta(description="begin of the period, seconds since the epoch")]
    stop: Annotated[Time, Meta(description="end of the period, seconds since the epoch")]
    form: Annotated[str, Meta(description='"dnssecd", "knot" or "bind"')] = "dnssecd"


class ResponseImported(Answer, frozen=True, kw_only=True):
    """What was taken of a response."""

    zone: Zone
    rrsets: Annotated[int, Meta(description="RRsets that are signed ahead now")]
    rrsigs: Annotated[int, Meta(description="RRSIGs that are signed ahead now")]
    new_ksks: Annotated[list[KeyTag], Meta(description="KSKs that are new")]
    until: Annotated[Time, Meta(description="until when the present DNSKEY RRset is signed")]
    message: Message


class ImportResponse(Request[ResponseImported], frozen=True, kw_only=True):
    """Import a signed key response. Every RRSIG in it is verified before anything is used."""

    command: ClassVar[str] = "skr.import"
    changes: ClassVar[bool] = True
    for_officers: ClassVar[bool] = True

    zone: Zone
    document: Annotated[str, Meta(description="the response as text: dnssecd's, Knot's or BIND's form")]
    accept_ksks: Annotated[
        list[Annotated[str, Meta(pattern="^[0-9A-F]{64}$")]],
        Meta(
            description="SHA-256 digests of the DS of KSKs, compared by an operator with the ceremony's report"
        ),
    ] = field(default_factory=list)
