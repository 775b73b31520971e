"""What the configuration permits with the keys of each zone, as the key service itself reads it.

The daemon has no part in it: no request changes a limit. The key service reads the file when it starts, on SIGHUP, when
it finds that the file has changed, and before it refuses a signature as valid for too long. A file with an error
changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from dnssecd.keyservice_settings import KeyLimits, LimitSettings, SealingSettings
from dnssecd.signer.audit import AuditLog
from dnssecd.signer.warnings import WarningBook

#: Returns the limits of a file that has changed since the last call, else None; ValueError when it has an error.
Reread = Callable[[], LimitSettings | None]


def never_changes() -> LimitSettings | None:
    """Return None: there is no file, the settings given at the start hold."""
    return None


class Limits:
    """The limits in force. `generation` is another number when they are others."""

    def __init__(
        self,
        settings: LimitSettings,
        reread: Reread,
        audit_log: AuditLog,
        warnings: WarningBook,
    ) -> None:
        self._settings = settings
        self._reread = reread
        self._audit = audit_log
        self._warnings = warnings
        self.generation = 0
        self._waiting: LimitSettings | None = None
        self._reading = asyncio.Lock()

    def of_zone(self, zone: bytes) -> KeyLimits:
        """Return the limits of a zone."""
        number = self._settings.zones.get(zone.hex())
        return self._settings.default if number is None else self._settings.kinds[number]

    @property
    def sealing(self) -> SealingSettings:
        """The nodes that keys may be sealed for, and come from."""
        return self._settings.sealing

    def of_zones(self, zones: Iterable[bytes]) -> KeyLimits:
        """Return the strictest limits of zones that share a key; of none: those of an unknown zone."""
        found = {self.of_zone(zone) for zone in zones} or {self._settings.default}
        return KeyLimits(
            validity_s_max=min(one.validity_s_max for one in found),
            destroy_after_s=max(one.destroy_after_s for one in found),
            two_person=any(one.two_person for one in found),
        )

    async def refresh(self) -> None:
        """Read the configuration again if its file has changed."""
        async with self._reading:
            try:
                found = await asyncio.to_thread(self._reread)
                self._waiting = self._waiting if found is None else found
                self._take_waiting()
            except (OSError, ValueError) as error:
                self._warnings.add("configuration not read", "limits", f"{error}; the previous limits hold")

    def _take_waiting(self) -> None:
        """Put new limits into force, after their entry in the audit log; OSError when that cannot be written."""
        settings = self._waiting
        if settings is None:
            return
        if settings != self._settings:
            self._audit.append("limits changed", **describe_limits(settings))
            self._settings = settings
            self.generation += 1
        self._waiting = None
        self._warnings.clear("configuration not read", "limits")


def describe_limits(settings: LimitSettings) -> dict[str, str | int]:
    """Return the limits as fields of an audit entry."""
    all_limits = (settings.default, *settings.kinds)
    nodes = settings.sealing.keys
    sealing = {"sealing_keys": ", ".join(f"{name} {nodes[name]}" for name in sorted(nodes))} if nodes else {}
    return {
        "validity_max": max(one.validity_s_max for one in all_limits),
        "destroy_after": min(one.destroy_after_s for one in all_limits),
        "two_person": sum(one.two_person for one in all_limits),
        "kinds": len(all_limits),
        **sealing,
    }
