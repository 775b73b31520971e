"""What the daemon answers on its control socket (shapes: dnssecd.control.server)."""

import asyncio
import os
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

from dnssecd import __version__
from dnssecd.clock import Clock
from dnssecd.control.server import Call, Command, Refused, alert_dict
from dnssecd.core.dns.serial import is_after
from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.core.keys.keystate import Rec
from dnssecd.daemon.commands.common import refusal, zone_of
from dnssecd.daemon.zones.first_publication import Permission
from dnssecd.daemon.zones.work import ZoneJobs
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.pipeline.export import export_text
from dnssecd.pipeline.version import state
from dnssecd.publish.exchange import Peer
from dnssecd.publish.notify import Notifier

WAIT_STEP_S = 0.05
WAIT_TIMEOUT_S = 300.0
SHOWN_MAX = 1000
#: So many zones are told of, or their databases read, before others get their turn.
SHOWN_AT_ONCE, READ_AT_ONCE = 100, 20


class Commands:
    """The handlers; one instance per daemon."""

    def __init__(
        self,
        zones: Mapping[str, FrontZone],
        jobs: ZoneJobs,
        events: EventCore,
        notifier: Notifier,
        clock: Clock,
        signer_state: Callable[[], dict[str, str]],
        delivery: Callable[[], Awaitable[object]],
        clock_doubt: Callable[[], str],
        acts_of: Callable[[str | None, int], Awaitable[list[dict[str, Any]]]],
    ) -> None:
        """clock_doubt: says why the time is in doubt ("": it is not).

        acts_of: what people did, newest first: to a zone (at most so many), or to none.
        """
        self._zones, self._jobs, self._events = zones, jobs, events
        self._notifier, self._clock, self._signer_state = notifier, clock, signer_state
        self._delivery, self._clock_doubt, self._acts_of = delivery, clock_doubt, acts_of
        self._started_at = clock.now()

    def table(self) -> dict[str, Command]:
        """Return the dispatch table."""
        return {
            "status": Command(self.status),
            "zone.list": Command(self.zone_list),
            "zone.show": Command(self.zone_show),
            "zone.reload": Command(self.zone_reload, changes=True, timeout=3600.0),
            "zone.export": Command(self.zone_export, timeout=3600.0),
            "zone.history": Command(self.zone_history),
            "zone.wait": Command(self.zone_wait, timeout=None),
            "zone.freeze": Command(self.zone_freeze, changes=True),
            "zone.thaw": Command(self.zone_thaw, changes=True),
            "key.list": Command(self.key_list),
            "alerts.list": Command(self.alerts_list),
            "alerts.ack": Command(self.alerts_ack, changes=True),
        }

    async def status(self, call: Call) -> object:
        """Answer ``status``."""
        one = zone_of(self._zones, call) if call.optional_text("zone") else None
        zones = self._zones.values() if one is None else [one]
        firing = self._events.firing(None if one is None else one.name)
        return {
            "zones": [self._zone_status(zone) async for zone in _in_turns(zones)],
            "alerts": [alert_dict(event) for event in firing[:SHOWN_MAX]],
            "version": __version__,
            "pid": os.getpid(),
            "started_at": self._started_at,
            "signer": self._signer_state(),
            "clock_suspect": bool(self._clock_doubt()),
            "clock": self._clock_doubt(),
            "delivery": await self._delivery(),
        }

    def _zone_status(self, zone: FrontZone) -> dict[str, Any]:
        events = self._events.firing(zone.name)
        return {
            "zone": zone.name,
            "serial": zone.serial,
            "input_serial": zone.input_serial,
            "runway_seconds": zone.runway_s(self._clock.now()),
            "secondaries": self._secondaries(zone),
            "primaries": zone.primaries,
            "blockers": zone.blockers,
            "alerts": [alert_dict(event) for event in events],
            "state": "waiting" if zone.serial is None else "served",
            "policy": zone.config.policy,
            "source": zone.config.source,
            "records": zone.records,
            "input_error": "; ".join(problem.cause for problem in zone.problems) or None,
            "warnings": [*_frozen(zone), *(warning.cause for warning in zone.warnings)],
            "frozen": zone.frozen,
        }

    def _secondaries(self, zone: FrontZone) -> list[dict[str, Any]]:
        seen = {sighting.server: sighting for sighting in self._notifier.ledger.last(zone.name)}
        peers = {peer.name: peer for peer in (*zone.secondaries, *zone.watched)}
        return [
            {
                "name": name,
                "serial": seen[name].serial if name in seen else None,
                "seen_at": seen[name].at if name in seen else None,
                "detail": seen[name].detail if name in seen else _unseen(peer),
            }
            for name, peer in peers.items()
        ]

    async def zone_list(self, call: Call) -> object:
        """Answer ``zone.list``."""
        keys = ("zone", "state", "serial", "input_serial", "runway_seconds", "policy", "source", "records")
        rows = [self._zone_status(zone) async for zone in _in_turns(self._zones.values())]
        return {"zones": [{key: row[key] for key in keys} for row in rows]}

    async def zone_show(self, call: Call) -> object:
        """Answer ``zone.show``."""
        zone = zone_of(self._zones, call)
        last = zone.last
        return self._zone_status(zone) | {
            "denial": zone.spec.denial + (" opt-out" if zone.spec.denial_parameters.opt_out else ""),
            "signatures": last.signatures if last else None,
            "file": str(zone.config.file) if zone.config.file else None,
            "last_published": zone.published_at,
            "earliest_expiration": zone.earliest_expiration,
            "next_wake": zone.next_due,
            "keys": _keys(zone),
            "stripped": zone.stripped,
        }

    async def zone_reload(self, call: Call) -> object:
        """Answer ``zone.reload``."""
        zone = zone_of(self._zones, call)
        if zone.held is not None:
            return await self._bring_back(zone, call.flag("first_publication"))
        _check_reload(zone)
        before = zone.serial
        ended = await self._jobs.load(
            zone, accept_change=call.flag("accept_change"), first_publication=call.flag("first_publication")
        )
        if isinstance(ended, Permission):
            raise Refused(ended.cause, ended.remedy)
        if call.flag("accept_change") and ended.result == "published":
            call.note("delta guard overridden")
        if ended.result not in ("published", "unchanged"):
            raise refusal(ended)
        changed = zone.serial != before
        message = f"{zone.name} is at serial {zone.serial}" + ("" if changed else ", nothing changed")
        return {
            "zone": zone.name,
            "changed": changed,
            "serial": zone.serial,
            "signatures": ended.signatures,
            "message": message,
        }

    async def _bring_back(self, zone: FrontZone, unheard: bool) -> object:
        """Publish a zone that came out of a back-up; Refused while it may not be."""
        permission = await self._jobs.permit(zone, first_publication=unheard)
        if not permission.allowed:
            raise Refused(permission.cause, permission.remedy)
        signatures = zone.last.signatures if zone.last is not None else 0
        message = f"{zone.name} is published again, at serial {zone.serial}"
        result = {"zone": zone.name, "changed": True, "serial": zone.serial}
        return {**result, "signatures": signatures, "message": message}

    async def zone_export(self, call: Call) -> object:
        """Answer ``zone.export``."""
        zone = zone_of(self._zones, call)
        held = None if zone.serial is None else zone.database.snapshot()
        if held is None:
            raise Refused(
                f"{zone.name} has not been published yet", f"dnssecd zone show {zone.name} says why"
            )
        records = 0
        with held as snapshot:
            for text, number in export_text(snapshot, unsigned=call.flag("unsigned")):
                records += number
                await call.chunk(text)
                await asyncio.sleep(0)
            return {"zone": zone.name, "serial": snapshot.serial, "records": records}

    async def zone_history(self, call: Call) -> object:
        """Answer ``zone.history``: what happened to a zone, and what people did to it."""
        limit = min(int(call.number("limit", 100)), SHOWN_MAX)
        if call.optional_text("zone") is None:
            return {"entries": await self._acts_of(None, limit)}
        zone = zone_of(self._zones, call)
        acts = await self._acts_of(zone.name, limit)
        with zone.database.snapshot() as snapshot:
            entries = [*acts, *snapshot.history(limit)]
        return {"entries": sorted(entries, key=lambda entry: int(entry["at"]), reverse=True)[:limit]}

    async def zone_wait(self, call: Call) -> object:
        """Answer ``zone.wait``: until the zone, and its secondaries, serve a serial or a later one."""
        zone = zone_of(self._zones, call)
        wanted = int(call.number("serial", -1))
        if wanted < 0:
            wanted = -1 if zone.serial is None else zone.serial
        ends = self._clock.monotonic() + call.number("timeout", WAIT_TIMEOUT_S)
        told = -1.0
        while missing := self._missing(zone, wanted, call.flag("all_secondaries")):
            now = self._clock.monotonic()
            if now >= ends:
                raise Refused(
                    f"serial {wanted} of {zone.name} is not served by: {', '.join(missing)}",
                    f"dnssecd explain {zone.name}",
                )
            if now - told > 1:
                told = now
                await call.progress(0, len(missing), "waiting for " + ", ".join(missing))
            await asyncio.sleep(WAIT_STEP_S)
        return {"zone": zone.name, "serial": zone.serial, "secondaries": self._secondaries(zone)}

    def _missing(self, zone: FrontZone, wanted: int, secondaries: bool) -> list[str]:
        if zone.serial is None or (wanted >= 0 and is_after(wanted, zone.serial)):
            return ["the daemon itself"]
        if not secondaries:
            return []
        serials = {row["name"]: row["serial"] for row in self._secondaries(zone)}
        goal = zone.serial if wanted < 0 else wanted
        return [name for name, serial in serials.items() if serial is None or is_after(goal, serial)]

    async def zone_freeze(self, call: Call) -> object:
        """Answer ``zone.freeze``: input is not taken until thawed; what is served is refreshed on."""
        return await self._freeze(call, frozen=True)

    async def zone_thaw(self, call: Call) -> object:
        """Answer ``zone.thaw``."""
        return await self._freeze(call, frozen=False)

    async def _freeze(self, call: Call, *, frozen: bool) -> object:
        zone = zone_of(self._zones, call)
        zone.frozen = frozen
        self._jobs.remember(zone)
        if not frozen and zone.config.source != "dynamic":
            self._jobs.request(zone, "load")
        message = (
            "takes no input and begins no roll-over until it is thawed; signatures are made anew as ever"
            if frozen
            else "takes input again"
        )
        return {"zone": zone.name, "frozen": frozen, "message": f"{zone.name} {message}"}

    async def key_list(self, call: Call) -> object:
        """Answer ``key.list``."""
        zones = [zone_of(self._zones, call)] if call.optional_text("zone") else list(self._zones.values())
        rows: list[dict[str, Any]] = []
        for start in range(0, len(zones), READ_AT_ONCE):
            rows += await asyncio.to_thread(_keys_of, zones[start : start + READ_AT_ONCE])
        return {"keys": rows}

    async def alerts_list(self, call: Call) -> object:
        """Answer ``alerts.list``."""
        zone = zone_of(self._zones, call).name if call.optional_text("zone") else None
        return {"alerts": [alert_dict(event) for event in self._events.firing(zone)[:SHOWN_MAX]]}

    async def alerts_ack(self, call: Call) -> object:
        """Answer ``alerts.ack``."""
        zone = zone_of(self._zones, call).name if call.optional_text("zone") else None
        return {"acknowledged": self._events.acknowledge(call.text("name"), zone, call.caller.user)}


