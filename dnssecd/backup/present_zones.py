"""Read the state of zones on this host before a restore: databases and catalogue. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct, field

from dnssecd.backup.content import Unreadable, stored
from dnssecd.backup.judge import Stored
from dnssecd.backup.manifest import COMMON
from dnssecd.config.model import Config, Peer
from dnssecd.daemon.zones import unconfigured as serving
from dnssecd.daemon.zones.specs import database_path
from dnssecd.store.catalogue import read_catalogue


class Here(Struct, frozen=True):
    """The state on this host. ``serials``: last known serials; ``documents``: how zones were served."""

    serials: dict[str, int] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)

    def stored(self, config: Config, zones: Iterable[str]) -> tuple[dict[str, Stored], list[str]]:
        """Return the state of each zone on this host, and notes.

        If a database is missing or unreadable, the serial comes from the catalogue.
        """
        found, notes = {}, []
        for zone in zones:
            path = database_path(config, zone)
            serial, keyset = None, None
            if path.exists():
                try:
                    serial, keyset = stored(path)
                except Unreadable as error:
                    notes.append(
                        f"{zone}: the database on this host cannot be read ({error}) and is kept in zones/removed"
                    )
            found[zone] = Stored(self.serials.get(zone) if serial is None else serial, keyset)
        return found, notes


def look(config: Config) -> Here:
    """Read the catalogue if it exists. Raise StoreError when it is damaged: its data must not be ignored."""
    path = config.server.state_dir / COMMON[0]
    if not path.exists() or not path.stat().st_size:
        return Here()
    known = read_catalogue(path)
    return Here(known.serials, known.documents)


def servers(config: Config, zone: str, document: str | None) -> list[Peer]:
    """Return the public servers of a zone: from the configuration, else from the document of how it was served."""
    configured = config.zones.get(zone)
    if configured is not None:
        return [*(peer for peer in config.secondaries_of(zone) if peer.query), *configured.check_servers]
    if document is None or not readable(document):
        return []
    return [
        peer for peer in serving.as_config(serving.read(document), frozenset(config.tsig))[1] if peer.query
    ]


def readable(document: str) -> bool:
    """Return whether a document can be decoded."""
    try:
        serving.read(document)
    except msgspec.DecodeError:
        return False
    return True
