"""A gauge with a sample for each zone: a number in a dictionary, where prometheus_client keeps four objects and a lock.

With 10,000 zones that was 40 MiB. It is used as prometheus_client's gauges are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Sample(Struct, frozen=True):
    """The place of one sample."""

    gauge: ManyGauge
    key: str | tuple[str, ...]

    def set(self, value: float) -> None:
        """Give the sample a value."""
        self.gauge.values[self.key] = value


class ManyGauge(Collector):
    """See the module. ``values``: by the value of the label, or by those of several, in the order of ``label_names``.

    It is written by one thread; others read it.
    """

    def __init__(self, name: str, text: str, labels: Sequence[str], *, registry: CollectorRegistry) -> None:
        self.name, self.text, self.label_names = name, text, tuple(labels)
        self.values: dict[str | tuple[str, ...], float] = {}
        registry.register(self)

    def labels(self, *values: str, **named: str) -> Sample:
        """Return the place of the sample with these values of the labels."""
        values = values or tuple(named[label] for label in self.label_names)
        if len(values) != len(self.label_names):
            raise ValueError(f"{self.name} has the labels {self.label_names}")
        return Sample(self, values[0] if len(values) == 1 else values)

    def remove_by_labels(self, labels: Mapping[str, str]) -> None:
        """Drop the samples with these values of labels."""
        if len(self.label_names) == 1:
            self.values.pop(labels[self.label_names[0]], None)
            return
        wanted = [(self.label_names.index(label), value) for label, value in labels.items()]
        for key in [key for key in self.values if all(key[at] == value for at, value in wanted)]:
            del self.values[key]

    def samples(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """Yield the values of the labels and the value of each sample, as they are now."""
        for key, value in list(self.values.items()):
            yield (key if isinstance(key, tuple) else (key,)), value

    def describe(self) -> Iterator[Metric]:
        """Yield the family without samples."""
        yield GaugeMetricFamily(self.name, self.text, labels=self.label_names)

    def collect(self) -> Iterator[Metric]:
        """Yield the family with its samples."""
        family = GaugeMetricFamily(self.name, self.text, labels=self.label_names)
        for values, value in self.samples():
            family.add_metric(values, value)
        yield family
