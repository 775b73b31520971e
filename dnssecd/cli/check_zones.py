"""Zone files judged without a daemon: `dnssecd check-config --zones`, `dnssecd zone check`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnssecd.clock import SystemClock
from dnssecd.config.model import Config, ZoneConfig
from dnssecd.daemon.zones.specs import zone_spec
from dnssecd.pipeline.oneshot.check import CheckedFile, check_file

VIOLATIONS_SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class ZoneCheck:
    """A zone, its file, and what was found."""

    zone: str
    file: Path
    found: CheckedFile

    @property
    def ok(self) -> bool:
        """Whether the daemon would take the file."""
        return self.found.refused is None

    def lines(self) -> Iterator[str]:
        """Yield what a person has to know: nothing for a good file without warnings."""
        refused = self.found.refused
        if refused is not None:
            yield f"{self.zone} would be refused ({refused.event}): {refused.cause}"
            more = [one for one in map(str, refused.violations) if one not in refused.cause]
            yield from (f"  {one}" for one in more[:VIOLATIONS_SHOWN_MAX])
            if len(more) > VIOLATIONS_SHOWN_MAX:
                yield f"  and {len(more) - VIOLATIONS_SHOWN_MAX} more"
        for warning in self.found.warnings:
            yield f"{self.zone} warning: {warning.cause}"

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        refused = self.found.refused
        return {
            "zone": self.zone,
            "file": str(self.file),
            "ok": self.ok,
            "serial": self.found.serial,
            "event": None if refused is None else refused.event,
            "cause": None if refused is None else refused.cause,
            "violations": [] if refused is None else list(map(str, refused.violations)),
            "warnings": [warning.cause for warning in self.found.warnings],
        }


def check_zone_file(config: Config, zone: ZoneConfig, file: Path) -> ZoneCheck:
    """Judge *file* as content of a zone of the configuration."""
    spec = zone_spec(config, zone, "", None)
    return ZoneCheck(zone.name, file, check_file(spec, file, int(SystemClock().now())))


def check_zone_files(config: Config) -> Iterator[ZoneCheck]:
    """Judge the file of each zone that has one."""
    for zone in config.zones.values():
        if zone.file is not None:
            yield check_zone_file(config, zone, Path(zone.file))
