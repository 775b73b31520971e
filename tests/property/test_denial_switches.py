"""The six switches between NSEC, NSEC3 and opt-out, on a published zone in its store: each is one atomic version.

Judged by ldns and BIND, by ``dnssecd verify``, by the journal (the version before, with the differences applied, is
the new one), and by a zone signed from scratch.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from dnssecd.core.dns.names import key_to_wire, labels, text_to_wire
from dnssecd.core.dns.rrset import RRset, unpack
from dnssecd.core.dns.rrtypes import NSEC, NSEC3, NSEC3PARAM, RRSIG, SOA
from dnssecd.pipeline.export import export_text
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.store.snapshot import Snapshot
from tests.oneshot import AT_SIGN, BELOW_DNAME, DIGEST, hard_zone, violations
from tests.peers.tools import dnssec_verify, ldns_verify_zone
from tests.pipeline_zone import PipelineZone, running_signer

ORIGIN = "example."
KINDS = {"nsec": ("nsec", False), "nsec3": ("nsec3", False), "opt-out": ("nsec3", True)}
#: A walk that takes each of the six ways once.
WALK = ("nsec", "nsec3", "opt-out", "nsec", "opt-out", "nsec3", "nsec")
#: Without what a peer cannot judge (see test_sign_peers) and what the daemon refuses.
CONTENT = [
    line
    for line in hard_zone(ORIGIN, without=(AT_SIGN, BELOW_DNAME)).splitlines()
    if line and "2147483647" not in line and not line.startswith("many")
]

Rr = tuple[bytes, int, int, bytes]


@pytest.fixture(scope="module")
def socket() -> Iterator[str]:
    """One key service for all zones."""
    with running_signer() as path:
        yield path


def policy(kind: str) -> dict[str, object]:
    """The settings that say how existence is denied."""
    denial, opt_out = KINDS[kind]
    return {"denial": denial, "opt_out": opt_out}


class Zone(PipelineZone):
    """A zone whose policy changes; at the present time, since dnssec-verify knows no other."""

    def __init__(self, home: Path, socket: str, kind: str, **more: object) -> None:
        super().__init__(home, socket, **policy(kind), allow_missing_glue=True, **more)
        self.now = int(time.time())

    def switch(self, kind: str) -> None:
        """What a new configuration does."""
        self.spec = msgspec.structs.replace(self.spec, **policy(kind))

    def put(self, lines: list[str]) -> Outcome:
        return self.load("\n".join(lines) + "\n", accept_change=True)


def rrs(view: Snapshot) -> set[Rr]:
    """All RRs of a version: owner key, type, TTL, RDATA."""
    found = {(r.owner, r.rtype, r.ttl, rdata) for r in _rrsets(view) for rdata in unpack(r.rdata)}
    return found | {(s.owner, RRSIG, s.ttl, rdata) for s in view.rrsig_scan() for rdata in unpack(s.rdata)}


def _rrsets(view: Snapshot) -> Iterator[RRset]:
    yield from view.scan()
    yield from view.denial_scan()


def wire_rrs(octets: bytes) -> Iterator[tuple[bytes, int, int, bytes]]:
    """The RRs in a journal chunk, owners as wire names."""
    position = 0
    while position < len(octets):
        owner = position
        while octets[position]:
            position += octets[position] + 1
        position += 1
        name, rtype = octets[owner:position], int.from_bytes(octets[position : position + 2], "big")
        ttl = int.from_bytes(octets[position + 4 : position + 8], "big")
        start = position + 10
        position = start + int.from_bytes(octets[position + 8 : start], "big")
        yield name, rtype, ttl, octets[start:position]


def apply_journal(view: Snapshot, before: set[Rr], from_serial: int) -> set[Rr]:
    """Apply the differences since a serial; every deletion hits, every addition is new (RFC 1995 §4)."""
    origin = view.origin
    content = {(key_to_wire(owner, origin), *rest) for owner, *rest in before}
    for step in view.journal(from_serial):
        content.remove((origin, SOA, step.old_soa_ttl, step.old_soa))
        for chunk in step.chunks:
            for rr in wire_rrs(chunk.rrs):
                assert (rr in content) != chunk.added, rr
                (content.add if chunk.added else content.remove)(rr)
        content.add((origin, SOA, step.new_soa_ttl, step.new_soa))
    return content  # type: ignore[return-value]


def judge(zone: Zone, kind: str, directory: Path) -> None:
    """The published version denies as it should, and all say so."""
    path = directory / "published"
    with zone.db.snapshot() as view:
        path.write_text("".join(text for text, _ in export_text(view, unsigned=False)))
        chain = list(view.denial_scan())
        assert {rrset.rtype for rrset in chain} == {NSEC if kind == "nsec" else NSEC3}
        assert (view.rrset(b"", NSEC3PARAM) is None) == (kind == "nsec")
        if kind != "nsec":
            assert {unpack(rrset.rdata)[0][1] for rrset in chain} == {kind == "opt-out"}
        covered = {sigs.covered for sigs in view.rrsig_scan()}
        assert not covered & ({NSEC, NSEC3} - {chain[0].rtype})
    assert violations(path, ORIGIN) == []
    for result in (ldns_verify_zone(path, ORIGIN), dnssec_verify(path, ORIGIN)):
        assert result.ok, result


def check_switch(zone: Zone, kind: str, change: list[str] | None, directory: Path) -> None:
    """Switch, with a change of content or without; before, while and after."""
    with zone.db.snapshot() as held:
        before, serial = rrs(held), held.serial
        zone.switch(kind)
        outcome = zone.resign() if change is None else zone.put(change)
        assert outcome.result == "published", outcome
        assert outcome.serial == serial + 1, "one version"
        assert rrs(held) == before, "whoever reads sees the version before, whole"
    with zone.db.snapshot() as view:
        after = {(key_to_wire(owner, view.origin), *rest) for owner, *rest in rrs(view)}
        assert apply_journal(view, before, serial) == after
    judge(zone, kind, directory)


@pytest.mark.parametrize("zonemd", [False, True])
@pytest.mark.parametrize("by", ["policy alone", "policy and content"])
def test_every_switch_is_one_version(by: str, zonemd: bool, socket: str, tmp_path: Path) -> None:
    zone = Zone(tmp_path, socket, WALK[0], zonemd=zonemd)
    assert zone.put(CONTENT).serial == 7
    judge(zone, WALK[0], tmp_path)
    first: set[Rr] = set()
    with zone.db.snapshot() as view:
        first = rrs(view)
    for step, (_, kind) in enumerate(pairwise(WALK)):
        lines = [*CONTENT, f"new{step} A 192.0.2.77", f"x.ent{step} NS ns.other.test."]
        check_switch(zone, kind, None if by == "policy alone" else lines, tmp_path)
    with zone.db.snapshot() as view:
        now = {(key_to_wire(owner, view.origin), *rest) for owner, *rest in rrs(view)}
        assert apply_journal(view, first, 7) == now, "all six differences, one after another"
    zone.close()


SEEDS = [*range(6), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(6, 100))]


@pytest.mark.parametrize("seed", SEEDS)
def test_after_switches_and_edits_the_chain_is_as_from_scratch(
    seed: int, socket: str, tmp_path: Path
) -> None:
    """Edits between switches, switches with edits, in any order."""
    rng = random.Random(seed)
    zone = Zone(tmp_path, socket, "nsec3")
    assert zone.put(CONTENT).result == "published"
    for step in range(10):
        lines = edited(rng, step)
        kind = rng.choice(list(KINDS))
        zone.switch(kind)
        outcome = zone.put(lines)
        assert outcome.result == "published", outcome
        scratch_dir = tmp_path / f"scratch{step}"
        scratch_dir.mkdir()
        scratch = Zone(scratch_dir, socket, kind)
        assert scratch.put(lines).result == "published"
        with zone.db.snapshot() as ours, scratch.db.snapshot() as theirs:
            assert list(ours.denial_scan()) == list(theirs.denial_scan()), f"seed {seed} step {step}"
            placed = [(sigs.owner, sigs.covered, sigs.ttl) for sigs in theirs.rrsig_scan()]
            assert [(sigs.owner, sigs.covered, sigs.ttl) for sigs in ours.rrsig_scan()] == placed
        scratch.close()
    judge(zone, kind, tmp_path)
    zone.close()


def edited(rng: random.Random, step: int) -> list[str]:
    """The content less some names, with others above and below what is there."""
    apex = [line for line in CONTENT if line.startswith(("$", "@", "ns1", "mail"))]
    gone = {owner for owner in sorted({line.split()[0] for line in CONTENT}) if rng.random() < 0.2}
    # A delegation whose name server has lost its address would be refused.
    gone |= {owner.removeprefix("ns.") for owner in gone}
    rest = [line for line in CONTENT if line not in apex and line.split()[0] not in gone]
    more = [
        f"cut.deep{step % 3}.wild NS ns.other.test.",
        f"*.new{step} A 192.0.2.78",
        "this NS ns.other.test.",
        "y.insent A 192.0.2.79",
        f"insecure DS 1 13 2 {DIGEST}",
        "q.r.twice TXT x",
        "dn.mid DNAME x.other.test.",
    ]
    secure = any(line.startswith("insecure ") for line in rest)
    kept = [line for line in more if rng.random() < 0.4 and (secure or not line.startswith("insecure"))]
    return [*apex, *rest, *kept]


def test_labels_and_wire_agree() -> None:
    """The journal's reader here stands on its own: a guard against its own mistakes."""
    name = text_to_wire(r"a.\000b.example.")
    octets = name + (16).to_bytes(2, "big") + b"\x00\x01" + (5).to_bytes(4, "big") + b"\x00\x02\x01x"
    assert list(wire_rrs(octets * 2)) == [(name, 16, 5, b"\x01x")] * 2
    assert labels(name) == [b"a", b"\x00b", b"example"]
