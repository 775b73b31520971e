"""Migration from another signer: note its keys and states, rehearse the change (``migrate check``), then make it."""

import asyncio
import os
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

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
from dnssecd.core.dns.names import full_name
from dnssecd.daemon.commands.common import configured_zone_of, octets_of, patiently, refusal
from dnssecd.daemon.rollover.policy import rollover_policy
from dnssecd.daemon.zones import specs
from dnssecd.daemon.zones.first_publication import Permission, ask_adoption
from dnssecd.daemon.zones.transfers_in import fetch_peer
from dnssecd.daemon.zones.work import ZoneJobs
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.migration.foreign import ForeignKey
from dnssecd.pipeline.fetch.link import FetchLink
from dnssecd.pipeline.fetch.plan import FetchPlan
from dnssecd.pipeline.jobs.input import AdoptionJob
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.version import state
from dnssecd.publish.exchange import Peer
from dnssecd.uninterrupted import to_the_end

KEYS_MAX = 100
COMMAND_S = 3600.0

#: The call that compares the zone with the served zone.
Judged = Call[CheckMigration] | Call[AdoptZone]


class _Signed(Struct, frozen=True):
    """The served zone: a file or, with ``server``, the messages of a transfer."""

    path: Path
    octets: int
    server: str = ""


class Adoptions:
    """The handlers; one instance per daemon."""

    def __init__(
        self,
        zones: Mapping[str, FrontZone],
        jobs: ZoneJobs,
        config: Callable[[], Config],
        clock: Clock,
    ) -> None:
        self._zones, self._jobs, self._config, self._clock = zones, jobs, config, clock
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
        """Answer ``migrate.keys``: note another signer's keys; the zone then waits for its adoption with them."""
        zone = configured_zone_of(self._zones, call.request.zone)
        if zone.serial is not None:
            raise Refused(
                f"{zone.name} is already published here",
                "keys can be imported only before the first publication",
            )
        try:
            keys = [msgspec.json.decode(text, type=ForeignKey) for text in call.request.keys]
        except msgspec.DecodeError as error:
            raise Refused(
                f"a key cannot be read: {error}", "use the command of the same version", exit=2
            ) from None
        if any(key.zone != zone.origin for key in keys):
            raise Refused("a key belongs to another zone", f"give only keys of {zone.name}")
        strange = sorted({key.algorithm for key in keys} - set(ALGORITHMS.values()))
        if strange:
            raise Refused(
                f"keys of {zone.name} are of algorithm {strange[0]}, which dnssecd does not support",
                f"first roll to a supported algorithm at the old signer, then migrate; supported: "
                f"{', '.join(ALGORITHMS)}",
            )
        known = {key.rdata: key for key in (*await self._waiting(zone), *keys)}
        if not 0 < len(known) <= KEYS_MAX:
            raise Refused(f"{len(known)} keys for one zone", f"give between one and {KEYS_MAX}")
        await self._note(
            zone, tuple(known.values()), call.caller.user, f"{len(keys)} keys of another signer noted"
        )
        tags = sorted(key.tag for key in known.values())
        message = (
            f"{zone.name} waits for its adoption with keys {', '.join(map(str, tags))}: dnssecd migrate "
            f"check {zone.name} "
            "--against SERVER"
        )
        return KeysNoted(zone=zone.name, tags=tags, message=message)

    async def forget(self, call: Call[ForgetMigration]) -> MigrationForgotten:
        """Answer ``migrate.forget``: cancel the adoption of the zone; its keys stay in their stores."""
        zone = configured_zone_of(self._zones, call.request.zone)
        if not await self._waiting(zone):
            raise Refused(f"{zone.name} does not wait for adoption from another signer", "nothing to do")
        await self._note(zone, (), call.caller.user, "keys of another signer forgotten")
        return MigrationForgotten(zone=zone.name, message=f"{zone.name} no longer waits for adoption")

    async def check(self, call: Call[CheckMigration]) -> MigrationReport:
        """Answer ``migrate.check``: rehearse signing and compare with the served zone; nothing is published."""
        zone = configured_zone_of(self._zones, call.request.zone)
        outcome = await self._carry_out(zone, call, shadow=True)
        comparison = outcome.comparison
        if comparison is None:
            raise refusal(outcome, "; nothing was published")
        return _report(zone, outcome)

    async def adopt(self, call: Call[AdoptZone]) -> MigrationReport:
        """Answer ``migrate.adopt``: take over the zone; dnssecd then publishes it."""
        zone = configured_zone_of(self._zones, call.request.zone)
        if zone.serial is not None:
            raise Refused(f"{zone.name} is already published here", f"dnssecd zone show {zone.name}")
        outcome = await self._carry_out(zone, call, shadow=False)
        if outcome.result != "published":
            raise refusal(outcome, "; nothing was published")
        self._jobs.took(zone, outcome, "adopt")
        self._jobs.request(zone, "load")
        return _report(zone, outcome)

    async def _carry_out(self, zone: FrontZone, call: Judged, *, shadow: bool) -> Outcome:
        """Let a worker rehearse the change, or make it; a zone that is published here is compared as it is."""
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
        """Query secondaries and parent; return the result, and the DNSKEYs for which the parent has a DS."""
        if not keys:
            raise Refused(
                f"no keys of another signer were imported for {zone.name}",
                f"dnssecd key import {zone.name} K*.key, with the .state and .private files in the same "
                f"directory",
            )
        found, at_parent = await ask_adoption(
            zone, self._config(), [key.rdata for key in keys], self._clock.now
        )
        waits = found.event == "first-publication-waiting"
        if not found.allowed and not (waits and (shadow or call.request.first_publication)):
            raise Refused(found.cause, found.remedy)
        return found, at_parent

    def _content(self, zone: FrontZone) -> str:
        """Return the file with the zone's content; "": the served content."""
        return zone.config.file if zone.config.source == "file" and zone.config.file is not None else ""

    async def _signed(self, zone: FrontZone, call: Judged) -> _Signed:
        file, server = call.request.file, call.request.server
        if (file is None) == (server is None):
            raise Refused("it is not clear what to compare with", "give either a file or a server", exit=2)
        if file is not None:
            return _Signed(Path(file), await asyncio.to_thread(octets_of, Path(file)))
        assert server is not None
        peer = self._peer(zone, server, call.request.tsig)
        path = self._config().server.state_dir / "transfers" / f"signed-{os.getpid()}-{next(self._numbers)}"
        plan = FetchPlan(origin=zone.origin, primaries=(fetch_peer(peer),), path=str(path))
        try:
            fetched = await patiently(call, self._link.fetch(plan), f"transferring {zone.name} from {server}")
        except BaseException:  # the client left: the part received so far is not needed
            path.unlink(missing_ok=True)
            raise
        if fetched.result == "failed":
            path.unlink(missing_ok=True)
            causes = "; ".join(str(attempt) for attempt in fetched.attempts)
            raise Refused(
                f"{zone.name} could not be transferred: {causes}",
                "check that the server allows this host to transfer the zone (see --tsig); or give the "
                "signed zone as a file",
            )
        return _Signed(path, fetched.octets, server)

    def _peer(self, zone: FrontZone, server: str, tsig: str | None) -> Peer:
        """Return the named server: one of the configuration, or an address with the given TSIG key."""
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
        if tsig is not None and tsig not in config.tsig:
            tsig = full_name(tsig)
        if tsig is not None and tsig not in config.tsig:
            raise Refused(f"the configuration has no TSIG key {tsig}", "name a key of [tsig]", exit=2)
        return specs.peer(config, ConfiguredPeer(server, address, tsig))

    async def _waiting(self, zone: FrontZone) -> tuple[ForeignKey, ...]:
        return await asyncio.to_thread(waiting_keys, zone)

    async def _note(self, zone: FrontZone, keys: tuple[ForeignKey, ...], who: str, what: str) -> None:
        async with zone.jobs.turn:
            await to_the_end(asyncio.to_thread(_store, zone, keys, who, what, int(self._clock.now())))


def waiting_keys(zone: FrontZone) -> tuple[ForeignKey, ...]:
    """Return the keys with which a zone waits for adoption; none if it does not wait."""
    with zone.database.snapshot() as snapshot:
        return state.foreign_keys(snapshot.state(state.ADOPTION))


def _store(zone: FrontZone, keys: tuple[ForeignKey, ...], who: str, what: str, now: int) -> None:
    with zone.database.write() as transaction:
        transaction.set_state(state.ADOPTION, {"keys": [state.to_document(key) for key in keys]})
        transaction.add_history(now, who, what, None, ", ".join(str(key.tag) for key in keys))
        transaction.commit_state()


def _report(zone: FrontZone, outcome: Outcome) -> MigrationReport:
    """Return the report of a rehearsal, or of the change itself."""
    found = outcome.comparison
    assert found is not None, "a successful job has a comparison"
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
