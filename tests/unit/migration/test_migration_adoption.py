"""A signed zone becomes ours: what is good stays, what is not is made anew, and nothing begins by surprise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dnssecd.core.dns.rrset import unpack
from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.core.keys.types import KeySpec, RolloverPolicy
from dnssecd.migration.foreign import ForeignKey, Stated
from dnssecd.pipeline.adoption.adopt import adopt
from dnssecd.pipeline.export import export_text
from dnssecd.pipeline.jobs.input import AdoptionJob
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.held_denial import denial_of
from dnssecd.replacing import replace
from tests.pipeline_zone import NOW, ZONE, PipelineZone
from tests.simulated_zone import SimulatedZone

DAY = 86_400
POLICY = RolloverPolicy((KeySpec(Role.KSK, 13), KeySpec(Role.ZSK, 13, lifetime=90 * DAY)))


class Move:
    """`old` signed the zone as another signer would; `new` is to take it over with the same keys."""

    def __init__(self, home: Path, socket: str, **spec: Any) -> None:
        for name in ("old", "new"):
            (home / name).mkdir()
        self.old = PipelineZone(home / "old", socket, **spec)
        assert self.old.load(ZONE).result == "published"
        self.new = PipelineZone(home / "new", socket)
        self.new.file.write_text(ZONE)
        self.signed = home / "signed"
        self.text = self.served()

    def served(self) -> str:
        with self.old.db.snapshot() as snapshot:
            return "".join(piece for piece, _ in export_text(snapshot, unsigned=False))

    def old_keys(self, age: int = 30 * DAY) -> tuple[ForeignKey, ...]:
        """The old signer's keys, in use everywhere for so long."""
        with self.old.db.snapshot() as snapshot:
            keyset = state.keyset_from(snapshot.state(state.KEYSET))
        assert keyset is not None
        since = Stated(State.OMNIPRESENT, NOW - age)
        return tuple(
            ForeignKey(
                self.new.spec.origin,
                key.role,
                key.flags,
                key.algorithm,
                key.public_key,
                "old",
                created=NOW - age,
                publish=NOW - age,
                active=NOW - age,
                states=dict.fromkeys(key.records, since),
                goal=Goal.PRESENT,
            )
            for key in keyset.keys
        )

    def note(self) -> None:
        """Have the new zone wait to come over."""
        with self.new.db.write() as transaction:
            transaction.set_state(
                state.ADOPTION, {"keys": [state.to_document(key) for key in self.old_keys()]}
            )
            transaction.commit_state()

    def adopt(self, **more: Any) -> Outcome:
        self.signed.write_text(self.text)
        given: dict[str, Any] = {"keys": self.old_keys(), "policy": POLICY, "at_parent": (), **more}
        job = AdoptionJob(signed=str(self.signed), content=str(self.new.file), **given)
        return adopt(self.new.db, self.new.spec, job, self.new.tools())

    def keyset(self) -> Keyset:
        with self.new.db.snapshot() as snapshot:
            keyset = state.keyset_from(snapshot.state(state.KEYSET))
        assert keyset is not None
        return keyset

    def rrsigs(self, zone: PipelineZone) -> set[bytes]:
        with zone.db.snapshot() as snapshot:
            return {rdata for sigs in snapshot.rrsig_scan() for rdata in unpack(sigs.rdata)}


@pytest.fixture
def move(tmp_path: Path, signer: str) -> Iterator[Move]:
    made = Move(tmp_path, signer)
    yield made
    made.old.close()
    made.new.close()


def test_good_signatures_stay_and_the_serial_goes_above(move: Move) -> None:
    done = move.adopt()
    assert done.result == "published", done.problems
    assert done.comparison is not None
    assert (done.comparison.differing, done.held) == (0, ())
    served, ours = move.rrsigs(move.old), move.rrsigs(move.new)
    assert len(ours - served) == done.signatures == done.comparison.fresh <= 4, (
        "SOA, CDS, CDNSKEY, apex NSEC3"
    )
    assert done.serial == (move.old.serial() or 0) + 1
    records = done.records
    assert move.new.load(ZONE).result == "unchanged"
    with move.new.db.snapshot() as snapshot:
        assert sum(text.count("\n") for text, _ in export_text(snapshot, unsigned=False)) == records
    move.new.now += 20 * DAY
    assert move.new.resign().result == "published", "the zone goes on as any of ours"


