"""Metrics of zones' keys, of hand-overs of DS and of parents, from the last survey of all zones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

#: Always exported, so that a sum over them has no gaps; as ``control/messages`` and ``keyset`` name them.
SECURITY = ("unknown", "insecure", "ds-due", "secure", "rolling", "bogus")
ROLES = ("ksk", "zsk", "csk")
HANDOVERS = ("waiting", "late")


@dataclass
class KeySurvey:
    """Counts of one look at all zones; handover_due: by zone, when the change of DS at its parent counts as late.

    keys: by role, algorithm and state.
    """

    security: Counter[str] = field(default_factory=Counter)
    keys: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    rollovers: Counter[str] = field(default_factory=Counter)
    handovers: Counter[str] = field(default_factory=Counter)
    for_person: int = 0
    handover_due: list[tuple[str, float]] = field(default_factory=list)


class KeyCollector(Collector):
    """Collects metrics from the last survey."""

    def __init__(self) -> None:
        self._survey = KeySurvey()

    def take(self, survey: KeySurvey) -> None:
        """Store a survey."""
        self._survey = survey

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        survey = self._survey
        yield _counted(
            "dnssecd_zones_by_security", "Zones as validators see them", "security", SECURITY, survey.security
        )
        keys = GaugeMetricFamily(
            "dnssecd_keys",
            "Keys of published zones by role, algorithm (number) and state, as dnssecd key list shows it",
            labels=("role", "algorithm", "state"),
        )
        for labels, number in sorted(survey.keys.items()):
            keys.add_metric(labels, number)
        yield keys
        yield _counted(
            "dnssecd_rollovers", "Keys that are being replaced, by role", "role", ROLES, survey.rollovers
        )
        yield _counted(
            "dnssecd_ds_handovers",
            "Zones whose parent was asked for a change of DS and has not made it, by state: waiting, late",
            "state",
            HANDOVERS,
            survey.handovers,
        )
        person = GaugeMetricFamily(
            "dnssecd_zones_waiting_for_person", "Zones in which something waits for a person now"
        )
        person.add_metric((), survey.for_person)
        yield person
        due = GaugeMetricFamily(
            "dnssecd_zone_ds_handover_due_timestamp_seconds",
            "When the change of DS that the parent was asked for counts as late; only for zones with one",
            labels=("zone",),
        )
        for zone, when in survey.handover_due:
            due.add_metric((zone,), when)
        yield due

    def families(self) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
        """Yield name, kind, labels and help of each family, for the table of metrics."""
        for family in self.collect():
            yield family.name, family.type, getattr(family, "_labelnames", ()), family.documentation


def _counted(name: str, text: str, label: str, values: tuple[str, ...], counts: Counter[str]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for value in values:
        family.add_metric((value,), counts[value])
    return family
