"""A backup made at any step of any rollover can be restored, and a restore that is accepted harms no validator."""

from __future__ import annotations

from collections import Counter
from functools import cache
from random import Random

import pytest

from dnssecd.backup.judge import Decision, Options, Stored, decide
from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keyset import Keyset, SigningView
from dnssecd.core.keys.keystate import Rec, State
from dnssecd.core.keys.planner import TABLES, Tables
from dnssecd.core.keys.restore_limits import LiveServer, signers
from dnssecd.daemon.zones.restored_zone import judge_ds, judge_found_ds
from dnssecd.publish.parent import DsRecord
from dnssecd.replacing import replace

from .ceremony_world import CeremonyWorld
from .mutants import AFTER_RESTORES
from .oracle import Bogus, Validators, Version
from .scenario import DAY, make
from .world import ORIGIN, World, run_shown

SEEDS = 30
LATER_SEEDS = 24
#: A ZSK began to sign after the backup, and the policy at the restore does not want it any more.
SIGNED_SINCE = 3298
CEREMONY_SEEDS = 4
SOAK_SEEDS, SOAK_BLOCK = 4_000, 200
ZONE = ORIGIN
STANDBY = Options(standby=True)
AFTER_LOSS = Options(raise_serial=True)


def live_of(world: World) -> list[LiveServer]:
    """What the secondaries serve now."""
    versions = world.zone.versions
    return [
        LiveServer(s.name, versions[s.version][0], versions[s.version][1].dnskeys)
        for s in world.secondaries
        if s.version >= 0
    ]


class Judged(World):
    """A world in which every committed state is judged as a backup, by the secondaries as they are at that moment."""

    met: Counter[str]

    def believe(self) -> None:
        super().believe()
        live = live_of(self)
        if not live:
            return
        stored = Stored(1, self.keyset)
        at_one = [LiveServer(server.name, 1, server.dnskeys) for server in live]
        first = signers(self.keyset) and not any(server.dnskeys for server in live)
        for options in (Options(),) if first else (Options(), STANDBY):  # a standby compares with live keys
            refusals = decide(ZONE, stored, stored, at_one, options).refusals
            assert not refusals, (self.now, refusals)
        self._meet(live)

    def _meet(self, live: list[LiveServer]) -> None:
        for key in self.keyset.keys:
            signs = key.zrrsig.visible or key.krrsig.visible
            if signs and any(server.dnskeys and key.rdata not in server.dnskeys for server in live):
                self.met[key.dnskey.state.value] += 1
            for rec in (Rec.DNSKEY, Rec.DS):
                self.met[f"{rec.value} {key.record(rec).state.value}"] += 1
            self.met["of another signer" if key.foreign else "ours"] += 1
        self.met["insecure" if not self.policy.signed else "signed"] += 1
        self.met["lost"] += any(key.lost for key in self.keyset.keys)


class BackedUp(Judged):
    def __init__(self, seed: int) -> None:
        super().__init__(make(seed), seed)
        self.met = Counter()


class BackedUpCeremonies(Judged, CeremonyWorld):
    """The same with an off-line KSK: what it signed ahead is in the backup."""

    def __init__(self, seed: int) -> None:
        self.met = Counter()
        CeremonyWorld.__init__(self, seed)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_back_up_of_any_step_is_accepted(seed: int) -> None:
    BackedUp(seed).run()


@pytest.mark.parametrize("seed", range(CEREMONY_SEEDS))
def test_a_back_up_of_any_step_with_an_offline_ksk_is_accepted(seed: int) -> None:
    BackedUpCeremonies(seed).run()


def test_the_seeds_reach_the_steps_in_question() -> None:
    """Keys that sign and are not in a server's DNSKEY RRset: before, during and after its publication."""
    met: Counter[str] = Counter()
    for seed in range(16):
        world = BackedUp(seed)
        world.run()
        met += world.met
    assert all(met[state.value] for state in (State.HIDDEN, State.RUMOURED, State.UNRETENTIVE)), met
    assert not met[State.OMNIPRESENT.value]
    assert all(met[f"{rec.value} {state.value}"] for rec in (Rec.DNSKEY, Rec.DS) for state in State)
    assert all(met[what] for what in ("insecure", "of another signer", "lost")), met


class WithoutCds(Validators):
    """Validators that do not ask for CDS: only the parent does, which checks it with the keys of its own DS."""

    def serve(self, server: str, version: Version, now: float) -> None:
        super().serve(server, replace(version, data=tuple(d for d in version.data if d[0] != "cds")), now)


