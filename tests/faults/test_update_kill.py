"""``kill -9`` at random moments while updates stream in: what was answered NOERROR is there, nothing is there by half.

Each message adds two RRs at two names, or deletes such a pair; eight connections send them as fast as they are
answered. A message without an answer may have been carried out or not, but never by half.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from tests.faults.test_kill import kill
from tests.peers.process import PeerError, Servers, wait_until
from tests.peers.tools import ldns_verify_zone
from tests.peers.tsig import TsigKey
from tests.peers.updates import (
    NOERROR,
    SERVFAIL,
    UpdateConnection,
    UpdateMaker,
    dynamic_world,
    dynamic_zone_text,
)
from tests.peers.world import World
from tests.peers.zones import difference, soa_serial

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

ZONE = "kill.test."
HOSTS = 2000  # a difference that is larger than the zone is rightly answered with the zone
CONNECTIONS = 8
SEED = 5
LONGEST_SECONDS = 0.9
PAIRS_KEPT = 3  # a connection deletes its oldest pair when it has more
CONTENT_EVERY = 5  # rounds between two comparisons of all RRs at all secondaries


@dataclass
class Sender:
    """One connection's updates, and what is known of them."""

    name: str
    maker: UpdateMaker
    numbers: Iterator[int] = field(default_factory=count)
    there: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    answered: int = 0
    complaint: str = ""

    def run(self, port: int) -> None:
        """Send until the connection breaks."""
        try:
            with UpdateConnection(port) as connection:
                while True:
                    self._one(connection)
        except OSError:
            return

    def _one(self, connection: UpdateConnection) -> None:
        adding = len(self.there) <= PAIRS_KEPT
        pair = f"{self.name}-{next(self.numbers)}" if adding else min(self.there, key=len)
        self.there.discard(pair)
        self.unknown.add(pair)
        rcode = connection.ask(self._wire(pair, adding))
        self.unknown.discard(pair)
        if (
            rcode == SERVFAIL
        ):  # the kill took the key service first: that this was not carried out is checked, too
            (self.gone if adding else self.there).add(pair)
            raise ConnectionError
        if rcode != NOERROR:
            self.complaint = f"RCODE {rcode} for {pair}"
            raise ConnectionError
        (self.there if adding else self.gone).add(pair)
        self.answered += 1

    def _wire(self, pair: str, adding: bool) -> bytes:
        owners = (f"left.{pair}", f"{pair}.right")
        if adding:
            return self.maker.wire(add=[(owner, 60, "TXT", pair) for owner in owners])
        return self.maker.wire(delete=[(owner, "TXT", pair) for owner in owners])

    def check(self, left: set[str], right: set[str]) -> None:
        """What is known is so; what was not known is from now on."""
        assert self.complaint == "", self.complaint
        assert self.there <= left, f"said to be there, but lost: {sorted(self.there - left)}"
        assert not self.gone & left, f"said to be gone, but there: {sorted(self.gone & left)}"
        for pair in self.unknown:
            (self.there if pair in left else self.gone).add(pair)
        self.unknown.clear()


def pairs(content: set[str]) -> tuple[set[str], set[str]]:
    """The names of the pairs whose first RR, whose second RR is in the zone."""
    owners = [line.split()[0] for line in content if " IN TXT " in line]
    suffix = "." + ZONE
    left = {owner.removesuffix(suffix).removeprefix("left.") for owner in owners if owner.startswith("left.")}
    right = {owner.removesuffix(".right" + suffix) for owner in owners if owner.endswith(".right" + suffix)}
    return left, right


def wait_takes_updates(world: World) -> None:
    """Return once an update is carried out: after a start the zone is served before the key service is up."""
    maker = UpdateMaker(world.zone, world.key)
    probe = maker.wire(
        delete=[("probe", "AAAA", "")], add=[("probe", 60, "AAAA", f"::{random.getrandbits(16):x}")]
    )

    def taken() -> bool:
        with UpdateConnection(world.daemon.port) as connection:
            return connection.ask(probe) == NOERROR

    wait_until(taken, "updates are taken")


def load_and_kill(world: World, senders: list[Sender], chance: random.Random) -> float:
    """Send on all connections and kill at a random moment; when that was, in seconds from the start."""
    wait_takes_updates(world)
    threads = [threading.Thread(target=sender.run, args=(world.daemon.port,)) for sender in senders]
    for thread in threads:
        thread.start()
    moment = chance.uniform(0.02, LONGEST_SECONDS)
    time.sleep(moment)
    kill(world.daemon, chance)
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "a client still waits for a daemon that was killed"
    return moment


def check_secondaries(world: World, content: set[str], *, whole: bool) -> None:
    for name, second in world.secondaries.items():
        try:
            second.wait_serial(world.zone, soa_serial(content))
        except PeerError as error:
            raise PeerError(f"{error}\n{second.log_tail()}\n{world.daemon.log_tail()}") from None
        apart = difference(content, second.zone_content(world.zone)) if whole else ""
        assert apart == "", f"{name}: {apart}"


def check_by_ixfr(world: World, asked_whole: int) -> None:
    """The secondaries had the zone whole once each, at first, by our log; ``asked_whole``: the test's own AXFRs.

    NSD throws its copy away by itself when versions come in faster than it reloads ("soa serial … update failed");
    BIND asks for the whole zone once after an IXFR that a kill cut off in the middle.
    """
    own_will = world.secondaries["nsd"].log_text().count("update failed, restarting transfer")
    own_will += world.secondaries["named"].log_text().count("retrying with AXFR")
    kinds = [entry["kind"] for entry in world.daemon.log_events() if entry.get("event") == "transfer out"]
    assert "axfr-style" not in kinds
    assert kinds.count("axfr") <= asked_whole + len(world.secondaries) + own_will
    assert kinds.count("ixfr") > asked_whole


@pytest.mark.parametrize(
    "rounds", [20, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
)
def test_kills_under_updates(servers: Servers, peer_dir: Path, tsig_key: TsigKey, rounds: int) -> None:
    chance = random.Random(SEED)
    world = dynamic_world(servers, peer_dir, tsig_key, ZONE, text=dynamic_zone_text(ZONE, HOSTS))
    check_secondaries(world, world.daemon.zone_content(ZONE), whole=True)
    senders = [Sender(f"c{number}", UpdateMaker(ZONE, tsig_key)) for number in range(CONNECTIONS)]
    unanswered = done = 0
    content: set[str] = set()
    for round_ in range(rounds):
        moment = load_and_kill(world, senders, chance)
        label = f"round {round_} (seed {SEED}, killed after {moment:.3f} s)"
        world.daemon.start()
        world.daemon.wait_serial_other_than(ZONE, None)
        content = world.daemon.zone_content(ZONE)
        left, right = pairs(content)
        assert left == right, f"{label}: half an update: {sorted(left ^ right)}"
        unknown = set().union(*(sender.unknown for sender in senders))
        unanswered += len(unknown)
        done += len({pair for pair in unknown if pair in left})
        for sender in senders:
            sender.check(left, right)
        check_secondaries(world, content, whole=round_ % CONTENT_EVERY == 0 or round_ == rounds - 1)
    answered = sum(sender.answered for sender in senders)
    print(f"{answered} updates answered NOERROR, {unanswered} cut off ({done} of those pairs there)")
    assert answered > rounds * CONNECTIONS, "hardly any load"
    judged = world.home / "judged.zone"
    judged.write_text("\n".join(sorted(content)) + "\n")
    verdict = ldns_verify_zone(judged, ZONE)
    assert verdict.ok, verdict
    check_by_ixfr(world, asked_whole=1 + rounds)
