"""A small zone for tests of what happens around a zone rather than in it."""

from __future__ import annotations

from pathlib import Path

from tests.peers.dnssecd import Dnssecd
from tests.peers.process import PeerError, wait_until

ZONE = "small.test."
NAMES = 60  # enough for the delta guard, which never trips below 25


def small_zone(serial: int = 1, extra: str = "", names: int = NAMES) -> str:
    """A master file with ``names`` hosts; ``extra`` lines at its end."""
    hosts = "".join(f"host{number} A 192.0.2.{number % 250}\n" for number in range(names))
    head = f"$ORIGIN {ZONE}\n$TTL 300\n@ SOA ns1 hostmaster {serial} 3600 600 604800 60\n@ NS ns1\n"
    return head + "ns1 A 127.0.0.1\n" + hosts + extra


def wait_event(
    daemon: Dnssecd, event: str, zone: str = ZONE, *, firing: bool = True, timeout: float = 30.0
) -> None:
    """Return once ``event`` fires for ``zone`` (or no longer does), as the metrics tell it."""

    def probe() -> bool:
        return bool(daemon.metric("dnssecd_event_firing", event=event, zone=zone)) == firing

    try:
        wait_until(probe, f"event {event} {'fires' if firing else 'is resolved'}", timeout)
    except PeerError as error:
        raise PeerError(f"{error}\n{daemon.cli('status').text}\n{daemon.log_tail()}") from None


def alert_text(daemon: Dnssecd, zone: str = ZONE) -> str:
    """All that ``status`` says about the zone's alerts, as one text to search in."""
    return str(daemon.zone_status(zone)["alerts"])


def unsigned_zone_file(home: Path, serial: int, extra: str = "") -> Path:
    """The small zone in a file of its own, for servers other than ours."""
    path = home / f"elsewhere-{serial}.zone"
    path.write_text(small_zone(serial, extra))
    return path
