"""The real root zone, version after version, through the daemon to NSD, Knot and BIND; then fifty edits, or thirty.

Judged by others: the secondaries hold exactly what the daemon exports, ldns-verify-zone, dnssec-verify and
kzonecheck accept it, Unbound behind every secondary validates. Signatures made per step are printed and must
be in proportion to the change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.peers.dnssecd import settled
from tests.peers.process import Servers
from tests.peers.rootzone import VERSIONS, RootEditor, root_version
from tests.peers.tsig import TsigKey
from tests.peers.unbound import Unbound
from tests.peers.world import World, start_world
from tests.peers.zones import soa_serial, unsigned_content, zone_file

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

#: In 30, each kind of change occurs.
EDITS = {"nsec3": 50, "nsec": 30}
SEED = 2018
REFEREES_EVERY = 10
QUIET_SECONDS = 0.5
FIRST_LOAD_SECONDS = 60.0


def expected_serial(published: int, input_serial: int, content_changed: bool) -> int:
    """Policy "increment"; all serials here are within half the serial space, so integers do."""
    if content_changed or input_serial > published:
        return max(input_serial, published + 1)
    return published


def signature_bound(before: set[str], after: set[str]) -> int:
    """The most signatures a change of the root zone may cost, from the unsigned zones before and after.

    One for the SOA; for each DS RRset touched one, and one for the bitmap at its owner; for each delegation that
    comes or goes two denial records (its own, its neighbour's) for its name and each empty non-terminal above.
    NS RRsets of delegations and glue are not signed.
    """
    touched = {tuple(line.split()[:4:3]) for line in before ^ after}
    secured = sum(rrtype == "DS" for _, rrtype in touched)
    delegations = _owners_of_ns(before) ^ _owners_of_ns(after)
    return 1 + 2 * secured + sum(2 * owner.count(".") for owner in delegations)


def _owners_of_ns(content: set[str]) -> set[str]:
    return {line.split()[0] for line in content if line.split()[3] == "NS"}


@dataclass
class Replay:
    """Puts inputs one after another and checks what comes of each."""

    world: World
    published: int = 0
    content: set[str] = field(default_factory=set)

    @property
    def signatures(self) -> int:
        return int(self.world.daemon.metric("dnssecd_signatures_total"))

    def step(self, label: str, text: str, *, resolvers: list[Unbound] | None = None) -> None:
        """One input; with ``resolvers`` the export, the referees and the validators are asked too."""
        made_before = self.signatures
        self.world.put(text)
        loaded = zone_file(self.world.input, self.world.zone)
        content = unsigned_content(loaded)
        wanted = expected_serial(self.published, soa_serial(loaded), content != self.content)
        if wanted == self.published:
            self._expect_nothing(label, made_before)
            return
        found = self.world.daemon.wait_serial_other_than(self.world.zone, self.published)
        assert found == wanted, f"{label}: serial {found}, expected {wanted}"
        served = self.world.check_agreement(wanted)
        made = self.signatures - made_before
        bound = signature_bound(self.content, content)
        print(
            f"{label}: serial {wanted}, {len(content ^ self.content)} RRs, {made} signatures (at most {bound})"
        )
        assert 1 <= made <= bound
        self.published, self.content = wanted, content
        if resolvers is not None:
            self.world.check_export_and_referees(served)
            check_validation(resolvers, served)

    def first(self, text: str) -> set[str]:
        """What became of the input the daemon was started with."""
        loaded = zone_file(self.world.input, self.world.zone)
        found = self.world.daemon.wait_serial_other_than(self.world.zone, None, FIRST_LOAD_SECONDS)
        assert found == soa_serial(loaded)
        served = self.world.check_agreement(found)
        signed = sum(" IN RRSIG " in line for line in served)
        print(f"first load: serial {found}, {len(loaded)} RRs, {self.signatures} signatures, {signed} RRSIGs")
        assert signed <= self.signatures <= signed + 4  # proofs of the keys are signatures too
        self.published, self.content = found, unsigned_content(loaded)
        self.world.check_export_and_referees(served)
        return served

    def _expect_nothing(self, label: str, made_before: int) -> None:
        reloaded = self.world.daemon.cli("zone", "reload", self.world.zone)
        assert reloaded.ok, reloaded
        settled(lambda: self.world.daemon.serial(self.world.zone), QUIET_SECONDS)
        assert self.world.daemon.serial(self.world.zone) == self.published, label
        assert self.signatures == made_before, label
        print(f"{label}: no version, no signatures")


def check_validation(resolvers: list[Unbound], served: set[str]) -> None:
    """AD for data that exist, for a name that does not, for a type that does not."""
    secure = min(line.split()[0] for line in served if " IN DS " in line)
    for resolver in resolvers:
        for name, rrtype, rcode in (
            (secure, "DS", "NOERROR"),
            (".", "NS", "NOERROR"),
            ("no-such-name.", "A", "NXDOMAIN"),
            (".", "TXT", "NOERROR"),
        ):
            assert resolver.verdict(name, rrtype) == (rcode, True), f"{name} {rrtype}\n{resolver.log_tail()}"


@pytest.mark.parametrize("denial", ["nsec", "nsec3"])
def test_root_zone_versions_and_edits(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, shared: Path, denial: str
) -> None:
    first = root_version(shared, VERSIONS[0])
    world = start_world(servers, peer_dir, tsig_key, ".", first, policy={"denial": denial})
    replay = Replay(world)
    served = replay.first(first)
    resolvers = world.resolvers(servers, served)
    check_validation(resolvers, served)
    for number in VERSIONS[1:]:
        replay.step(f"version {number}", root_version(shared, number), resolvers=resolvers)

    editor = RootEditor(root_version(shared, VERSIONS[-1]), SEED)
    print(f"edits with seed {SEED}")
    for number, edit in enumerate(editor.edits(EDITS[denial]), start=1):
        judges = resolvers if number % REFEREES_EVERY == 0 else None
        before = replay.published
        replay.step(f"edit {number} ({edit.what})", edit.text, resolvers=judges)
        assert (replay.published != before) == edit.changes, edit.what

    world.check_followed_by_ixfr()
    world.check_ixfr_from_every_serial()
    published, made = replay.published, replay.signatures

    assert world.daemon.stop() == 0
    world.daemon.start()
    assert world.daemon.serial(world.zone) == published, "the stored version is served as soon as ready"
    world.check_agreement(published)
    world.check_ixfr_from_every_serial()
    assert replay.signatures <= 4, "a restart signs nothing but the proof of its keys"
    print(f"{made} signatures before the restart, {replay.signatures} after it")

    world.daemon.kill()
    world.daemon.start()
    assert world.daemon.serial(world.zone) == published
    world.check_ixfr_from_every_serial()
    world.check_followed_by_ixfr()
