"""Coming from another signer: ``migrate.keys``, ``migrate.check``, ``migrate.adopt``, ``migrate.forget``."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from dnssecd.control.messages.base import (
    AcceptChange,
    Answer,
    FirstPublication,
    KeyTag,
    Message,
    Request,
    Serial,
    Zone,
)

File = Annotated[str | None, Meta(description="absolute path of the signed zone; file or server is given")]
Server = Annotated[
    str | None, Meta(description="server that has the signed zone: of the configuration, or an address")
]
Tsig = Annotated[str | None, Meta(description="name of the TSIG key for the transfer")]


class KeysNoted(Answer, frozen=True, kw_only=True):
    """The keys that the zone waits to come with."""

    zone: Zone
    tags: list[KeyTag]
    message: Message


class NoteKeys(Request[KeysNoted], frozen=True, kw_only=True):
    """Note the keys of another signer, with their states, before the first publication."""

    command: ClassVar[str] = "migrate.keys"
    changes: ClassVar[bool] = True
    for_officers: ClassVar[bool] = True

    zone: Zone
    keys: Annotated[
        list[str], Meta(description="each the JSON text of a dnssecd.migration.foreign.ForeignKey")
    ]


class SerialPair(Answer, frozen=True, kw_only=True):
    """The serial that is served, and the one here."""

    served: Serial
    ours: Serial


class DifferingRRset(Answer, frozen=True, kw_only=True):
    """An RRset that is not the same."""

    kind: Annotated[str, Meta(description="content, keys, denial, signatures or ttl")]
    owner: str
    type: str
    detail: str
    served: Annotated[list[str], Meta(description="its records as served")]
    ours: Annotated[list[str], Meta(description="its records here")]


class MigrationReport(Answer, frozen=True, kw_only=True):
    """How the zone that is signed here compares with the zone that is served."""

    zone: Zone
    ok: Annotated[bool, Meta(description="nothing differs but signatures")]
    published: bool
    serial: SerialPair
    kept: Annotated[int, Meta(description="RRsets that keep their signatures")]
    fresh: Annotated[int, Meta(description="RRsets with new signatures")]
    differing: Annotated[int, Meta(description="RRsets that differ in more than signatures")]
    differences: Annotated[list[DifferingRRset], Meta(description="the first of them")]
    remarks: list[str]
    held: Annotated[list[str], Meta(description="steps that wait for key.approve")]
    warnings: list[str]


class Migration(Request[MigrationReport], frozen=True, kw_only=True):
    """Base of the requests about a signed zone that another signer serves."""

    changes: ClassVar[bool] = True
    progress: ClassVar[bool] = True

    zone: Zone
    file: File = None
    server: Server = None
    tsig: Tsig = None
    accept_change: AcceptChange = False
    first_publication: FirstPublication = False


class CheckMigration(Migration, frozen=True, kw_only=True):
    """Sign the zone without publishing it, and compare it with the zone that is served."""

    command: ClassVar[str] = "migrate.check"


class AdoptZone(Migration, frozen=True, kw_only=True):
    """Take a zone over as it is served: with its keys, its good signatures and a later serial."""

    command: ClassVar[str] = "migrate.adopt"


class MigrationForgotten(Answer, frozen=True, kw_only=True):
    """The zone does not wait any more."""

    zone: Zone
    message: Message


class ForgetMigration(Request[MigrationForgotten], frozen=True, kw_only=True):
    """Forget the noted keys: the zone no longer waits to come from another signer."""

    command: ClassVar[str] = "migrate.forget"
    changes: ClassVar[bool] = True

    zone: Zone
