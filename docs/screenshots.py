"""Takes docs/img/status-page.png with chromium, if that is installed: `PYTHONPATH=. python docs/screenshots.py`.

The page is the real one; its zones are samples.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from msgspec import structs
from prometheus_client import CollectorRegistry, Counter

from dnssecd.config import Address
from dnssecd.config.model import StatusPageConfig
from dnssecd.control.messages.zones import PersonTask, ServerSeen
from dnssecd.page.endpoint import StatusPage
from tests.unit.page.samples import DAY, NOW, Samples, alert, survey, zone

TARGET = Path(__file__).parent / "img/status-page.png"
WIDTH, HEIGHT = 1100, 820


def sample() -> Samples:
    """Return what the page shows."""
    good = [ServerSeen(name=name, serial=7, seen_at=NOW - 30, detail="") for name in ("ns1", "ns2")]
    late = [good[0], ServerSeen(name="ns2", serial=6, seen_at=NOW - 600, detail="")]
    task = PersonTask(
        what="hand over the DS of key 4711", command="dnssecd ds show example.net.", by=NOW + DAY
    )
    fault = alert(zone="example.org.", cause="line 3: unknown type A6", remedy="correct the file")
    zones = [
        zone("example.com.", secondaries=good, security="secure", runway_seconds=13 * DAY),
        zone("example.net.", secondaries=good, security="ds-due", ds_due_at=NOW, waits_for_person=[task]),
        zone("example.org.", secondaries=good, security="secure", runway_seconds=9 * DAY, alerts=[fault]),
        zone("rolling.example.", secondaries=late, security="rolling", runway_seconds=11 * DAY),
    ]
    made = survey(zones)
    verdict = structs.replace(
        made.status.verdict,
        level="warning",
        text="WARNING: 1 of 4 zones needs attention; 1 zone waits for you",
        secondaries=8,
        secondaries_current=7,
        keys=9,
        runway_seconds=9 * DAY,
        runway_zone="example.org.",
    )
    return Samples(structs.replace(made, status=structs.replace(made.status, verdict=verdict, alerts=[])), {})


def main() -> None:
    """Take the picture, or say why there is none."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("chromium is not installed: docs/img/status-page.png stays as it is", file=sys.stderr)
        return
    settings = StatusPageConfig(listen=Address("127.0.0.1", 0))
    page = StatusPage(
        lambda: settings, sample(), Counter("requests", "x", ("result",), registry=CollectorRegistry())
    )
    page.start()
    try:
        with tempfile.TemporaryDirectory() as home:
            command = [
                chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
                f"--user-data-dir={home}", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={TARGET}",
                f"http://127.0.0.1:{page.address.port}/",
            ]  # fmt: skip
            subprocess.run(command, check=True, capture_output=True, timeout=120)
    finally:
        page.stop()


if __name__ == "__main__":
    main()
