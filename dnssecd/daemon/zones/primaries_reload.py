"""``zone reload`` of a zone that comes from primaries: look at them now, and fetch."""

from collections.abc import Mapping

from dnssecd.control.server import Call, Command, Handler, Refused
from dnssecd.daemon.commands.common import patiently, refusal
from dnssecd.daemon.zones.primaries import Primaries, Wish
from dnssecd.daemon.zones.zone import FrontZone


class PrimariesReload:
    """Answers ``zone.reload`` for zones with primaries, and gives every other to ``otherwise``."""

    def __init__(self, zones: Mapping[str, FrontZone], primaries: Primaries, otherwise: Handler) -> None:
        self._zones, self._primaries, self._otherwise = zones, primaries, otherwise

    def table(self) -> dict[str, Command]:
        """Return the command."""
        return {"zone.reload": Command(self.reload, changes=True, timeout=3600.0)}

    async def reload(self, call: Call) -> object:
        """Answer ``zone.reload``; with ``accept_change`` the zone is fetched whole, whatever its serial."""
        zone = self._zones.get(call.text("zone"))
        if zone is None or zone.held is not None or zone.config.source != "primaries":
            return await self._otherwise(call)
        if zone.frozen:
            raise Refused(f"{zone.name} is frozen and takes no input", f"dnssecd zone thaw {zone.name}")
        before = zone.serial
        accept = call.flag("accept_change")
        wish = Wish(replace=accept, first=call.flag("first_publication"), asked=True)
        checked = await patiently(call, self._primaries.fetch_now(zone, wish), "fetching")
        if checked.permission is not None:
            raise Refused(checked.permission.cause, checked.permission.remedy)
        if checked.failure:
            raise Refused(checked.failure, "see the log, and whether the primaries allow us to transfer")
        outcome = checked.outcome
        if outcome is not None and outcome.result not in ("published", "unchanged"):
            raise refusal(outcome)
        if accept and outcome is not None and outcome.result == "published":
            call.note("fetched whole, delta guard overridden")
        changed = zone.serial != before
        message = f"{zone.name} is at serial {zone.serial}" + ("" if changed else ", nothing changed")
        return {
            "zone": zone.name,
            "changed": changed,
            "serial": zone.serial,
            "signatures": outcome.signatures if outcome is not None else 0,
            "message": message,
        }
