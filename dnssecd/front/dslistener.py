"""The roll-over engine's word to DS automation: after each plan, what is wanted, what is public, what was seen."""

from collections.abc import Callable

from dnssecd.config.model import Config
from dnssecd.core.evidence import Evidence
from dnssecd.core.keyset import Keyset
from dnssecd.core.rollover_types import Plan
from dnssecd.core.serial import is_after
from dnssecd.front.dsautomation import DsAutomation
from dnssecd.front.dsways import parent_of
from dnssecd.front.rollover import RolloverListener
from dnssecd.front.zone import FrontZone


class DsListener(RolloverListener):
    """Passes on what every plan shows; one per daemon."""

    def __init__(self, automation: DsAutomation, config: Callable[[], Config]) -> None:
        self._automation, self._config = automation, config

    def planned(self, zone: FrontZone, keyset: Keyset, plan: Plan, evidence: Evidence) -> float | None:
        """Tell what the zone's keys want of the parent, and what its servers were seen to have."""
        parent = parent_of(self._config(), zone.config)
        self._automation.ds_wanted(zone.name, keyset, parent, public=cds_public(keyset, evidence))
        self._automation.ds_seen(zone.name, evidence.parents)
        return None


def cds_public(keyset: Keyset, evidence: Evidence) -> bool:
    """Tell whether every secondary was seen to serve the CDS that go with the last changes of DS."""
    serials = [key.ds.serial for key in keyset.keys if key.ds.serial is not None]
    return all(
        sight.serial is not None and not is_after(serial, sight.serial)
        for serial in serials
        for sight in evidence.secondaries
    )
