"""DS records at the parent: ``ds.show``, ``ds.check``, ``ds.confirm``."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import UNSET, Meta, UnsetType

from dnssecd.control.messages.base import Answer, KeyTag, Message, Request, Seconds, Time, Zone
from dnssecd.control.messages.keys import AlgorithmNumber


class DsRecord(Answer, frozen=True, kw_only=True):
    """A DS record."""

    tag: KeyTag
    algorithm: AlgorithmNumber
    digest_type: int
    digest: Annotated[str, Meta(description="hexadecimal")]
    text: Annotated[str, Meta(description="the record as a line of a zone file")]


class LaterKey(Answer, frozen=True, kw_only=True):
    """A key whose DS must not be handed over yet."""

    tag: KeyTag
    role: str
    ready_at: Annotated[Time | None, Meta(description="when its DS can be handed over")]


class EppText(Answer, frozen=True, kw_only=True):
    """The handover as EPP elements (RFC 5910)."""

    ds: str
    key: str


class HandoverDs(Answer, frozen=True, kw_only=True):
    """A DS record of the handover."""

    key_tag: KeyTag
    algorithm: AlgorithmNumber
    algorithm_name: str
    digest_type: int
    digest_type_name: str
    digest: Annotated[str, Meta(description="hexadecimal")]


class HandoverKey(Answer, frozen=True, kw_only=True):
    """A key of the handover, and what is to be done with its DS."""

    change: str
    role: str
    key_tag: KeyTag
    flags: int
    protocol: int
    algorithm: AlgorithmNumber
    algorithm_name: str
    public_key: Annotated[str, Meta(description="base 64")]
    ds: list[HandoverDs]


class HandoverDocument(Answer, frozen=True, kw_only=True):
    """The handover for programs: what a registrar program gets on its standard input."""

    version: int
    zone: Zone
    task: str
    reason: str
    asked_at: Time | None
    due_at: Time | None
    ds: Annotated[list[HandoverDs], Meta(description="the DS RRset that the parent is to have")]
    keys: list[HandoverKey]


class DsHandover(Answer, frozen=True, kw_only=True):
    """What the parent is to have, in every form.

    For a zone that is not published yet, the fields with a remark "if published" are left out.
    """

    zone: Zone
    task: Annotated[
        str | UnsetType,
        Meta(description="if published: nothing, submit, replace, withdraw, remove-all or restore"),
    ] = UNSET
    ds: list[DsRecord]
    later: Annotated[
        list[LaterKey] | UnsetType, Meta(description="if published: keys that are not ready")
    ] = UNSET
    dnskey: Annotated[list[str], Meta(description="lines of a zone file")]
    cds: Annotated[list[str], Meta(description="lines of a zone file")]
    dsset: Annotated[list[str] | UnsetType, Meta(description="if published: lines of a dsset file")] = UNSET
    epp: Annotated[EppText | UnsetType, Meta(description="if published")] = UNSET
    handover: Annotated[HandoverDocument | UnsetType, Meta(description="if published")] = UNSET
    at_parent: Annotated[list[str] | None, Meta(description="what each server has; null: none was asked")]
    text: Annotated[str, Meta(description="all of it, for people")]


class ShowDs(Request[DsHandover], frozen=True, kw_only=True):
    """Show the DS records to hand to the parent."""

    command: ClassVar[str] = "ds.show"

    zone: Zone


class ParentServer(Answer, frozen=True, kw_only=True):
    """What one of the parent's servers has."""

    server: str
    ok: Annotated[bool, Meta(description="it has the DS of every key wanted, and no other")]
    ds: list[KeyTag]
    foreign: Annotated[list[KeyTag], Meta(description="tags of DS of other keys")]
    ttl: Seconds
    at: Time | None
    failure: Annotated[str, Meta(description="why it did not answer")]
    next_look: Time | None


class DsChecked(Answer, frozen=True, kw_only=True):
    """What the parent has."""

    zone: Zone
    ok: Annotated[bool, Meta(description="all servers have just what they should")]
    wanted: list[KeyTag]
    servers: list[ParentServer]


class CheckDs(Request[DsChecked], frozen=True, kw_only=True):
    """Ask each server of the parent what DS records it has."""

    command: ClassVar[str] = "ds.check"

    zone: Zone


class DsConfirmed(Answer, frozen=True, kw_only=True):
    """What was confirmed."""

    zone: Zone
    key_tag: KeyTag
    present: Annotated[bool, Meta(description="the parent has the DS; false: no longer")]
    message: Message


class ConfirmDs(Request[DsConfirmed], frozen=True, kw_only=True):
    """State that the parent has, or no longer has, the DS of a key."""

    command: ClassVar[str] = "ds.confirm"
    changes: ClassVar[bool] = True

    zone: Zone
    key_tag: KeyTag
