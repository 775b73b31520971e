"""The status line for the service manager (sd_notify(3), STATUS=): how many zones are served, and problems."""

import asyncio
from collections.abc import Mapping

from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.sdnotify import notify

LOOK_S = 5.0
#: A message that could not be sent (the manager's queue was full) is sent again after this time.
AGAIN_S = 0.2
CAUSE_MAX = 120


class ManagerStatus:
    """Run :meth:`run` as a task."""

    def __init__(self, zones: Mapping[str, FrontZone]) -> None:
        self._zones = zones
        self._told = ""
        self._ready = False

    def text(self) -> str:
        """Return the line: zones served, zones with problems, and the first of those."""
        zones = list(self._zones.values())
        served = sum(zone.serial is not None for zone in zones)
        troubled = [zone for zone in zones if zone.problems]
        text = f"serving {served} of {len(zones)} zones"
        if troubled:
            first = troubled[0]
            cause = " ".join(first.problems[0].cause.split())[:CAUSE_MAX]
            text += f"; {len(troubled)} with problems, {first.name}: {cause}"
        return text

    def ready(self) -> None:
        """Report that the stored zones are served; :meth:`run` repeats it if it could not be sent."""
        text = self.text()
        self._ready = notify("READY=1", f"STATUS={text}")
        self._told = text if self._ready else ""

    async def run(self) -> None:
        """Keep the line up to date until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S if self.look() else AGAIN_S)

    def look(self) -> bool:
        """Send a changed line; return whether it was sent."""
        if not self._ready:
            self.ready()
        text = self.text()
        if self._ready and text != self._told and notify(f"STATUS={text}"):
            self._told = text
        return self._ready and text == self._told
