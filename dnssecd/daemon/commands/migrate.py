"""Coming over from another signer: keys with their states noted, the change rehearsed (`migrate check`), then made."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from dnssecd.clock import Clock
from dnssecd.config.algorithms import ALGORITHMS
from dnssecd.config.model import Config
from dnssecd.config.model import Peer as ConfiguredPeer
from dnssecd.config.values import Bad, parse_address
from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.migration import (
    AdoptZone,
    CheckMigration,
    DifferingRRset,
    ForgetMigration,
    KeysNoted,
    MigrationForgotten,
    MigrationReport,
    NoteKeys,
    SerialPair,
)
from dnssecd.daemon.commands.common import configured_zone_of, octets_of, patiently, refusal
from dnssecd.daemon.rollover.policy import rollover_policy
from dnssecd.daemon.zones import specs
from dnssecd.daemon.zones.first_publication import Permission, ask_adoption
from dnssecd.daemon.zones.work import ZoneJobs
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.migration.foreign import ForeignKey
from dnssecd.pipeline.fetch.link import FetchLink
from dnssecd.pipeline.fetch.plan import FetchPeer, FetchPlan
from dnssecd.pipeline.jobs.input import AdoptionJob
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.version import state
from dnssecd.publish.exchange import Peer

KEYS_MAX = 100
COMMAND_S = 3600.0

#: A call that compares the zone with the zone that is served.
Judged = Call[CheckMigration] | Call[AdoptZone]


@dataclass(frozen=True)
class _Signed:
    """The zone as it is served: a file or, with ``server``, the messages of a transfer."""

    path: Path
    octets: int
    server: str = ""


class Adoptions:
    """The handlers; one instance per daemon. ``lock`` keeps a zone's jobs apart."""

    def __init__(
        self,
        zones: Mapping[str, FrontZone],
        jobs: ZoneJobs,
        config: Callable[[], Config],
        lock: Callable[[str], asyncio.Lock],
        clock: Clock,
    ) -> None:
        self._zones, self._jobs, self._config, self._lock, self._clock = zones, jobs, config, lock, clock
        self._link = FetchLink()
        self._numbers = count()

    def commands(self) -> list[Command[Any]]:
        """Return the commands."""
        return [
            Command(NoteKeys, self.note_keys),
            Command(ForgetMigration, self.forget),
            Command(CheckMigration, self.check, timeout=COMMAND_S),
            Command(AdoptZone, self.adopt, timeout=COMMAND_S),
        ]

    async def close(self) -> None:
        """End the fetcher."""
        await self._link.close()

    async def note_keys(self, call: Call[NoteKeys]) -> KeysNoted:
        """Answer ``migrate.keys``: note another signer's keys; the zone then waits to come over with them."""
        zone = configured_zone_of(self._zones, call.request.zone)
        if zone.serial is not None:
            raise Refused(f"{zone.name} is published here already", "keys come over before that only")
        try:
            keys = [msgspec.json.decode(text, type=ForeignKey) for text in call.request.keys]
        except msgspec.DecodeError as error:
            raise Refused(
                f"a key cannot be read: {error}", "use the command of the same version", exit=2
            ) from None
        if any(key.zone != zone.origin for key in keys):
            raise Refused("a key is of another zone", f"give the keys of {zone.name} only")
        strange = sorted({key.algorithm for key in keys} - set(ALGORITHMS.values()))
        if strange:
            raise Refused(
                f"keys of {zone.name} are of algorithm {strange[0]}, with which this signer does not sign",
                f"roll to another at the old signer first, then move; there are {', '.join(ALGORITHMS)}",
            )
        known = {key.rdata: key for key in (*await self._waiting(zone), *keys)}
        if not 0 < len(known) <= KEYS_MAX:
            raise Refused(f"{len(known)} keys for one zone", f"give between one and {KEYS_MAX}")
        await self._note(
            zone, tuple(known.values()), call.caller.user, f"{len(keys)} keys of another signer noted"
        )
        tags = sorted(key.tag for key in known.values())
        message = (
            f"{zone.name} waits to come over with keys {', '.join(map(str, tags))}: dnssecd migrate check {zone.name} "
            "--against SERVER"
        )
        return KeysNoted(zone=zone.name, tags=tags, message=message)

    async def forget(self, call: Call[ForgetMigration]) -> MigrationForgotten:
        """Answer ``migrate.forget``: the zone waits no longer to come over; its keys stay in their stores."""
        zone = configured_zone_of(self._zones, call.request.zone)
        if not await self._waiting(zone):
            raise Refused(f"{zone.name} does not wait to come over from another signer", "nothing to do")
        await self._note(zone, (), call.caller.user, "keys of another signer forgotten")
        return MigrationForgotten(zone=zone.name, message=f"{zone.name} does not wait to come over any more")

    async def check(self, call: Call[CheckMigration]) -> MigrationReport:
        """Answer ``migrate.check``: sign in shadow and compare with what is served; nothing is published."""
        zone = configured_zone_of(self._zones, call.request.zone)
        outcome = await self._carry_out(zone, call, shadow=True)
        comparison = outcome.comparison
        if comparison is None:
            raise refusal(outcome, "; nothing was published")
        return _report(zone, outcome)

    async def adopt(self, call: Call[AdoptZone]) -> MigrationReport:
        """Answer ``migrate.adopt``: take the zone over; it is served from here from then on."""
        zone = configured_zone_of(self._zones, call.request.zone)
        if zone.serial is not None:
            raise Refused(f"{zone.name} is published here already", f"dnssecd zone show {zone.name}")
        outcome = await self._carry_out(zone, call, shadow=False)
        if outcome.result != "published":
            raise refusal(outcome, "; nothing was published")
        self._jobs.took(zone, outcome, "adopt")
        self._jobs.request(zone, "load")
        return _report(zone, outcome)

    async def _carry_out(self, zone: FrontZone, call: Judged, *, shadow: bool) -> Outcome:
        """Have a worker rehearse the change, or make it; a zone that is published here is compared as it is."""
        keys = await self._waiting(zone)
        permission, at_parent = Permission(True), None
        if zone.serial is None:
            permission, at_parent = await self._permitted(zone, keys, call, shadow=shadow)
        signed = await self._signed(zone, call)
        try:
            job = AdoptionJob(
                signed=str(signed.path),
                server=signed.server,
                content=self._content(zone),
                keys=keys,
                policy=rollover_policy(self._config(), zone.config, self._clock.now()),
                at_parent=at_parent,
                serial_floor=permission.serial_floor,
                accept_change=call.request.accept_change,
                shadow=shadow,
                who=call.caller.user,
            )
            work = self._jobs.take(zone, "adopt", signed.octets, adoption=job)
            return await patiently(call, work, f"signing {zone.name}")
        finally:
            if signed.server:
                await asyncio.to_thread(signed.path.unlink, missing_ok=True)

    async def _permitted(
        self, zone: FrontZone, keys: tuple[ForeignKey, ...], call: Judged, *, shadow: bool
    ) -> tuple[Permission, tuple[bytes, ...] | None]:
        """Ask secondaries and parent; return what they say, and the DNSKEYs that the parent has a DS of."""
        if not keys:
            raise Refused(
                f"no keys of another signer were imported for {zone.name}",
                f"dnssecd key import {zone.name} K*.key, with the .state and .private files beside them",
            )
        found, at_parent = await ask_adoption(
            zone, self._config(), [key.rdata for key in keys], self._clock.now
        )
        waits = found.event == "first-publication-waiting"
        if not found.allowed and not (waits and (shadow or call.request.first_publication)):
            raise Refused(found.cause, found.remedy)
        return found, at_parent

    def _content(self, zone: FrontZone) -> str:
        """The file that the zone's content is from; "": it is what is served."""
        return str(zone.config.file) if zone.config.source == "file" and zone.config.file is not None else ""

    async def _signed(self, zone: FrontZone, call: Judged) -> _Signed:
        file, server = call.request.file, call.request.server
        if (file is None) == (server is None):
            raise Refused("what to compare with is not clear", "give either a file or a server", exit=2)
        if file is not None:
            return _Signed(Path(file), await asyncio.to_thread(octets_of, Path(file)))
        assert server is not None
        peer = self._peer(zone, server, call.request.tsig)
        path = self._config().server.state_dir / "transfers" / f"signed-{os.getpid()}-{next(self._numbers)}"
        key = peer.key
        more = () if key is None else (key.name, key.algorithm, key.secret)
        plan = FetchPlan(
            origin=zone.origin, primaries=(FetchPeer(peer.name, peer.host, peer.port, *more),), path=str(path)
        )
        try:
            fetched = await patiently(call, self._link.fetch(plan), f"transferring {zone.name} from {server}")
        except BaseException:  # whoever asked left: nobody will want what has come so far
            path.unlink(missing_ok=True)
            raise
        if fetched.result == "failed":
            path.unlink(missing_ok=True)
            causes = "; ".join(str(attempt) for attempt in fetched.attempts)
            raise Refused(
                f"{zone.name} could not be transferred: {causes}",
                "does that server allow us to transfer the zone? see --tsig; or give the signed zone as a file",
            )
        return _Signed(path, fetched.octets, server)

    def _peer(self, zone: FrontZone, server: str, tsig: str | None) -> Peer:
        """The server named: one of the configuration, or an address with the TSIG key asked for."""
        config = self._config()
        named = config.secondaries.get(server) or config.primaries.get(server)
        if named is not None:
            return specs.peer(config, named)
        try:
            address = parse_address(server)
        except Bad as bad:
            raise Refused(
                f"{bad.what}, nor a secondary or primary of the configuration", bad.remedy, exit=2
            ) from None
        if tsig is not None and tsig not in config.tsig and not tsig.endswith("."):
            tsig += "."
        if tsig is not None and tsig not in config.tsig:
            raise Refused(f"the configuration has no TSIG key {tsig}", "name one of [tsig]", exit=2)
        return specs.peer(config, ConfiguredPeer(server, address, tsig))

    async def _waiting(self, zone: FrontZone) -> tuple[ForeignKey, ...]:
        return await asyncio.to_thread(waiting_keys, zone)

    async def _note(self, zone: FrontZone, keys: tuple[ForeignKey, ...], who: str, what: str) -> None:
        async with self._lock(zone.name):
            await asyncio.to_thread(_store, zone, keys, who, what, int(self._clock.now()))


