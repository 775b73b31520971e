"""Zones that come signed and are served as they are: what is published, and what is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset, pack, unpack
from dnssecd.core.dns.rrtypes import DNSKEY
from dnssecd.core.keys.keyset import ds_rdata
from dnssecd.core.verify import inline_checker
from dnssecd.core.verify.checker import SignatureJob
from dnssecd.core.verify.keys import key_tag
from dnssecd.core.zone.changeset import Change
from dnssecd.pipeline.jobs import pass_through
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.output import write_output
from dnssecd.pipeline.jobs.pass_through import pass_file
from dnssecd.pipeline.jobs.passed_dates import PassedDates
from dnssecd.pipeline.jobs.prove import prove
from dnssecd.pipeline.jobs.restore import bring_back
from dnssecd.pipeline.jobs.spec import Decisions, ReviewSpec
from dnssecd.pipeline.jobs.verify_published import verify_published
from dnssecd.pipeline.version import state
from dnssecd.replacing import replace
from tests.pipeline_zone import ZONE, PipelineZone, running_signer

DAY = 86_400


@pytest.fixture(scope="module")
def socket() -> Iterator[str]:
    with running_signer() as path:
        yield path


class World:
    """A signer elsewhere (``signer``), and the zone that is served as it comes (``zone``)."""

    def __init__(self, home: Path, socket: str, **spec: Any) -> None:
        self.home, self.socket = home, socket
        (home / "elsewhere").mkdir()
        self.signer = PipelineZone(home / "elsewhere", socket)
        self.zone = self.made(**spec)

    def made(self, name: str = "zones", **spec: Any) -> PipelineZone:
        home = self.home / "state" / name
        home.mkdir(parents=True)
        zone = PipelineZone(home, "/nonexistent", verify_only=True, signed=False, **spec)
        return zone

    def signed(self, text: str = ZONE) -> str:
        made = self.signer.load(text, accept_change=True)
        assert made.result in ("published", "unchanged"), made
        output = self.home / "signed"
        write_output(self.signer.db, self.signer.spec, output)
        return output.read_text()

    def take(self, text: str, **more: Any) -> Outcome:
        self.zone.file.write_text(text)
        tools = replace(self.zone.tools(), decisions=more.pop("decisions", Decisions()))
        return pass_file(self.zone.db, self.zone.spec, self.zone.file, tools, **more)

    def served(self) -> str:
        output = self.home / "served"
        write_output(self.zone.db, self.zone.spec, output)
        return output.read_text()

    def ds(self) -> bytes:
        with self.signer.db.snapshot() as snapshot:
            keys = snapshot.rrset(APEX, DNSKEY)
        assert keys is not None
        (ksk,) = (rdata for rdata in unpack(keys.rdata) if rdata[1] & 1)
        return ds_rdata(self.zone.spec.origin, ksk, 2)

    def close(self) -> None:
        self.signer.close()
        self.zone.close()


@pytest.fixture
def world(tmp_path: Path, socket: str) -> Iterator[World]:
    made = World(tmp_path, socket)
    yield made
    made.close()


def refusal(outcome: Outcome) -> str:
    assert outcome.result == "rejected", outcome
    (problem,) = outcome.problems
    assert problem.event == "input-error"
    assert "previous version is still served" in problem.remedy or "zone remove" in problem.remedy
    return problem.cause


def test_each_version_is_published_record_by_record(world: World) -> None:
    first = world.signed()
    assert world.take(first).result == "published"
    assert world.served() == first
    assert world.take(first).result == "unchanged"
    second = world.signed(ZONE.replace("192.0.2.2", "192.0.2.22").replace("sub IN NS ns.sub\n", ""))
    outcome = world.take(second)
    assert (outcome.result, outcome.signatures) == ("published", 0)
    assert world.served() == second
    assert verify_published(world.zone.db, world.zone.spec, world.zone.tools()).whole
    assert prove(world.zone.db, world.zone.spec, world.zone.tools(), outcome.serial).whole


@pytest.mark.parametrize("before", ["", "the mark of other keys", None])
def test_signatures_that_did_not_change_are_not_verified_again(
    world: World, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    """Unless it is not known which keys they were verified by, as with an algorithm that could not be checked then."""
    checked: list[int] = []

    def counting(jobs: list[SignatureJob]) -> list[bool]:
        checked.append(len(jobs))
        return inline_checker(jobs)

    def take(text: str) -> int:
        checked.clear()
        world.zone.file.write_text(text)
        tools = replace(world.zone.tools(), checker=counting)
        assert pass_file(world.zone.db, world.zone.spec, world.zone.file, tools).result == "published"
        return sum(checked)

    with monkeypatch.context() as then:
        if before is not None:
            then.setattr(pass_through, "checked_keys", lambda view: before)
        whole = take(world.signed())
    world.zone.now += 60
    again = take(world.signed(ZONE.replace("192.0.2.2", "192.0.2.22")))
    assert again == whole if before is not None else 0 < again <= 3 < whole


def test_renewed_signatures_are_a_new_version(world: World) -> None:
    first = world.take(world.signed())
    world.signer.now += 25 * DAY
    assert world.signer.resign().result == "published"
    world.zone.now += 25 * DAY
    renewed = world.signed()
    outcome = world.take(renewed)
    assert outcome.result == "published"
    assert first.earliest_expiration is not None
    assert outcome.earliest_expiration is not None
    assert outcome.earliest_expiration > first.earliest_expiration
    assert outcome.next_due is None, "nothing is signed here"
    assert world.served() == renewed


def signatures_over_www(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(r"www\.example\.\s.*\sRRSIG\s+A\s", line)]


@pytest.mark.parametrize("twice", [False, True])
def test_a_stale_signature_beside_a_good_one_ends_nothing(world: World, twice: bool) -> None:
    """Else the EXPIRE option, taken from it, would have all secondaries drop the zone at once."""
    first = world.signed()
    stale = signatures_over_www(first)
    world.signer.now += 28 * DAY + 40_000
    assert world.signer.resign().result == "published"
    good = world.signed()
    if twice:  # the same two signatures are in an earlier version, when the newer one is not valid yet
        outcome = world.take("\n".join([first.rstrip("\n"), *signatures_over_www(good), ""]))
        assert "rrsig-not-yet-valid" in outcome.warnings[1].cause
    world.zone.now += 30 * DAY
    outcome = world.take("\n".join([good.rstrip("\n"), *stale, ""]))
    assert outcome.result == "published"
    assert "rrsig-expired" in outcome.warnings[1].cause
    assert outcome.earliest_expiration is not None
    assert outcome.earliest_expiration > world.zone.now
    assert prove(world.zone.db, world.zone.spec, world.zone.tools(), outcome.serial).problems == ()


def test_a_signature_by_a_key_that_is_gone_makes_a_version_last_no_longer(world: World) -> None:
    first = world.signed()
    alone = world.take(first).earliest_expiration
    (line,) = signatures_over_www(first)
    other = re.sub(r"( 300 )\d{4}", r"\g<1>2035", line)
    tag = int(line.split(" example. ")[0].split()[-1])
    other = other.replace(f" {tag} example. ", f" {(tag + 1) % 65_536} example. ")
    assert other != line
    world.zone = world.made("again")
    outcome = world.take("\n".join([first.rstrip("\n"), other, ""]))
    assert "rrsig-unknown-key" in outcome.warnings[1].cause
    assert outcome.earliest_expiration == alone


def test_of_signatures_by_two_keys_the_later_counts_only_while_its_key_is_there(
    world: World,
) -> None:
    origin = world.zone.spec.origin
    keys = [bytes((1, 0, 3, number)) + bytes((number,)) * 64 for number in (13, 13, 14)]
    keys[1] = keys[1][:-1] + b"\7"
    now = 1_900_000_000

    def rrsig(key: bytes, ends: int, begins: int = now - 60) -> bytes:
        head = bytes((0, 1, key[3], 2)) + (300).to_bytes(4) + ends.to_bytes(4) + begins.to_bytes(4)
        return head + key_tag(key).to_bytes(2) + origin + bytes(64)

    first, second, third = rrsig(keys[0], now + 10), rrsig(keys[1], now + 90), rrsig(keys[2], now + 50)
    of_all = PassedDates(origin, RRset(APEX, DNSKEY, 300, pack(keys)), now)
    assert of_all.until(1, pack([first, second])) == now + 90
    assert of_all.until(1, pack([first, second, third])) == now + 50
    assert of_all.until(1, pack([first, rrsig(keys[1], now + 90, now + 1)])) == now + 10
    assert of_all.until(1, pack([rrsig(keys[1], now - 1), first])) == now + 10
    assert of_all.until(1, pack([rrsig(keys[1], now - 1)])) == now - 1
    assert of_all.until(DNSKEY, pack([first, second])) == now + 10
    without = PassedDates(origin, RRset(APEX, DNSKEY, 300, pack(keys[:1])), now)
    assert without.until(1, pack([first, second])) == now + 10


@pytest.mark.parametrize(
    ("pattern", "by", "why"),
    [
        (r"(www\.example\.\s+300\s+IN\s+A\s+)192.0.2.2", r"\g<1>192.0.2.99", "rrsig-bad"),
        (r"(?m)^.*\sNSEC3\s1 0.*\n", "", "nsec3-"),
        (r"(?m)^.*\sRRSIG\s+A\s.*\n", "", "rrset-unsigned"),
        (r"(?m)^.*\sDNSKEY\s+256.*\n", "", ""),
        (r"(?m)^.*\sRRSIG\s.*\n", "", ""),
        (r"(?m)^.*\s(RRSIG|NSEC3?|NSEC3PARAM|DNSKEY|ZONEMD)\s.*\n", "", "dnskey-missing"),
    ],
)
def test_what_does_not_verify_is_held_and_the_last_good_version_stays(
    world: World, pattern: str, by: str, why: str
) -> None:
    good = world.signed()
    world.take(good)
    newer = world.signed(ZONE.replace("192.0.2.1\n", "192.0.2.11\n"))
    bad = re.sub(pattern, by, newer, count=1 if why == "nsec3-" else 0)
    assert bad != newer
    assert why in refusal(world.take(bad))
    assert world.served() == good
    assert world.take(newer).result == "published"


def test_expired_signatures_are_held(world: World) -> None:
    good = world.signed()
    world.take(good)
    newer = world.signed(ZONE.replace("192.0.2.1\n", "192.0.2.11\n"))
    world.zone.now += 40 * DAY
    assert "rrsig-expired" in refusal(world.take(newer))


def flipped(ds: bytes) -> bytes:
    """Another DS; one digest of 256 ends with any given octet."""
    return ds[:-1] + bytes([ds[-1] ^ 1])


def test_it_leads_to_the_configured_anchor(world: World) -> None:
    signed = world.signed()
    right = world.ds()
    world.zone.spec = msgspec.structs.replace(world.zone.spec, input_anchor=(flipped(right),))
    assert "input_anchor" in refusal(world.take(signed))
    assert world.zone.serial() is None
    world.zone.spec = msgspec.structs.replace(world.zone.spec, input_anchor=(right,))
    assert world.take(signed).result == "published"


def test_its_zonemd_is_checked(world: World) -> None:
    world.signer.spec = msgspec.structs.replace(world.signer.spec, zonemd=True)
    signed = world.signed()
    wrong = re.sub(r"(ZONEMD\s+\d+\s+\d+\s+\d+\s+)[0-9A-Fa-f]{2}", r"\g<1>00", signed)
    assert wrong != signed
    refusal(world.take(wrong))
    world.zone.spec = msgspec.structs.replace(world.zone.spec, input_zonemd="require")
    assert world.take(signed).result == "published"


@pytest.mark.parametrize("zonemd", [False, True])
def test_another_anchor_or_zonemd_setting_is_no_damage_of_the_served_version(
    world: World, zonemd: bool
) -> None:
    """It is reported; but to stop serving the version would leave the secondaries without any."""
    world.zone.spec = msgspec.structs.replace(world.zone.spec, input_zonemd="ignore")
    world.signer.spec = msgspec.structs.replace(world.signer.spec, zonemd=zonemd)
    outcome = world.take(world.signed())
    assert outcome.result == "published"
    other = msgspec.structs.replace(
        world.zone.spec, input_anchor=(flipped(world.ds()),), input_zonemd="require"
    )
    tools = world.zone.tools()
    (problem,) = verify_published(world.zone.db, other, tools).problems
    assert problem.event == "verification-failed"
    assert prove(world.zone.db, other, tools, outcome.serial).problems == ()


@pytest.mark.parametrize("glue", [False, True])
def test_a_damaged_version_is_found(world: World, glue: bool) -> None:
    """By its signatures; where nothing is signed, by its ZONEMD."""
    world.signer.spec = msgspec.structs.replace(world.signer.spec, zonemd=True)
    outcome = world.take(world.signed())
    owner = b"sub\0ns\0" if glue else b"www\0"
    with world.zone.db.write() as transaction:
        had = transaction.rrset(owner, 1)
        assert had is not None
        transaction.apply_content([Change(owner, 1, had, had._replace(rdata=had.rdata[:-1] + b"\x63"))])
        transaction.commit_if(transaction.generation)
    (problem,) = prove(world.zone.db, world.zone.spec, world.zone.tools(), outcome.serial).problems
    assert problem.event == "verification-failed"


def test_a_change_needs_a_serial_after_the_served_one(world: World) -> None:
    world.take(world.signed())
    world.signer.db.close()
    (world.home / "other").mkdir()
    world.signer = PipelineZone(world.home / "other", world.socket)
    same = world.signed(ZONE.replace("192.0.2.2", "192.0.2.99"))
    assert "the same as" in refusal(world.take(same, accept_change=True))


def test_a_change_of_most_names_waits_for_an_operator(world: World) -> None:
    many = "".join(f"n{number} IN A 192.0.2.1\n" for number in range(20))
    world.take(world.signed(ZONE + many))
    few = world.signed()
    (problem,) = world.take(few).problems
    assert problem.event == "delta-guard"
    assert world.take(few, accept_change=True).result == "published"


def test_a_zone_that_was_signed_here_stays_what_it_is(world: World) -> None:
    signed = world.signed()
    own, there = world.zone, world.signer
    world.zone = there
    there.spec = msgspec.structs.replace(there.spec, verify_only=True, signed=False)
    assert "was signed here before" in refusal(world.take(signed.replace(" 1 3600", " 9 3600")))
    assert there.resign().result == "unchanged"
    world.zone = own
    there.spec = msgspec.structs.replace(there.spec, verify_only=False, signed=True)


def test_a_passed_zone_is_not_signed_when_the_configuration_changes(world: World) -> None:
    world.take(world.signed())
    zone = world.zone
    zone.signer.close()
    again = PipelineZone(zone.home, world.socket)
    outcome = again.load(ZONE.replace("host 1 ", "host 7 "))
    assert "signed by another signer" in refusal(outcome)
    assert again.resign().result == "rejected"
    assert again.serial() == 1
    again.close()


def test_an_operator_decides_on_its_keys_too(tmp_path: Path, socket: str) -> None:
    world = World(tmp_path, socket, review=ReviewSpec())
    first = world.signed()
    waiting = world.take(first)
    assert waiting.problems[0].event == "review-waiting"
    assert world.take(first, decisions=Decisions(approved=waiting.review)).result == "published"
    world.close()


def test_a_restored_version_is_served_as_it_is(world: World) -> None:
    signed = world.signed()
    world.take(signed)
    with world.zone.db.write() as transaction:
        held = state.Restored(at=world.zone.now, who="x", source="backup", floor=7)
        transaction.set_state(state.RESTORED, state.to_document(held))
        transaction.commit_state()
    outcome = bring_back(world.zone.db, world.zone.spec, world.zone.tools(), 7)
    assert (outcome.result, outcome.serial) == ("unchanged", 1)
    with world.zone.db.snapshot() as snapshot:
        assert state.restored_from(snapshot.state(state.RESTORED)) is None
    assert world.served() == signed


def hold(zone: PipelineZone) -> None:
    """Put the note into the database with which a restored zone is held."""
    with zone.db.write() as transaction:
        held = state.Restored(at=zone.now, who="x", source="backup", floor=7)
        transaction.set_state(state.RESTORED, state.to_document(held))
        transaction.commit_state()


def is_held(zone: PipelineZone) -> bool:
    with zone.db.snapshot() as snapshot:
        return state.restored_from(snapshot.state(state.RESTORED)) is not None


def expired(world: World) -> str:
    """A restored version whose signatures have expired, and which no job serves."""
    signed = world.signed()
    world.take(signed)
    hold(world.zone)
    world.signer.now += 29 * DAY
    assert world.signer.resign().result == "published"
    world.zone.now += 30 * DAY
    outcome = bring_back(world.zone.db, world.zone.spec, world.zone.tools(), 7)
    assert (outcome.serial, outcome.problems[0].event) == (None, "verification-failed")
    assert "when its input brings a version that verifies" in outcome.problems[0].remedy
    return signed


def test_a_restored_version_that_expired_is_replaced_by_a_valid_input(world: World) -> None:
    same = expired(world)
    again = world.take(same)
    cause = again.problems[0].cause
    assert "is the restored version of example., which does not verify: " in cause
    assert "rrsig-expired" in cause
    assert (again.result, again.serial) == ("rejected", None), "or it would be served"
    worse = world.take(same.replace("192.0.2.1\n", "192.0.2.11\n"))
    assert (worse.result, worse.serial) == ("rejected", None)
    assert is_held(world.zone)
    renewed = world.signed(ZONE.replace("192.0.2.1\n", "192.0.2.11\n"))
    outcome = world.take(renewed)
    assert (outcome.result, outcome.serial) == ("published", 3)
    assert world.served() == renewed
    assert not is_held(world.zone)
    with world.zone.db.snapshot() as snapshot:
        assert snapshot.journal_size(1) is None, "no difference leads from a version that was not served"
    assert verify_published(world.zone.db, world.zone.spec, world.zone.tools()).whole


def test_a_restored_version_that_verifies_by_now_is_served_by_its_input(world: World) -> None:
    """As after a clock that was wrong."""
    same = expired(world)
    world.zone.now -= 30 * DAY
    outcome = world.take(same)
    assert (outcome.result, outcome.serial, outcome.whole) == ("unchanged", 1, True)
    assert not is_held(world.zone)


def test_a_restored_version_that_is_wrong_is_replaced_by_the_right_one_of_its_serial(world: World) -> None:
    right = world.signed()
    world.take(right)
    with world.zone.db.write() as transaction:
        had = transaction.rrset(b"www\0", 1)
        assert had is not None
        transaction.apply_content([Change(b"www\0", 1, had, had._replace(rdata=had.rdata[:-1] + b"\x63"))])
        transaction.commit_if(transaction.generation)
    hold(world.zone)
    assert bring_back(world.zone.db, world.zone.spec, world.zone.tools(), 7).serial is None
    outcome = world.take(right)
    assert (outcome.result, outcome.serial) == ("published", 1)
    assert world.served() == right


def test_every_signature_beside_a_restored_version_is_verified(world: World) -> None:
    """The restored version was not verified here: what it has in common with a new one proves nothing."""
    world.take(world.signed())
    hold(world.zone)
    checked: list[int] = []

    def counting(jobs: list[SignatureJob]) -> list[bool]:
        checked.append(len(jobs))
        return inline_checker(jobs)

    signed = world.signed(ZONE.replace("192.0.2.1\n", "192.0.2.11\n"))
    world.zone.file.write_text(signed)
    tools = replace(world.zone.tools(), checker=counting)
    assert pass_file(world.zone.db, world.zone.spec, world.zone.file, tools).result == "published"
    assert sum(checked) == len(re.findall(r"\tRRSIG\t", signed))
