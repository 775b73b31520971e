"""All zones of the daemon, by name and by wire name; built from a configuration and changed with it."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from dnssecd.config.model import Config, Peer, ZoneConfig
from dnssecd.daemon.zones import specs
from dnssecd.daemon.zones import unconfigured as serving
from dnssecd.daemon.zones.databases import Databases
from dnssecd.daemon.zones.machine import Event, happened
from dnssecd.daemon.zones.rooms import ClusterRoom
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.peer import KeyServicePlace
from dnssecd.publish import exchange
from dnssecd.store.errors import StoreError


class ZoneTable:
    """The zone table. ``by_name`` and ``by_origin`` have the same zones; the dictionaries are never replaced."""

    def __init__(
        self,
        key_service: KeyServicePlace,
        databases: Databases[FrontZone],
        config: Config,
        room: Callable[[FrontZone], ClusterRoom] | None,
    ) -> None:
        """config: its zones are in the table from the start. room: makes that of a zone in a cluster, or None."""
        self._key_service, self._room = key_service, room
        self._databases = databases
        self.by_name: dict[str, FrontZone] = {}
        self.by_origin: dict[bytes, FrontZone] = {}
        for zone in config.zones.values():
            self.put(config, zone)

    def put(self, config: Config, zone: ZoneConfig, secondaries: tuple[Peer, ...] | None = None) -> FrontZone:
        """Add a zone, or give an existing zone a new configuration."""
        peers = config.secondaries_of(zone.name) if secondaries is None else secondaries
        found = self.by_name.get(zone.name)
        made = FrontZone(
            config=zone,
            spec=specs.zone_spec(config, zone, *self._key_service),
            access=specs.access(zone, peers, config),
            secondaries=specs.peers(config, peers),
            watched=specs.peers(config, zone.check_servers),
            databases=self._databases,
        )
        if found is not None:
            found.config, found.spec, found.access = made.config, made.spec, made.access
            found.secondaries, found.watched, found.orphan = made.secondaries, made.watched, False
            return found
        self._enter(made)
        return made

    def _enter(self, zone: FrontZone) -> None:
        self.by_name[zone.name] = self.by_origin[zone.origin] = zone
        if self._room is not None:
            zone.cluster = self._room(zone)

    def put_orphan(self, config: Config, document: str) -> FrontZone | None:
        """Add a stored zone that is not configured; return None if it is configured or unreadable."""
        try:
            stored = serving.read(document)
        except msgspec.DecodeError:
            return None
        if stored.name in self.by_name or not Path(stored.spec.database).exists():
            return None
        zone, peers = serving.as_config(stored, frozenset(config.tsig))
        made = FrontZone(
            config=zone,
            spec=msgspec.structs.replace(
                stored.spec,
                signer_socket=self._key_service.path,
                signer_owners=self._key_service.owners,
            ),
            access=specs.access(zone, peers, config),
            secondaries=specs.peers(config, peers),
            watched=specs.peers(config, (server for server in peers if server.query)),
            databases=self._databases,
            orphan=True,
        )
        self._enter(made)
        return made

    def asked_servers(self) -> Iterable[tuple[str, exchange.Peer]]:
        """Yield (zone, server) for all public servers that may be queried."""
        for zone in self.by_name.values():
            for peer in zone.asked_servers:
                yield zone.name, peer

    def stored_serial(self, name: str) -> int | None:
        """Return the serial in a zone's database, which is what is served; None if there is none."""
        zone = self.by_name.get(name)
        with suppress(StoreError, OSError):
            snapshot = None if zone is None else zone.snapshot()
            if snapshot is not None:
                with snapshot as version:
                    return version.serial
        return None

    def any_stepped(self) -> bool:
        """Tell whether some key set has not yet taken account of a clock step."""
        return any(zone.stepped for zone in self.by_name.values())

    def needed_by(self, keystore: str) -> float | None:
        """Return when signatures by keys of ``keystore`` are next due, epoch seconds."""
        due = (zone.next_due for zone in self.by_name.values() if keystore in zone.spec.keystores)
        return min((when for when in due if when is not None), default=None)

    def remove(self, name: str) -> FrontZone:
        """Remove a zone; raise KeyError if there is none. From then on it is ``gone`` and not served."""
        zone = self.by_name.pop(name)
        del self.by_origin[zone.origin]
        zone.gone = True
        happened(zone, Event.REMOVED)
        return zone
