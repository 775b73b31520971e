"""Nodes of a cluster on a log in memory: random work, take-overs that earlier owners do not notice, lost answers.

A checker holds what docs/ha.md promises: no answered update is lost, no edit of a file is undone by an old copy, a
serial has one content, serials go forward, and a node that was replaced writes nothing. With any of the rules that the
promise rests on taken away, it fails.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dnssecd.core.dns.names import owner_key, text_to_wire
from dnssecd.core.dns.rrtypes import TXT
from dnssecd.core.update.types import UpdatePolicy
from dnssecd.core.zone.stale_input import InputAge, SeenInput
from dnssecd.pipeline.jobs import shared_input
from dnssecd.pipeline.jobs.update import commit_updates
from dnssecd.server.update_message import parse_update
from dnssecd.store import zone_log
from dnssecd.store.errors import LogInDoubt
from dnssecd.store.version_log import Appended, Fenced, Kind, Record, Result
from tests.cluster_nodes import Node
from tests.memory_log import MemoryLog, NodeLog, Stored
from tests.pipeline_zone import ZONE
from tests.unit.core_update import build
from tests.unit.core_update.build import EVERYTHING

NAME = "example."
STEPS = 20
SEEDS = range(6)
FAULTS = ("lost before", "lost after", "away")


def key_of(label: str) -> bytes:
    return owner_key(text_to_wire(f"{label}.{NAME}"), text_to_wire(NAME))


@dataclass
class Checker:
    """What was seen. ``faults``: promises that were broken."""

    contents: dict[int, str] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    #: Of a file, those that were in a version: a copy that was in none cannot be recognized as old.
    edits: set[int] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def look(self, node: Node) -> None:
        serial = node.serial()
        if serial is None:
            return
        content = str(node.hashes(("rrset", "denial", "rrsig")))
        if self.contents.setdefault(serial, content) != content:
            self.faults.append(f"serial {serial} has another content at {node.name}")
        if serial < self.newest.get(node.name, 0):
            self.faults.append(f"{node.name} went back to serial {serial}")
        self.newest[node.name] = serial

    def judge_log(self, shared: MemoryLog) -> None:
        epoch = 0
        for record in shared.zones[NAME]:
            if record.epoch < epoch:
                self.faults.append(f"record {record.sequence} is of epoch {record.epoch}, after {epoch}")
            epoch = max(epoch, record.epoch)
        places = [record.sequence for record in shared.zones[NAME]]
        if places != sorted(set(places)):
            self.faults.append("a place of the log was given twice")


class World:
    """Nodes a and b. ``dynamic``: the zone takes updates; else each node loads its copy of a file."""

    def __init__(self, home: Path, signer: str, seed: int, *, dynamic: bool, log: type[NodeLog]) -> None:
        self.rng, self.shared, self.dynamic = random.Random(seed), MemoryLog(), dynamic
        self.nodes = [Node(home / name, signer, self.shared, name) for name in "ab"]
        for node in self.nodes:
            node.reader = log(self.shared, node.name)
            node.log.log = node.reader
        self.copies = {"a": 0, "b": 0}
        self.seen: dict[str, SeenInput | None] = {}
        self.checker, self.number = Checker(), 0
        self.nodes[0].take()
        if dynamic:
            self.nodes[0].load(ZONE)
        else:
            self.load(self.nodes[0], edited=False)

    def update(self, node: Node) -> None:
        """Add a name; it is answered NOERROR if the version is committed."""
        self.number += 1
        name = f"u{self.number}"
        record = build.RR(text_to_wire(f"{name}.{NAME}"), 16, 1, 300, b"\x01x")
        message = parse_update(build.message([record]))
        done = commit_updates(node.db, node.spec, [(message, UpdatePolicy(EVERYTHING))], node.tools())
        if done.outcome.result == "published":
            self.checker.answered.add(name)

    def load(self, node: Node, *, edited: bool = True) -> None:
        """Load the node's copy of the file; a checkout of the newest edit comes before, or does not."""
        if edited and self.rng.random() < 0.5:
            self.number += 1
            self.copies[node.name] = self.number
        text = f'{ZONE}edit IN TXT "{self.copies[node.name]}"\n'
        outcome = node.load(text, seen=self.seen.get(node.name))
        self.seen[node.name] = outcome.seen or self.seen.get(node.name)
        copy = self.copies[node.name]
        if outcome.result == "published":
            if copy in self.checker.edits and copy < max(self.checker.edits):
                self.checker.faults.append(f"edit {max(self.checker.edits)} was undone by {copy}")
            self.checker.edits.add(copy)

    def edit_of(self, node: Node) -> int:
        with node.db.snapshot() as snapshot:
            rrset = snapshot.rrset(key_of("edit"), TXT)
        found = None if rrset is None else re.search(rb"\d+", rrset.rdata)
        return 0 if found is None else int(found[0])

    def work(self) -> None:
        """A node that believes to own the zone makes a version; the log may fail. It then does as the daemon does."""
        owners = [node for node in self.nodes if node.log.epoch is not None]
        if not owners:
            return
        node = self.rng.choice(owners)
        if self.rng.random() < 0.4:
            self.shared.faults += self.rng.choices(FAULTS, k=self.rng.randrange(1, 3))
        (self.update if self.dynamic else self.load)(node)
        self.shared.faults.clear()
        self.recover(node)

    def recover(self, node: Node) -> None:
        """Read the log after a commit that it did not take, and own the zone again if it says so."""
        troubles, node.troubles[:] = list(node.troubles), []
        if not troubles:
            return
        node.log.epoch = None
        last = troubles[-1]
        if isinstance(last, LogInDoubt):
            node.reader.settle(NAME, last.sequence, last.epoch)
        self.follow(node)
        owner, epoch = self.shared.owner(NAME)
        if owner == node.name:
            node.log.epoch = epoch

    def follow(self, node: Node) -> None:
        followed = node.follow()
        if followed.stopped:
            self.checker.faults.append(f"{node.name} cannot follow: {followed.cause}")

    def take_over(self) -> None:
        """Another node takes the zone; the earlier owner is paused and does not know, or was drained and does."""
        owner, _ = self.shared.owner(NAME)
        node = next(each for each in self.nodes if each.name != owner)
        if node.log.epoch is not None:  # it was paused when it lost the zone
            self.work_of_paused(node)
        self.follow(node)
        epoch = self.shared.take(NAME, node.name)
        self.follow(node)
        node.log.epoch = epoch
        if self.rng.random() < 0.4:
            earlier = next(each for each in self.nodes if each is not node)
            earlier.log.epoch = None
            self.follow(earlier)

    def work_of_paused(self, node: Node) -> None:
        (self.update if self.dynamic else self.load)(node)
        self.recover(node)
        node.log.epoch = None

    def run(self) -> list[str]:
        """Return the broken promises."""
        acts: list[Callable[[], Any]] = [self.work, self.work, self.work, self.take_over]
        for _ in range(STEPS):
            self.rng.choice(acts)()
            for node in self.nodes:
                self.checker.look(node)
                self.checker.edits.add(self.edit_of(node))
        for node in self.nodes:
            node.log.epoch = None
            self.follow(node)
            self.checker.look(node)
        if self.nodes[0].hashes() != self.nodes[1].hashes():
            self.checker.faults.append("the nodes differ")
        for node in self.nodes:
            with node.db.snapshot() as snapshot:
                lost = [name for name in self.checker.answered if snapshot.rrset(key_of(name), TXT) is None]
            if lost:
                self.checker.faults.append(f"{node.name} lost {lost}")
        self.checker.judge_log(self.shared)
        for node in self.nodes:
            node.close()
        return self.checker.faults


