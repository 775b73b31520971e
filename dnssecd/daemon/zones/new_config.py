"""Apply a new configuration in the parts of the daemon; its zones are already in the table."""

from collections.abc import Mapping

from dnssecd.config.diff import ConfigDiff
from dnssecd.config.model import Config
from dnssecd.daemon.alerting import AlertEngine
from dnssecd.daemon.backup_watch import BackupWatch
from dnssecd.daemon.known_peers import KnownPeers
from dnssecd.daemon.refusals import Refusals
from dnssecd.daemon.rollover.listeners import RolloverService
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.publisher import Publisher
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops import log as log_setup


class NewConfig:
    """Passes a new configuration to the parts that hold data of the previous one."""

    def __init__(
        self,
        zones: Mapping[str, FrontZone],
        peers: KnownPeers,
        refusals: Refusals,
        alerts: AlertEngine,
        rollovers: RolloverService,
        publisher: Publisher,
        mailbox: Mailbox,
        backups: BackupWatch,
    ) -> None:
        self._zones, self._peers, self._refusals = zones, peers, refusals
        self._alerts, self._rollovers, self._publisher = alerts, rollovers, publisher
        self._mailbox = mailbox
        self._backups = backups

    def take_up(self, config: Config, found: ConfigDiff) -> None:
        """Pass it on. ``found``: its differences from the previous one."""
        self._peers.configure(config)
        self._refusals.forget()
        self._alerts.configure(config)
        self._backups.configure()
        self._rollovers.configure((*found.added, *found.changed))
        log_setup.setup(config.log.format, config.log.level)
        for zone in self._zones.values():
            if zone.serial is not None and not self._publisher.followed(zone):
                self._publisher.publish(zone)
        if found.changes:
            self._mailbox.configured.send()