def test_keys_continue_with_their_ages_and_the_ds_awaits_evidence(move: Move) -> None:
    move.adopt(at_parent=(move.old_keys()[0].rdata,))
    keyset = move.keyset()
    assert {key.tag for key in keyset.keys} == {key.tag for key in move.old_keys()}
    for key in keyset.keys:
        assert (key.goal, key.active, key.dnskey.state) == (Goal.PRESENT, NOW - 30 * DAY, State.OMNIPRESENT)
        if key.role is Role.KSK:
            assert (key.krrsig.state, key.ds.state) == (State.OMNIPRESENT, State.RUMOURED)
    assert keyset.ttl_zone.largest == 3600, "that of the DNSKEY RRset"
    assert keyset.held == ()


def test_signatures_that_run_out_are_renewed(move: Move) -> None:
    move.new.now += 16 * DAY
    done = move.adopt(shadow=True)
    assert done.comparison is not None, done.problems
    assert done.comparison.kept > 2
    assert done.comparison.fresh > 2
    move.new.now += 13 * DAY
    done = move.adopt()
    assert done.result == "published", done.problems
    assert not move.rrsigs(move.old) & move.rrsigs(move.new)


def test_what_was_not_signed_is(move: Move) -> None:
    lines = [
        line for line in move.text.splitlines() if "RRSIG\tNSEC3 " not in line and "RRSIG\tTXT" not in line
    ]
    move.text = "\n".join(lines) + "\n"
    done = move.adopt(shadow=True)
    assert done.comparison is not None, done.problems
    assert {(d.type, d.detail) for d in done.comparison.differences} == {
        ("TXT", "was not signed and is now"),
        ("NSEC3", "was not signed and is now"),
    }


def test_a_bad_signature_is_renewed_and_the_others_stay(move: Move) -> None:
    lines = move.text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("www.") and "\tRRSIG\tA " in line)
    lines[at] = re.sub(r"(.)(.{6})$", lambda m: ("B" if m[1] == "A" else "A") + m[2], lines[at])
    move.text = "\n".join(lines) + "\n"
    done = move.adopt()
    assert done.result == "published", (done.problems, done.violations)
    assert done.comparison is not None
    assert done.comparison.fresh <= 5
    assert done.comparison.kept > 10


def test_a_rehearsal_leaves_nothing(move: Move) -> None:
    move.note()
    done = move.adopt(shadow=True)
    assert (done.result, move.new.serial()) == ("unchanged", None)
    assert done.comparison is not None
    assert done.comparison.kept > 10
    refused = move.new.load(ZONE)
    assert refused.problems[0].event == "first-publication-waiting", "no other road leads to a first version"
    assert move.new.serial() is None


def test_content_that_differs_is_reported_and_not_accepted_without_the_option(move: Move) -> None:
    move.new.file.write_text(ZONE.replace("192.0.2.2", "192.0.2.99") + "new IN A 192.0.2.7\n")
    rehearsed = move.adopt(shadow=True)
    assert rehearsed.comparison is not None
    told = {(d.owner, d.type, d.kind) for d in rehearsed.comparison.differences}
    assert {("www.example.", "A", "content"), ("new.example.", "A", "content")} <= told
    assert move.adopt().problems[0].event == "delta-guard"
    assert move.new.serial() is None
    assert move.adopt(accept_change=True).result == "published"


def test_a_dnskey_that_was_not_imported_stops_it(move: Move) -> None:
    done = move.adopt(keys=move.old_keys()[:1])
    assert done.problems[0].event == "key-missing"
    assert str(move.old_keys()[1].tag) in done.problems[0].cause
    other = replace(move.old_keys()[1], public_key=move.old_keys()[1].public_key[::-1], states={})
    assert "no key store" in move.adopt(keys=(*move.old_keys(), other)).problems[0].cause


def test_states_that_the_zone_belies_are_refused(move: Move) -> None:
    ksk, zsk = move.old_keys()
    move.text = "\n".join(line for line in move.text.splitlines() if "RRSIG\tSOA" not in line) + "\n"
    assert "signs all of example. according to its state" in move.adopt(keys=(ksk, zsk)).problems[0].cause