@pytest.mark.parametrize("dynamic", [True, False], ids=["updates", "files"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_promise(tmp_path: Path, signer: str, seed: int, *, dynamic: bool) -> None:
    assert World(tmp_path, signer, seed, dynamic=dynamic, log=NodeLog).run() == []


class WithoutUnique(NodeLog):
    """The place of a record is not looked at."""

    def append(self, zone: str, sequence: int, epoch: int, record: Record) -> Result:
        if self.shared.faults:
            return super().append(zone, sequence, epoch, record)
        octets = b"".join(record.chunks())
        self.shared.put(zone, Stored(sequence, epoch, record.kind, self.node, record.digest, octets))
        return Appended()


class WithoutOwnership(NodeLog):
    """Only the place counts, not the epoch; and a take-over takes no place (the fixture)."""

    def append(self, zone: str, sequence: int, epoch: int, record: Record) -> Result:
        if self.shared.faults:
            return super().append(zone, sequence, epoch, record)
        if sequence != self.shared.last(zone).sequence + 1:
            return Fenced(*self.shared.owner(zone))
        octets = b"".join(record.chunks())
        self.shared.put(zone, Stored(sequence, epoch, record.kind, self.node, record.digest, octets))
        return Appended()


def _take_no_place(self: MemoryLog, zone: str, node: str) -> int:
    if not self.zones.get(zone):
        self.put(zone, Stored(1, 1, Kind.OWNERSHIP, node, "", b""))
    epoch = self.owner(zone)[1] + 1
    self.owners[zone] = node, epoch
    return epoch


class NoDoubt:
    """No result is one."""


@pytest.fixture(params=["unique constraint", "ownership record", "in-doubt rule", "stale-input rule"])
def mutation(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[bool, type[NodeLog]]]:
    """Take a rule away; yield whether the zone takes updates then, and the log."""
    match request.param:
        case "unique constraint":
            yield True, WithoutUnique
        case "ownership record":
            monkeypatch.setattr(MemoryLog, "take", _take_no_place)
            yield True, WithoutOwnership
        case "in-doubt rule":
            monkeypatch.setattr(zone_log, "InDoubt", NoDoubt)
            yield True, NodeLog
        case _:
            monkeypatch.setattr(shared_input, "judge_input", lambda *given: InputAge.NEW)
            yield False, NodeLog


def test_without_a_rule_the_checker_fails(
    tmp_path: Path, signer: str, mutation: tuple[bool, type[NodeLog]]
) -> None:
    dynamic, log = mutation
    for seed in SEEDS:
        try:
            faults = World(tmp_path / str(seed), signer, seed, dynamic=dynamic, log=log).run()
        except AssertionError as error:
            faults = [str(error)]
        if faults:
            print(f"seed {seed}: {faults[:3]}")
            return
    raise AssertionError("no seed notices it")
