"""What a review stops, what waits for an operator, and which decision counts for it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from dnssecd.pipeline.jobs.load import load_file
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.output import write_output
from dnssecd.pipeline.jobs.spec import Decisions, ReviewSpec
from dnssecd.pipeline.version import state
from dnssecd.replacing import replace
from tests.pipeline_zone import ZONE, PipelineZone, running_signer
from tests.unit.core_ceremony.world import A

DAY = 86_400
SOA_CHANGE = ("3600 600 86400", "3600 600 1209600")
CHANGED = ZONE.replace("192.0.2.2", "192.0.2.22")
Maker = Callable[..., PipelineZone]


@pytest.fixture(scope="module")
def socket() -> Iterator[str]:
    with running_signer() as path:
        yield path


@pytest.fixture
def make(tmp_path: Path, socket: str) -> Iterator[Maker]:
    made: list[PipelineZone] = []

    def maker(script: str = "", **review: object) -> PipelineZone:
        program = tmp_path / "review"
        program.write_text(f"#!/bin/sh\ncd {tmp_path}\n{script}\n")
        program.chmod(0o755)
        home = tmp_path / "state" / "zones"
        home.mkdir(parents=True)
        spec = ReviewSpec((str(program),) if script else (), timeout_s=10, **review)  # type: ignore[arg-type]
        made.append(PipelineZone(home, socket, review=spec))
        return made[-1]

    yield maker
    for zone in made:
        zone.close()


def load(zone: PipelineZone, text: str, **decided: str) -> Outcome:
    zone.file.write_text(text)
    tools = replace(zone.tools(), decisions=Decisions(**decided))
    return load_file(zone.db, zone.spec, zone.file, tools)


def event(outcome: Outcome) -> str:
    return outcome.problems[0].event if outcome.problems else ""


def test_a_program_reads_the_zone_that_is_published(make: Maker, tmp_path: Path) -> None:
    zone = make('cat > "zone.$DNSSECD_SERIAL.$DNSSECD_PREVIOUS_SERIAL.$DNSSECD_INPUT"')
    assert load(zone, ZONE).result == "published"
    output = tmp_path / "output"
    assert write_output(zone.db, zone.spec, output).serial == 1
    assert (tmp_path / "zone.1..zone").read_text() == output.read_text()
    assert load(zone, CHANGED).result == "published"
    assert (tmp_path / "zone.2.1.zone").exists()


def test_or_the_difference(make: Maker, tmp_path: Path) -> None:
    zone = make("cat > difference", difference=True)
    load(zone, ZONE)
    load(zone, CHANGED)
    lines = [line.split() for line in (tmp_path / "difference").read_text().splitlines()]
    assert [(line[0], line[3], line[-1]) for line in lines if line[3] != "SOA"] == [
        ("-www.example.", "A", "192.0.2.2"),
        ("+www.example.", "A", "192.0.2.22"),
    ]
    assert [line[0] for line in lines if line[3] == "SOA"] == ["-example.", "+example."]


@pytest.mark.parametrize(
    ("script", "name", "result"),
    [
        ("cat > /dev/null; exit 1", "review-rejected", "rejected"),
        ("exit 0", "review-failed", "failed"),
        ("kill -9 $$", "review-failed", "failed"),
        ("cat > /dev/null; exit 75", "review-waiting", "rejected"),
    ],
)
def test_without_a_yes_nothing_changes(make: Maker, script: str, name: str, result: str) -> None:
    zone = make(f'test "$DNSSECD_PREVIOUS_SERIAL" || exec cat > /dev/null\n{script}')
    load(zone, ZONE)
    outcome = load(zone, CHANGED)
    assert (event(outcome), outcome.result, zone.serial()) == (name, result, 1)
    assert event(load(zone, CHANGED)) == name


def test_renewed_signatures_are_reviewed_by_the_program(make: Maker) -> None:
    zone = make('test "$DNSSECD_PREVIOUS_SERIAL" || exec cat > /dev/null\ncat > /dev/null; exit 1')
    load(zone, ZONE)
    zone.now += 25 * DAY
    assert event(zone.resign()) == "review-rejected"
    assert zone.serial() == 1


def test_an_operator_decides_on_content(make: Maker, tmp_path: Path) -> None:
    zone = make()
    first = load(zone, ZONE)
    assert (event(first), first.serial) == ("review-waiting", None)
    kept = tmp_path / "state/review/zone.zone"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert load(zone, ZONE, approved=first.review).result == "published"
    assert not kept.exists()

    second = load(zone, CHANGED)
    assert second.review not in ("", first.review)
    assert load(zone, CHANGED).review == second.review, "the same content has the same digest"
    assert event(load(zone, CHANGED, refused=second.review)) == "review-rejected"
    third = load(zone, CHANGED + "more IN A 192.0.2.9\n", approved=second.review)
    assert event(third) == "review-waiting", "an approval is for one content only"
    assert event(load(zone, CHANGED, approved=first.review)) == "review-waiting"
    assert zone.serial() == 1
    assert load(zone, CHANGED, approved=second.review).result == "published"


def test_signatures_and_serials_need_no_operator(make: Maker) -> None:
    zone = make()
    load(zone, ZONE, approved=load(zone, ZONE).review)
    zone.now += 25 * DAY
    assert zone.resign().result == "published"
    assert load(zone, ZONE.replace("host 1 ", "host 9 ")).serial == 9


def test_a_file_that_cannot_be_written_stays(make: Maker, tmp_path: Path) -> None:
    zone = make("cat > /dev/null")
    load(zone, ZONE)
    output = tmp_path / "out" / "zone"
    missing = write_output(zone.db, zone.spec, output)
    assert (event(missing), missing.result) == ("output-file-failed", "failed")
    output.parent.mkdir()
    write_output(zone.db, zone.spec, output)
    before = output.read_bytes()
    load(zone, CHANGED)
    (tmp_path / "out/.zone.dnssecd").mkdir()
    assert event(write_output(zone.db, zone.spec, output)) == "output-file-failed"
    assert output.read_bytes() == before
    (tmp_path / "out/.zone.dnssecd").rmdir()
    write_output(zone.db, zone.spec, output)
    assert output.read_bytes() != before
    assert [path.name for path in output.parent.iterdir()] == ["zone"]
    assert output.stat().st_mode & 0o777 == 0o644


def test_an_operator_decides_on_the_soa_but_not_on_its_serial(make: Maker) -> None:
    zone = make()
    first = load(zone, ZONE)
    load(zone, ZONE, approved=first.review)
    assert load(zone, ZONE.replace("host 1 ", "host 5 ")).result == "published"
    other_timers = load(zone, ZONE.replace(*SOA_CHANGE))
    assert event(other_timers) == "review-waiting"
    assert zone.serial() == 5
    assert load(zone, ZONE.replace(*SOA_CHANGE), approved=other_timers.review).result == "published"
    zone.now += 25 * DAY
    assert zone.resign().result == "published", "a version that only renews signatures needs no decision"


def test_an_operator_decides_on_keys_of_other_signers_in_the_input(make: Maker) -> None:
    zone = make()
    zone.spec = msgspec.structs.replace(zone.spec, foreign_input=True)
    first = load(zone, ZONE)
    load(zone, ZONE, approved=first.review)
    key = f"@ IN DNSKEY 256 3 13 {b64encode(A.public).decode()}\n"
    with_key = load(zone, ZONE + key)
    assert event(with_key) == "review-waiting"
    with zone.db.snapshot() as snapshot:
        assert snapshot.state(state.FOREIGN) == {"dnskeys": []}, "the daemon plans nothing with it"
    assert load(zone, ZONE + key, approved=with_key.review).result == "published"
    with zone.db.snapshot() as snapshot:
        assert snapshot.state(state.FOREIGN) == {"dnskeys": [A.rdata.hex()]}
    assert load(zone, ZONE + key).result == "unchanged"
    gone = load(zone, ZONE)
    assert event(gone) == "review-waiting"
    assert gone.review != with_key.review
