"""The expiry of zones that no primary has confirmed for SOA expire, if the configuration follows that.

Such a zone is kept, and its signatures are renewed, but it is not served (RFC 1035 §3.3.13) until a primary
confirms it or has a newer version.
"""

from collections.abc import Callable

from dnssecd.clock import Clock
from dnssecd.daemon.zones.gates import Gates, Work
from dnssecd.daemon.zones.machine import Event, happened
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.primary_state import Held, Upstream
from dnssecd.daemon.zones.schedule import Schedule
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.pipeline.jobs.outcome import Problem

EXPIRED = "zone-expired"
#: The wake-up (``schedule.py``).
EXPIRE = "expire"


class Expiry:
    """Expires zones, and serves them again. Methods belong to the event loop's thread."""

    def __init__(
        self,
        events: EventCore,
        clock: Clock,
        schedule: Schedule,
        gates: Gates,
        mailbox: Mailbox,
        refresh: Callable[[FrontZone], None],
    ) -> None:
        """Take the interfaces.

        refresh: polls the primaries of a zone.
        """
        self._events, self._clock, self._schedule = events, clock, schedule
        self._gates, self._mailbox, self._refresh = gates, mailbox, refresh

    def forget(self, zone: FrontZone) -> None:
        """Drop the expiry of a zone that was removed, or now has another source."""
        zone.expires_at = None
        if zone.expired:
            self._events.resolve(EXPIRED, zone.name)
        self._schedule.forget(zone, EXPIRE)

    def recall(self, zone: FrontZone) -> None:
        """Restore the expiry of an earlier process: the zone is not served before a primary confirms it."""
        follows = zone.config.source == "primaries" and zone.config.soa_expire == "follow"
        zone.expired = follows and self._events.is_firing(EXPIRED, zone.name)
        if zone.expired:
            happened(zone, Event.SILENT)
        else:
            self._events.resolve(EXPIRED, zone.name)

    def age(self, zone: FrontZone, up: Upstream, held: Held | None) -> None:
        """Expire a zone that no primary has confirmed for too long, if configured; or serve it again."""
        zone.expires_at = None
        if held is None or zone.config.soa_expire != "follow":
            self.serve_again(zone)
            return
        zone.expires_at = up.fresh_at + held.expire_s
        silent_s = self._clock.now() - up.fresh_at
        if silent_s <= held.expire_s:
            self._schedule.wake(zone, EXPIRE, up.fresh_at + held.expire_s + 1, self._refresh)
            self.serve_again(zone)
        elif not zone.expired and not self._gates.why_stopped(Work.EXPIRE):
            cause = (
                f"no primary has confirmed {zone.name} for {silent_s / 3600:.1f} h, longer than SOA expire "
                f'({held.expire_s} s), and soa_expire is "follow"'
            )
            zone.expired = True
            happened(zone, Event.SILENT)
            zone.problems = (*zone.problems, Problem(EXPIRED, cause, "make sure that a primary answers"))
            self._events.raise_event(EXPIRED, zone.name, cause)
            self._mailbox.expiry_changed.send(zone)

    def serve_again(self, zone: FrontZone) -> None:
        """Serve an expired zone again: a primary confirmed it, or the configuration no longer follows expiry."""
        if zone.expired:
            zone.expired = False
            happened(zone, Event.CONFIRMED)
            zone.problems = tuple(problem for problem in zone.problems if problem.event != EXPIRED)
            self._events.resolve(EXPIRED, zone.name)
            self._mailbox.expiry_changed.send(zone)

    def fresh_at(self, zone: FrontZone) -> float:
        """Return when a primary last answered: before the event that reports no answers, if it fires."""
        if zone.expired:
            return 0.0
        lost = [e.first_seen for e in self._events.firing(zone.name) if e.name == "primary-unreachable"]
        return min([self._clock.now(), *lost])
