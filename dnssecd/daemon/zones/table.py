"""All zones of the front, by name and by wire name; built from a configuration and changed with it."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from dnssecd.config.model import Config, Peer, ZoneConfig
from dnssecd.daemon.zones import specs
from dnssecd.daemon.zones import unconfigured as serving
from dnssecd.daemon.zones.databases import Databases
from dnssecd.daemon.zones.machine import Event, happened
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.publish import exchange


class ZoneTable:
    """The zones there are. ``by_name`` and ``by_origin`` are the same zones and stay the same objects."""

    def __init__(self, signer_socket: Path, databases: Databases) -> None:
        self._signer_socket = str(signer_socket)
        self._databases = databases
        self.by_name: dict[str, FrontZone] = {}
        self.by_origin: dict[bytes, FrontZone] = {}

    def put(self, config: Config, zone: ZoneConfig, secondaries: tuple[Peer, ...] | None = None) -> FrontZone:
        """Add a zone, or give the zone there is a new configuration."""
        peers = config.secondaries_of(zone.name) if secondaries is None else secondaries
        found = self.by_name.get(zone.name)
        made = FrontZone(
            config=zone,
            spec=specs.zone_spec(config, zone, self._signer_socket),
            access=specs.access(zone, peers, config),
            secondaries=[specs.peer(config, server) for server in peers],
            watched=[specs.peer(config, server) for server in zone.check_servers],
            databases=self._databases,
        )
        if found is not None:
            found.config, found.spec, found.access = made.config, made.spec, made.access
            found.secondaries, found.watched, found.orphan = made.secondaries, made.watched, False
            return found
        self.by_name[made.name] = self.by_origin[made.origin] = made
        return made

    def put_orphan(self, config: Config, document: str) -> FrontZone | None:
        """Add a stored zone that the configuration does not name; None when it is configured or unreadable."""
        try:
            stored = serving.read(document)
        except msgspec.DecodeError:
            return None
        if stored.name in self.by_name or not Path(stored.spec.database).exists():
            return None
        zone, peers = serving.as_config(stored, frozenset(config.tsig))
        made = FrontZone(
            config=zone,
            spec=msgspec.structs.replace(stored.spec, signer_socket=self._signer_socket),
            access=specs.access(zone, peers, config),
            secondaries=[specs.peer(config, server) for server in peers],
            watched=[specs.peer(config, server) for server in peers if server.query],
            databases=self._databases,
            orphan=True,
        )
        self.by_name[made.name] = self.by_origin[made.origin] = made
        return made

    def asked_servers(self) -> Iterable[tuple[str, exchange.Peer]]:
        """Yield (zone, server) of all public servers that may be asked."""
        for zone in self.by_name.values():
            for peer in zone.asked_servers:
                yield zone.name, peer

    def any_stepped(self) -> bool:
        """Tell whether some key set does not have a step of the clock yet."""
        return any(zone.stepped for zone in self.by_name.values())

    def needed_by(self, keystore: str) -> float | None:
        """Return when signatures come due next that keys of ``keystore`` have to make, epoch seconds."""
        due = (zone.next_due for zone in self.by_name.values() if zone.spec.keystore == keystore)
        return min((when for when in due if when is not None), default=None)

    def remove(self, name: str) -> FrontZone:
        """Take a zone out; KeyError when there is none. From here on it is ``gone``: nothing is served of it."""
        zone = self.by_name.pop(name)
        del self.by_origin[zone.origin]
        zone.gone = True
        happened(zone, Event.REMOVED)
        return zone
