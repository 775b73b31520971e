"""The configured peers by address: they have reserved connections, and a refused request of theirs is an event."""

from collections import defaultdict

from dnssecd.config.model import Config
from dnssecd.server.acl import Address, client_address


class KnownPeers:
    """Secondaries and primaries in the present configuration, and single addresses that may transfer."""

    def __init__(self, config: Config) -> None:
        self._names: dict[Address, tuple[str, ...]] = {}
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Apply a configuration."""
        names: defaultdict[Address, list[str]] = defaultdict(list)
        for peer in (*config.secondaries.values(), *config.primaries.values()):
            of_address = names[client_address(peer.address.host)]
            if peer.name not in of_address:
                of_address.append(peer.name)
        for zone in config.zones.values():
            for network in zone.allow_transfer.networks:
                if network.num_addresses == 1:
                    names[network.network_address] = names[network.network_address] or [
                        str(network.network_address)
                    ]
        self._names = {address: tuple(found) for address, found in names.items()}

    def knows(self, address: Address) -> bool:
        """Tell whether an address is a peer's."""
        return address in self._names

    def names(self, address: Address) -> tuple[str, ...]:
        """Return the names of the peers at an address."""
        return self._names.get(address, ())
