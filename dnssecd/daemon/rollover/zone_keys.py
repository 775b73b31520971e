"""The daemon's data on one zone's keys between two plans."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from dnssecd.clock import Clock
from dnssecd.core.keys.evidence import Evidence, SignatureCount
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.keystate import Rec, State
from dnssecd.core.keys.types import Plan, RolloverPolicy
from dnssecd.daemon.rollover.evidence import ZoneEvidence, read_evidence
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.pipeline.version.ahead import NO_CEREMONY, supply_of
from dnssecd.pipeline.version.committed import Committed, count_signatures, read_committed
from dnssecd.replacing import replace
from dnssecd.sharing import share
from dnssecd.store.interface import ZoneStore
from dnssecd.turn import Turn

#: A new count of all signatures starts only after this many times the duration of the last count.
COUNT_PAUSE = 20.0
EARLY_MAX = 256
WAITING = (State.RUMOURED, State.UNRETENTIVE)


@dataclass(eq=False, slots=True)
class ZoneKeys:
    """One zone. ``turn`` allows one plan or command at a time; ``stale``: a newer version may be stored."""

    turn: Turn = field(default_factory=Turn)
    committed: Committed | None = None
    stale: bool = True
    evidence: ZoneEvidence | None = None
    early: tuple[Callable[[ZoneEvidence], object], ...] = ()  # seen before it was read
    counts: tuple[SignatureCount, ...] = ()
    counted_serial: int | None = None
    count_again: float = 0.0  # monotonic
    plan: Plan | None = None
    policy: RolloverPolicy | None = None
    failures: int = 0
    not_before: float = 0.0  # monotonic: a failed step is not tried again earlier
    denial_asked: str = ""  # the change of denial for which a version was requested
    present_until: int | None = None  # until when an off-line KSK signed the present DNSKEY RRset (epoch s)
    signed_until: int | None = None  # and until when that and those that follow it
    held_look: float = (
        0.0  # monotonic: tokens are not asked earlier whether they hold a key that waits for its backup
    )
    holders_look: float = (
        0.0  # monotonic: the cluster is not asked earlier which nodes hold a key that waits for it
    )
    trouble: str = ""  # why the last plan could not be carried out

    async def known(self, zone: FrontZone, now: float) -> Committed | None:
        """Return the published version, read again if it may have changed; None if there is none."""
        if self.evidence is None:
            self.stale = False
            if zone.first is not None:  # its database was just made: it has no evidence
                evidence, first, zone.first = ZoneEvidence(), zone.first, None
                self.committed = _compact(first.committed)
                self.counts = _compact_counts(first.counts, first.committed.keyset)
                self.counted_serial = first.committed.serial
            else:
                evidence, self.committed = await asyncio.to_thread(_read_all, zone.database, now)
            for take in self.early:
                take(evidence)
            self.early = ()
            self.evidence = evidence
        if self.stale or self.committed is None:
            self.stale = False
            self.committed = _compact(await asyncio.to_thread(read_committed, zone.database))
        return self.committed

    def take(self, sight: Callable[[ZoneEvidence], object]) -> object:
        """Take new evidence, or keep it until stored evidence has been read; return whether it is new."""
        if self.evidence is not None:
            return sight(self.evidence)
        if len(self.early) < EARLY_MAX:
            self.early = (*self.early, sight)
        return True

    async def count(self, zone: FrontZone, clock: Clock) -> float | None:
        """Count signatures if a plan needs it; return when (monotonic) to try again, if it is too early now."""
        known = self.committed
        if known is None or not _replacing(known.keyset):
            self.counts, self.counted_serial = (), None
            return None
        if self.counted_serial == known.serial:
            return None
        started = clock.monotonic()
        if started < self.count_again:
            return self.count_again
        serial, self.counts = await asyncio.to_thread(count_signatures, zone.database, known.keyset.keys)
        self.counted_serial = serial
        ended = clock.monotonic()
        self.count_again = ended + COUNT_PAUSE * (ended - started)
        return None

    def rekeyed(self) -> None:
        """Discard the counts, because another key set was committed."""
        self.stale = True
        self.counts, self.counted_serial, self.count_again = (), None, 0.0

    def stored(self, keyset: Keyset) -> None:
        """Note a stored key set that publishes the same as the previous one."""
        assert self.committed is not None
        self.committed = replace(self.committed, keyset=keyset.compact())

    def settled(self, plan: Plan) -> Plan:
        """Keep a plan that changes no more, with the key set that is kept anyway; return it."""
        if self.committed is not None and plan.keyset == self.committed.keyset:
            plan = replace(plan, keyset=self.committed.keyset)
        self.plan = plan
        return plan

    def gathered(self, zone: FrontZone, parents: tuple[str, ...], *, clock_sure: bool) -> Evidence:
        """Return all evidence for the planner."""
        known, seen = self.committed, self.evidence
        assert known is not None
        assert seen is not None
        names = dict.fromkeys(peer.name for peer in zone.asked_servers)
        return Evidence(
            serial=known.serial,
            committed=known.at,
            secondaries=seen.of_secondaries(names),
            parents=seen.of_parents(parents),
            confirmations=tuple(seen.confirmations.values()),
            backups=tuple(seen.backups.values()),
            holders=tuple(seen.holders.values()),
            signatures=self.counts,
            ttl_dnskey=known.ttl_dnskey,
            ttl_zone=known.ttl_zone,
            ttl_negative=known.ttl_negative,
            clock_sure=clock_sure,
            ahead=supply_of(known.ceremony, zone.spec),
            signers=seen.of_signers(
                (signer.name, str(address))
                for signer in zone.config.other_signers
                for address in signer.servers
            ),
            signer_ns=tuple((signer.name, signer.ns) for signer in zone.config.other_signers),
            ns=known.ns,
        )


def _read_all(database: ZoneStore, now: float) -> tuple[ZoneEvidence, Committed | None]:
    return read_evidence(database, now), _compact(read_committed(database))


def _compact(known: Committed | None) -> Committed | None:
    if known is None:
        return None
    ceremony = NO_CEREMONY if known.ceremony == NO_CEREMONY else known.ceremony
    return replace(
        known,
        keyset=known.keyset.compact(),
        denial=share(known.denial),
        ns=share(known.ns),
        ceremony=ceremony,
    )


def _compact_counts(counts: tuple[SignatureCount, ...], keyset: Keyset) -> tuple[SignatureCount, ...]:
    """Return equal counts that share the names of the keys with the key set."""
    names = {key.ref: key.ref for key in keyset.keys}
    return tuple(replace(count, ref=names.get(count.ref, count.ref)) for count in counts)


def _replacing(keyset: Keyset) -> bool:
    return any(key.zrrsig.state in WAITING for key in keyset.keys)


def awaits_ds(keyset: Keyset) -> bool:
    """Tell whether a change at the parent is awaited."""
    return any(key.record(Rec.DS).state in WAITING for key in keyset.keys)