def _frozen(zone: FrontZone) -> list[str]:
    told = f"frozen: it takes no input and begins no roll-over step until dnssecd zone thaw {zone.name}"
    return [told] if zone.frozen else []


def _check_reload(zone: FrontZone) -> None:
    """Refuse what has no input to be read, or is to take none."""
    if zone.orphan:
        raise Refused(
            f"{zone.name} is not in the configuration; it is served as it was",
            f"put it back there, or: dnssecd config reload --remove {zone.name}",
        )
    if zone.frozen:
        raise Refused(f"{zone.name} is frozen and takes no input", f"dnssecd zone thaw {zone.name}")
    if zone.config.source == "dynamic" and zone.serial is not None:
        raise Refused(
            f"{zone.name} is what its updates made of it: its file is read once",
            f"to bring a file in: dnssecd zone import {zone.name} FILE --replace (or --merge)",
        )
    if zone.config.file is None:
        raise Refused(
            f"{zone.name} has no file to reload",
            f"dnssecd zone import {zone.name} FILE --replace (or --merge)",
        )


def stored_keyset(zone: FrontZone) -> Keyset | None:
    """Return the keys of the published version; StoreError or OSError."""
    if zone.serial is None:
        return None
    with zone.database.snapshot() as snapshot:
        return state.keyset_from(snapshot.state(state.KEYSET))