def waiting_keys(zone: FrontZone) -> tuple[ForeignKey, ...]:
    """Return the keys that a zone waits to come over with; none where it does not wait for that."""
    with zone.database.snapshot() as snapshot:
        return state.foreign_keys(snapshot.state(state.ADOPTION))


def _store(zone: FrontZone, keys: tuple[ForeignKey, ...], who: str, what: str, now: int) -> None:
    with zone.database.write() as transaction:
        transaction.set_state(state.ADOPTION, {"keys": [state.to_document(key) for key in keys]})
        transaction.add_history(now, who, what, None, ", ".join(str(key.tag) for key in keys))
        transaction.commit_state()


def _report(zone: FrontZone, outcome: Outcome) -> MigrationReport:
    """What is shown of a rehearsal, or of the change itself."""
    found = outcome.comparison
    assert found is not None, "a job that ended well has compared"
    return MigrationReport(
        zone=zone.name,
        ok=not found.differing,
        published=outcome.result == "published",
        serial=SerialPair(served=found.serial_served, ours=found.serial_ours),
        kept=found.kept,
        fresh=found.fresh,
        differing=found.differing,
        differences=msgspec.convert(found.differences, list[DifferingRRset], from_attributes=True),
        remarks=list(found.remarks),
        held=list(outcome.held),
        warnings=[warning.cause for warning in outcome.warnings],
    )