def test_nsec3_with_salt_is_refused_with_a_way_out(move: Move) -> None:
    move.text = move.text.replace("NSEC3PARAM\t1 0 0 -", "NSEC3PARAM\t1 0 5 AABB")
    problem = move.adopt().problems[0]
    assert "5 iterations and salt aabb" in problem.cause
    assert "salt-length 0" in problem.remedy


def test_what_is_due_at_once_waits_for_approval(move: Move) -> None:
    """The ZSK is older than the policy has it, and the policy wants another denial: neither begins unasked."""
    move.new.spec = msgspec.structs.replace(move.new.spec, denial="nsec")
    done = move.adopt(keys=move.old_keys(age=100 * DAY))
    assert done.result == "published", done.problems
    assert done.comparison is not None
    assert done.comparison.differing == 0
    assert [text.split(": ")[0].partition(":")[0] for text in done.held] == ["zsk", "denial"]
    zone = SimulatedZone(move.new, POLICY)
    zone._committed = [(NOW, done.serial or 0)]
    zone.run(3 * DAY)
    assert {key.tag for key in zone.keyset.keys} == {key.tag for key in move.old_keys()}
    with move.new.db.snapshot() as snapshot:
        assert (denial_of(snapshot) or POLICY) != POLICY
        assert snapshot.denial_from(b"").rtype == 50  # type: ignore[union-attr]

    zsk_step, denial_step = zone.keyset.held
    zone.tell(lambda keyset: commands.approve(keyset, denial_step))
    assert move.new.resign().result == "published"
    with move.new.db.snapshot() as snapshot:
        assert snapshot.denial_from(b"").rtype == 47  # type: ignore[union-attr]
    asked = commands.roll_over(zone.keyset, Role.ZSK)
    assert zsk_step not in asked.held, "who asks for a roll-over need not approve it as well"
    zone.tell(lambda keyset: commands.approve(keyset, zsk_step))
    assert zone.run(30 * DAY, lambda: len(zone.keyset.keys) > 2)


def test_another_algorithm_in_the_policy_waits_for_approval(move: Move) -> None:
    policy = replace(POLICY, specs=(KeySpec(Role.KSK, 15), KeySpec(Role.ZSK, 15)))
    done = move.adopt(policy=policy, shadow=True)
    assert [text.partition(":")[0] for text in done.held] == ["algorithm", "algorithm"]
    csk = replace(POLICY, specs=(KeySpec(Role.CSK, 13),))
    assert move.adopt(policy=csk, shadow=True).held


def test_a_ksk_whose_ds_only_the_parent_knows_of_counts_as_known(move: Move) -> None:
    ksk, zsk = move.old_keys()
    hidden = replace(ksk, states={**ksk.states, Rec.DS: Stated(State.HIDDEN)})
    move.adopt(keys=(hidden, zsk), at_parent=(ksk.rdata,))
    assert next(key for key in move.keyset().keys if key.role is Role.KSK).ds.state is State.RUMOURED


def test_ttls_of_the_chain_are_remarked_not_refused(move: Move) -> None:
    """Signers differ here; the lower TTL harms nobody."""
    move.text = re.sub(r"\t300\tIN\tNSEC3\t", "\t600\tIN\tNSEC3\t", move.text)
    done = move.adopt()
    assert done.result == "published", done.problems
    assert done.comparison is not None
    assert [text for text in done.comparison.remarks if "RFC 9077" in text]
    assert done.comparison.differing == 0


def test_the_case_of_a_name_in_the_chain_is_no_difference(tmp_path: Path, signer: str) -> None:
    """NSEC keeps the case of the next name (RFC 6840 section 5.1); here names are in lower case."""
    move = Move(tmp_path, signer, denial="nsec")
    move.new.spec = msgspec.structs.replace(move.new.spec, denial="nsec")
    move.text = move.text.replace("NSEC\twww.example.", "NSEC\tWWW.example.")
    assert "NSEC\tWWW.example." in move.text
    done = move.adopt()
    assert done.result == "published", done.problems
    assert done.comparison is not None
    assert (done.comparison.differing, done.held) == (0, ())
