"""Are there enough DNSKEY RRsets signed ahead? One event, which becomes worse as the end comes nearer."""

from collections.abc import Callable, Iterable

from dnssecd.clock import Clock
from dnssecd.config.model import Config, OfflineKeystore
from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.signed_ahead import dnskey_until, supply_until
from dnssecd.core.keys.types import Gate, Plan
from dnssecd.core.utc import moment
from dnssecd.daemon.rollover.engine import RolloverListener
from dnssecd.daemon.rollover.text import line
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.pipeline.version.ahead import EVENT

#: Event by the share of the notice that is left, the worst first.
LEVELS = ((0.25, EVENT), (0.5, "ceremony-late"), (1.0, "ceremony-due"))
NAMES = tuple(name for _, name in LEVELS)
STEPS = "steps"
STEPS_SHOWN = 5


class CeremonyWatch(RolloverListener):
    """Raises the events of zones with an off-line KSK, and resolves them after an import."""

    def __init__(self, events: EventCore, clock: Clock, config: Callable[[], Config]) -> None:
        self._events, self._clock, self._config = events, clock, config

    def planned(self, zone: FrontZone, keyset: Keyset, plan: Plan, evidence: Evidence) -> float | None:
        """Compare the events with what is signed ahead; return when the next one is due."""
        self._waiting_steps(zone, keyset, plan)
        now, ahead = self._clock.now(), evidence.ahead
        present = None if ahead is None else dnskey_until(keyset, ahead, int(now))
        if ahead is None or present is None:
            self._note(zone, None, None)
            self._resolve(zone, NAMES)
            return None
        until = supply_until(present, ahead, int(now))
        self._note(zone, present, until)
        notice = self._notice_s(keyset)
        level = next((name for share, name in LEVELS if until - now <= share * notice), "")
        if present - now <= LEVELS[0][0] * notice:
            level = EVENT  # the step to the next RRset is late
        self._resolve(zone, [name for name in NAMES if name != level])
        if level:
            self._raise(zone, level, present, until)
        ends = [until - share * notice for share, _ in LEVELS] + [present - LEVELS[0][0] * notice]
        return min((at for at in ends if at > now), default=None)

    def _note(self, zone: FrontZone, present: int | None, until: int | None) -> None:
        if zone.keys is not None:
            zone.keys.present_until, zone.keys.signed_until = present, until

    def _raise(self, zone: FrontZone, level: str, present: int, until: int) -> None:
        cause = f"the DNSKEY RRset of {zone.name} is signed ahead until {moment(present)}"
        if not present:
            cause = f"no DNSKEY RRset that {zone.name} may publish now is signed ahead"
        elif until > present:
            cause += f", and the RRsets that follow it until {moment(until)}"
        self._events.raise_event(level, zone.name, cause)

    def _resolve(self, zone: FrontZone, names: Iterable[str]) -> None:
        for name in names:
            self._events.resolve(name, zone.name)

    def _waiting_steps(self, zone: FrontZone, keyset: Keyset, plan: Plan) -> None:
        """Report steps of a rollover that only a ceremony can bring further."""
        waiting = [
            line(blocker, keyset)
            for blocker in plan.blockers
            if blocker.gate is Gate.CEREMONY and blocker.until is None
        ]
        if waiting:
            self._events.raise_event(
                "ceremony-due", zone.name, "; ".join(waiting[:STEPS_SHOWN]), subject=STEPS
            )
        else:
            self._events.resolve("ceremony-due", zone.name, STEPS)

    def _notice_s(self, keyset: Keyset) -> int:
        """Return the notice of the key stores that hold the zone's KSKs, the longest where it moves."""
        stores = [self._config().keystores.get(name) for name in {key.keystore for key in keyset.keys}]
        return max((store.notice for store in stores if isinstance(store, OfflineKeystore)), default=0)