async def _in_turns(zones: Iterable[FrontZone]) -> AsyncIterator[FrontZone]:
    """Go through zones, however many, without keeping everybody else waiting."""
    for number, zone in enumerate(list(zones)):
        if number % SHOWN_AT_ONCE == SHOWN_AT_ONCE - 1:
            await asyncio.sleep(0)
        yield zone


def _keys_of(zones: list[FrontZone]) -> list[dict[str, Any]]:
    return [row for zone in zones for row in _keys(zone)]


def _keys(zone: FrontZone) -> list[dict[str, Any]]:
    keyset = stored_keyset(zone)
    return [] if keyset is None else [_key(zone, key) for key in keyset.keys]


def _key(zone: FrontZone, key: Key) -> dict[str, Any]:
    records = {
        rec.value: key.record(rec).state.value if rec in key.records else None
        for rec in (Rec.DNSKEY, Rec.ZRRSIG, Rec.KRRSIG, Rec.DS)
    }
    return {
        "zone": zone.name,
        "role": key.role.value,
        "algorithm": key.algorithm,
        "tag": key.tag,
        "public_key": _dnskey_text(key),
        "goal": key.goal.value,
        "keystore": key.keystore,
        "label": key.key_id,
        **records,
    }


def _dnskey_text(key: Key) -> str:
    return f"{key.flags} 3 {key.algorithm} {b64encode(key.public_key).decode()}"


def _unseen(peer: Peer) -> str:
    return "not asked yet" if peer.query else "takes NOTIFY only (query = false)"
