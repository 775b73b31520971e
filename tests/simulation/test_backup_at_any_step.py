"""A back-up made at any step of any roll-over can be restored: its keys are accepted beside what servers show then."""

from __future__ import annotations

from collections import Counter

import pytest

from dnssecd.backup.judge import Options, Stored, decide
from dnssecd.core.keys.keystate import Rec, State
from dnssecd.core.keys.restore_limits import LiveServer

from .scenario import make
from .world import World

SEEDS = 30
ZONE = "zone.example."
STANDBY = Options(standby=True)


class BackedUp(World):
    """A world in which every committed state is judged as a back-up, by the secondaries as they are at that moment."""

    def __init__(self, seed: int) -> None:
        super().__init__(make(seed), seed)
        self.met: Counter[str] = Counter()

    def believe(self) -> None:
        super().believe()
        versions = self.zone.versions
        live = [
            LiveServer(s.name, 1, versions[s.version][1].dnskeys)
            for s in self.secondaries
            if s.version >= 0 and versions[s.version][1].dnskeys
        ]
        if not live or not self.policy.signed:
            return
        stored = Stored(1, self.keyset)
        for options in (Options(), STANDBY):
            refusals = decide(ZONE, stored, stored, live, options).refusals
            assert not refusals, (self.now, refusals)
        self._meet(live)

    def _meet(self, live: list[LiveServer]) -> None:
        for key in self.keyset.keys:
            signs = key.zrrsig.visible or key.krrsig.visible
            if signs and any(key.rdata not in (server.dnskeys or ()) for server in live):
                self.met[key.dnskey.state.value] += 1
            for rec in (Rec.DNSKEY, Rec.DS):
                self.met[f"{rec.value} {key.record(rec).state.value}"] += 1


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_back_up_of_any_step_is_accepted(seed: int) -> None:
    BackedUp(seed).run()


def test_the_seeds_reach_the_steps_in_question() -> None:
    """Keys that sign and are not in a server's DNSKEY RRset: before it is published, on its way, and after it went."""
    met: Counter[str] = Counter()
    for seed in range(12):
        world = BackedUp(seed)
        world.run()
        met += world.met
    assert all(met[state.value] for state in (State.HIDDEN, State.RUMOURED, State.UNRETENTIVE)), met
    assert not met[State.OMNIPRESENT.value]
    assert all(met[f"{rec.value} {state.value}"] for rec in (Rec.DNSKEY, Rec.DS) for state in State)
