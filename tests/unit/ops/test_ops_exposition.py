"""What we write of metrics is what prometheus_client would write, however many zones there are."""

from __future__ import annotations

import pytest
from prometheus_client import exposition as plain
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_plain

from dnssecd.ops.exposition import exposition
from dnssecd.ops.metrics import Metrics

FORMATS = {
    "prometheus": (plain.generate_latest, read_plain),
    "openmetrics": (openmetrics.generate_latest, read_openmetrics),
}
#: They differ from one writing to the next.
MOVING = "process_"


def metrics() -> Metrics:
    made = Metrics()
    for zone, serial in (("example.", 1.0), ('back\\slash".example.', 4294967295.0)):
        made.zone.serial.labels(zone).set(serial)
        made.zone.earliest_expiration.labels(zone).set(1_790_000_000.5)
        made.peers.secondary_serial.labels(zone, "ns1").set(serial)
    made.zone.signatures.inc(3)
    return made


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_families_and_samples(name: str) -> None:
    encode, read = FORMATS[name]
    made = metrics()

    def families(text: bytes) -> dict[str, object]:
        found = {family.name: family for family in read(text.decode()) if not family.name.startswith(MOVING)}
        assert found
        return found

    ours = exposition(made.registry, made.large(), encode)  # type: ignore[arg-type]
    assert families(ours) == families(encode(made.registry))
    made.forget_zone("example.")
    assert b'zone="example."' not in exposition(made.registry, made.large(), encode)  # type: ignore[arg-type]
