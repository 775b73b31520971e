"""The configuration in force, and values derived from it."""

from dnssecd.config.model import Config
from dnssecd.core.dns.tsig import TsigKey
from dnssecd.daemon.zones import specs


class ConfigInForce:
    """Holds one configuration at a time. Belongs to the event loop."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._tsig = specs.tsig_keys(config)

    def get(self) -> Config:
        """Return the configuration."""
        return self._config

    def tsig_keys(self) -> dict[bytes, TsigKey]:
        """Return the TSIG keys by name, wire form."""
        return self._tsig

    def put(self, config: Config) -> None:
        """Put a new configuration in force."""
        self._config = config
        self._tsig = specs.tsig_keys(config)
