"""A program that judges a long input: what it says counts, if it says it in time and has read everything."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dnssecd.procs import reader_program
from dnssecd.procs.program import OUTPUT_MAX, Ending, Run
from dnssecd.procs.reader_program import run_reader

PIECES = [b"line %d\n" % number for number in range(40_000)]


def run(tmp_path: Path, script: str, *, deadline: float = 10.0, pieces: list[bytes] | None = None) -> Run:
    path = tmp_path / "review"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    given = PIECES if pieces is None else pieces
    return run_reader([str(path)], given, deadline, {"DNSSECD_ZONE": "a.test."}, redact=lambda text: text)


def survivors(group: int) -> list[str]:
    """Return the processes of a group that live after a second: a signal is sent at once, and acts a little later."""
    deadline = time.monotonic() + 1
    while (found := alive(group)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def alive(group: int) -> list[str]:
    """Return the processes of a group that live; who reaps the others is not our matter."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, member = path.read_text().rpartition(")")[2].split()[:3]
            if int(member) == group and state not in "ZX":
                found.append(path.parent.name)
    return found


def test_it_reads_everything_and_accepts(tmp_path: Path) -> None:
    done = run(tmp_path, f'wc -l > {tmp_path}/count; echo "$DNSSECD_ZONE $(pwd)"')
    assert (done.ending, done.status, done.output) == (Ending.DONE, 0, "a.test. /")
    assert (tmp_path / "count").read_text().strip() == "40000"


def test_an_empty_input_is_read(tmp_path: Path) -> None:
    assert run(tmp_path, "exit 0", pieces=[]).ok


@pytest.mark.parametrize(
    ("script", "ending", "status", "said"),
    [
        ("cat > /dev/null; echo no; exit 3", Ending.FAILED, 3, "ended with status 3: no"),
        ("echo bad; exit 1", Ending.FAILED, 1, "ended with status 1: bad"),
        ("cat > /dev/null; exit 75", Ending.FAILED, 75, "status 75"),
        ("exit 0", Ending.FAILED, None, "before it had read all of its input"),
        ("head -c 100000 > /dev/null; exit 0", Ending.FAILED, None, "before it had read all"),
        ("cat > /dev/null & exit 0", Ending.FAILED, None, "before it had read all"),
        ("kill -9 $$", Ending.FAILED, None, "ended by signal 9"),
    ],
)
def test_what_counts_as_no(tmp_path: Path, script: str, ending: Ending, status: int, said: str) -> None:
    done = run(tmp_path, script)
    assert (done.ending, done.status) == (ending, status)
    assert said in done.detail


def test_a_short_input_that_stays_in_the_pipe_was_not_read(tmp_path: Path) -> None:
    assert run(tmp_path, "sleep 0.3; exit 0", pieces=[b"a short zone\n"]).ending is Ending.FAILED


def test_it_is_not_there(tmp_path: Path) -> None:
    done = run_reader([str(tmp_path / "gone")], PIECES, 5.0, {}, redact=lambda text: text)
    assert done.ending is Ending.NOT_STARTED
    assert "No such file" in done.detail


@pytest.mark.parametrize(
    "script", ["sleep 60", "sleep 60 & cat > /dev/null; wait", "cat > /dev/null; sleep 60"]
)
def test_at_its_deadline_all_of_it_is_killed(tmp_path: Path, script: str) -> None:
    started = time.monotonic()
    done = run(tmp_path, f"echo $$ > {tmp_path}/pid; {script}", deadline=0.5)
    assert (done.ending, done.status) == (Ending.LATE, None)
    assert time.monotonic() - started < 10
    assert not survivors(int((tmp_path / "pid").read_text()))


def test_what_it_leaves_behind_is_killed_when_it_ends(tmp_path: Path) -> None:
    done = run(tmp_path, f"sleep 60 & echo $$ > {tmp_path}/pid; cat > /dev/null")
    assert done.ok
    assert not survivors(int((tmp_path / "pid").read_text()))


def test_its_output_is_bounded_and_its_input_is_made_as_it_reads(tmp_path: Path) -> None:
    made = 0

    def pieces() -> Iterator[bytes]:
        nonlocal made
        for _ in range(100_000):
            made += 1
            yield b"x" * 1_000

    path = tmp_path / "review"
    path.write_text("#!/bin/sh\nyes | head -c 1000000\nexit 1\n")
    path.chmod(0o755)
    done = run_reader([str(path)], pieces(), 10.0, {}, redact=lambda text: text)
    assert len(done.output) <= OUTPUT_MAX
    assert made < 1_000


def test_each_descriptor_is_closed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may open a file under the number of a closed one: a second close would take it away."""
    bystanders: list[int] = []
    find_unread = reader_program._unread

    def unread(reading: int) -> int:
        bystanders.append(os.open("/dev/null", os.O_RDONLY))
        return find_unread(reading)

    monkeypatch.setattr(reader_program, "_unread", unread)
    assert run(tmp_path, "cat > /dev/null").ok
    (bystander,) = bystanders
    os.fstat(bystander)
    os.close(bystander)
