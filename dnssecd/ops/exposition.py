"""Write metrics as text: gauges with samples for each zone by code here, all others by prometheus_client.

With 10,000 zones there are about 60,000 samples. prometheus_client needs a second for them and holds the interpreter
lock. The samples of a gauge have the same form in Prometheus and OpenMetrics format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from dnssecd.ops.many_gauge import ManyGauge

Encode = Callable[[Collector], bytes]

_END = b"# EOF\n"  # OpenMetrics requires it at the end


class _Without(Collector):
    """A registry without some of its collectors."""

    def __init__(self, registry: CollectorRegistry, without: Sequence[Collector]) -> None:
        self._registry, self._without = registry, without

    def collect(self) -> Iterator[Metric]:
        for collector in list(self._registry._collector_to_names):
            if collector not in self._without:
                yield from collector.collect()


def exposition(registry: CollectorRegistry, large: Sequence[ManyGauge], encode: Encode) -> bytes:
    """Return the text of all metrics. ``large`` gauges have finite values; they are written here."""
    rest = encode(_Without(registry, large))
    tail = _END if rest.endswith(_END) else b""
    return b"".join((rest.removesuffix(tail), *map(_family, large), tail))


def _family(gauge: ManyGauge) -> bytes:
    name = gauge.name
    lines = [f"# HELP {name} {_escaped(gauge.text)}\n# TYPE {name} gauge\n"]
    for values, value in gauge.samples():
        pairs = ",".join(
            [f'{label}="{_escaped(each)}"' for label, each in zip(gauge.label_names, values, strict=True)]
        )
        lines.append(f"{name}{{{pairs}}} {float(value)!r}\n")
    return "".join(lines).encode()


def _escaped(text: str) -> str:
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return text