class RestoredLater(World):
    """A world in which the host is lost now and then, and restored from an older backup if that is accepted."""

    def __init__(self, seed: int, tables: Tables = TABLES) -> None:
        super().__init__(make(seed), seed, tables)
        self.oracle = WithoutCds(ORIGIN)
        self.chance = Random(f"restores {seed}")
        self.kept: list[tuple[int, Keyset, tuple[frozenset[bytes], ...], Version | None]] = []
        self.stored_version: Version | None = None  # of the backup, until a version follows it
        self.done: Counter[str] = Counter()
        for _ in range(6):
            self.at(self.chance.uniform(DAY, self.scenario.quiet_at), self.lose_host)

    def believe(self) -> None:
        """Keep a backup. A restored key set may lag behind what is true: only validators count here.

        Not in a cluster: there a node takes a zone from its log, and a database that belongs to a log is no backup for
        a host alone (docs/ha.md).
        """
        if self.node.joined:
            self.kept.clear()
            return
        version = self.zone.versions[-1][1] if self.zone.versions else None
        self.kept.append((self.serial, self.keyset, tuple(self.zone.signed_by), version))

    def lose_host(self) -> None:
        """Restore one of the last backups, as the daemon does it: both judges, dropped evidence, a new version."""
        if self.node.joined or not self.kept:
            return
        if self.other.joined or not self.clock_sure or not self.policy.parent:
            return  # of an island only people know what validators trust
        age = min(int(self.chance.expovariate(0.1)), len(self.kept) - 1)
        serial, keyset, signed_by, version = self.kept[-1 - age]
        stored = commands.clock_stepped(keyset, self.clock)
        keyset = commands.ds_found(stored, self.at_parent(stored), self.clock)
        decision = self.judge(serial, stored, keyset)
        if decision is not None and not decision.held and serial != self.serial:
            return  # the secondaries have not got the newest version yet, and this world cannot take it back
        self.done["refused" if decision is None else "older" if age else "newest"] += 1
        self.log(f"restore of {age} steps ago: {'refused' if decision is None else 'accepted'}")
        if decision is None:
            return
        self.keyset = commands.signatures_found(keyset, self.clock) if decision.held else keyset
        self.generating, self.confirmations = {}, []
        self.asked.clear()
        self.forget_sights()
        if decision.held:
            self.zone.signed_by, self.pending, self.stored_version = list(signed_by), [], version
            self.commit()
        self.daemon()

    def must_not_sign(self, view: SigningView, version: Version, lost: frozenset[bytes]) -> None:
        """What a lost key signed is that of the backup."""
        versions, stored = self.zone.versions, self.stored_version
        if stored is not None:
            self.zone.versions = [(0, stored, frozenset(), frozenset())]
        try:
            super().must_not_sign(view, version, lost)
        finally:
            self.zone.versions, self.stored_version = versions, None

    def type_in(self) -> None:
        """A person who is shown no DS for a zone that is to be secure removes none: `ds show` says to wait."""
        if self.wanted_ds() or not self.policy.signed:
            super().type_in()

    def at_parent(self, keyset: Keyset) -> list[bytes]:
        served = frozenset().union(*(parent.ds for parent in self.parents))
        return [key.rdata for key in keyset.keys if self.oracle.ds_of(key.rdata) & served]

    def judge(self, serial: int, stored: Keyset, keyset: Keyset) -> Decision | None:
        live = live_of(self)
        if len(live) < len(self.secondaries) or not live or any(p.out_until > self.now for p in self.parents):
            return None
        decision = decide(ZONE, Stored(serial, keyset), Stored(), live, AFTER_LOSS)
        parent = [(p.name, _ds(rdata)) for p in self.parents for rdata in sorted(p.ds)]
        refused = judge_ds(ZONE, keyset, parent) or judge_found_ds(ZONE, stored, keyset)
        return None if decision.refusals or refused else decision


def _ds(rdata: bytes) -> DsRecord:
    return DsRecord(int.from_bytes(rdata[:2]), rdata[2], rdata[3], rdata[4:])


@cache
def restored_later(seed: int) -> RestoredLater:
    return run_shown(RestoredLater(seed), f"seed {seed}")


@pytest.mark.parametrize("seed", [*range(LATER_SEEDS), SIGNED_SINCE])
def test_an_older_backup_that_is_accepted_harms_no_validator(seed: int) -> None:
    restored_later(seed)


def test_a_dnskey_has_to_stay_after_a_restore() -> None:
    """The row of the planner's tables that no world without restores needs."""
    holds = tuple(hold for hold in TABLES.holds if hold.name != AFTER_RESTORES)
    assert len(holds) == len(TABLES.holds) - 1
    with pytest.raises(Bogus):
        RestoredLater(SIGNED_SINCE, replace(TABLES, holds=holds)).run()


def test_the_seeds_restore_and_refuse() -> None:
    done: Counter[str] = Counter()
    for seed in range(LATER_SEEDS):
        done += restored_later(seed).done
    assert all(done[what] > 3 for what in ("newest", "older", "refused")), done


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("first", range(0, SOAK_SEEDS, SOAK_BLOCK))
def test_an_older_backup_that_is_accepted_harms_no_validator_for_long(first: int) -> None:
    for seed in range(first, first + SOAK_BLOCK):
        restored_later(seed)
