"""The audit log: every change of a line shows; a crash in the middle of a line does not."""

from __future__ import annotations

import itertools
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dnssecd.signer.audit import AuditLog, check, files_of


def write(path: Path, *events: str) -> AuditLog:
    log = AuditLog(path, itertools.count(1_900_000_000).__next__)
    log.open(lambda why: None)
    for event in events:
        log.append(event, key="k", count=1)
    log.close()
    return log


def test_chain_holds_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    write(path, "a", "b")
    log = write(path, "c")
    reply = check(path, 2)
    assert (reply.ok, reply.count) == (True, 3)
    assert [entry.event for entry in reply.entries] == ["b", "c"]
    assert log.head == f"3:{reply.entries[-1].hash}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def _edit(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b'"a"', b'"x"'), *lines[1:]]


@pytest.mark.parametrize(
    "damage",
    [
        _edit,
        lambda lines: lines[1:],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [lines[0], lines[0], *lines[1:]],
        lambda lines: [lines[0], b"garbage\n", *lines[1:]],
        lambda lines: [*lines, b"{"],
    ],
)
def test_damage_shows(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "audit.log"
    write(path, "a", "b", "c")
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(keepends=True))))
    reply = check(path, 10)
    assert not reply.ok
    assert str(path) in reply.detail


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_line_torn_by_a_crash_is_accounted_for(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "audit.log"
    write(path, "a", "b")
    path.write_bytes(path.read_bytes()[:-cut])
    log = write(path, "c")
    assert log.fault == ""
    reply = check(path, 10)
    assert reply.ok, reply.detail
    events = [entry.event for entry in reply.entries]
    assert events == (["a", "b", "c"] if cut == 1 else ["a", "torn line", "c"])


def test_a_broken_log_is_reported_and_continued(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    write(path, "a", "b", "c")
    path.write_bytes(path.read_bytes().replace(b'"b"', b'"x"'))
    log = write(path, "d")
    assert "line 2" in log.fault
    assert not check(path, 10).ok


def test_a_garbage_last_line_with_a_newline_counts_as_torn_only_once(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    write(path, "a")
    with path.open("ab") as file:
        file.write(b'{"number": 2')
    write(path, "b")
    text = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*text[:1], b'{"number": 3\n', *text[2:]]))
    assert not check(path, 10).ok, "another garbage line than the one accounted for"


def test_full_files_are_closed_and_the_chain_continues(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    for start in (0, 20):  # a restart in between
        log = AuditLog(path, itertools.count(1_900_000_000).__next__, rotate_octets=1000)
        log.open(lambda why: None)
        for number in range(start, start + 20):
            log.append("used", key="k", signatures=number)
        log.close()
        assert log.fault == ""
    assert len(files_of(path)) > 3
    reply = check(path, 1000)
    assert reply.ok, reply.detail
    assert [entry.fields["signatures"] for entry in reply.entries if entry.event == "used"] == list(range(40))
    files_of(path)[0].unlink()
    assert check(path, 1).ok, "the oldest may be archived elsewhere"
    middle = files_of(path)[1]
    lines = middle.read_bytes().splitlines(keepends=True)
    middle.write_bytes(b"".join(lines[:-1]))
    assert not check(path, 1).ok
    middle.unlink()
    assert not check(path, 1).ok, "a file from the middle is missed"


def test_a_crash_between_closing_a_file_and_starting_the_next(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    write(path, "a", "b")
    path.rename(f"{path}.2")
    write(path, "c")
    reply = check(path, 10)
    assert reply.ok, reply.detail
    assert [entry.event for entry in reply.entries] == ["a", "b", "continued", "c"]


def test_a_log_that_was_cut_off_or_replaced_shows_to_who_knows_its_head(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = write(path, "a", "b", "c")
    assert check(path, 10, log.head).ok
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))
    assert check(path, 10).ok
    assert "cut off" in check(path, 10, log.head).detail
    path.unlink()
    write(path, "x", "y", "z")
    assert "replaced" in check(path, 10, log.head).detail


def test_the_log_has_a_bound_and_says_what_it_removed(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path, itertools.count(1_900_000_000).__next__, rotate_octets=1000, kept_files=3)
    log.open(lambda why: None)
    for number in range(200):
        log.append("used", key="k", signatures=number)
        assert len(files_of(path)) <= 4
    log.close()
    reply = check(path, 1000, log.head)
    assert reply.ok
    assert reply.detail == "", "what the service removed is in the log"
    assert [entry.event for entry in reply.entries].count("oldest file removed") >= 1
    assert sum(file.stat().st_size for file in files_of(path)) < 4 * 1500
    files_of(path)[0].unlink()
    assert "not by the key service" in check(path, 1).detail


@pytest.mark.parametrize("loss", ["cut", "gone", "replaced"])
def test_what_was_lost_while_the_service_was_down_is_noticed(tmp_path: Path, loss: str) -> None:
    path = tmp_path / "audit.log"
    write(path, *"abcdef")
    lines = path.read_bytes().splitlines(keepends=True)
    if loss == "cut":
        path.write_bytes(b"".join(lines[:2]))
    elif loss == "gone":
        path.unlink()
    else:
        other = tmp_path / "other" / "audit.log"
        other.parent.mkdir()
        write(other, *"ghijkl")
        path.write_bytes(other.read_bytes())
    log = AuditLog(path, itertools.count(1_900_000_000).__next__)
    log.open(lambda why: None)
    assert log.fault
    log.close()
    untouched = AuditLog(path, itertools.count(1_900_000_000).__next__)
    untouched.open(lambda why: None)
    assert untouched.fault == "", "reported once; the service goes on from what there is"
    untouched.close()


def test_a_head_noted_before_a_crash_is_behind_the_log(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = write(path, *"abc")
    log.open(lambda why: None)
    log.append("d")
    os.close(log._descriptor)  # killed: nothing was noted
    again = AuditLog(path, itertools.count(1_900_000_000).__next__)
    again.open(lambda why: None)
    assert again.fault == ""
    again.close()


@pytest.mark.parametrize("loss", ["removed", "cut off", "replaced"])
def test_what_is_lost_while_the_service_runs_is_noticed(tmp_path: Path, loss: str) -> None:
    path = tmp_path / "audit.log"
    told: list[str] = []
    log = AuditLog(path, itertools.count(1_900_000_000).__next__)
    log.open(told.append)
    for event in "abc":
        log.append(event)
    if loss == "removed":
        path.unlink()
    elif loss == "cut off":
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.rename(tmp_path / "elsewhere")
        path.write_text("another file\n")
    log.append("d")
    log.append("e")
    assert len(told) == 1
    assert loss in told[0]
    assert log.fault == told[0]
    log.close()
    assert '"event":"e"' in path.read_text(), "what comes after is written where it belongs"
    if loss == "replaced":
        assert (tmp_path / "audit.log.found-before-4").read_text() == "another file\n"


@contextmanager
def bound(what: int, number: int) -> Iterator[None]:
    """Bound a resource of this process."""
    before = resource.getrlimit(what)
    resource.setrlimit(what, (number, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


@pytest.mark.parametrize("octets", [0, 1, 100])
def test_an_entry_that_did_not_fit_on_the_disk_leaves_no_trace(tmp_path: Path, octets: int) -> None:
    """A bound on the size of files stands for the full disk: the start of the entry is written, the rest is not."""
    path = tmp_path / "audit.log"
    log = AuditLog(path, itertools.count(1_900_000_000).__next__)
    log.open(lambda why: None)
    log.append("a", key="k")
    with bound(resource.RLIMIT_FSIZE, path.stat().st_size + octets), pytest.raises(OSError, match=r"."):
        log.append("b", key="k")
    log.append("c", key="k")
    assert (check(path, 9, log.head).detail, log.fault) == ("", "")
    assert [entry.event for entry in check(path, 9).entries] == ["a", "c"]
    log.close()


def test_a_file_that_cannot_be_started_is_started_later(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path, itertools.count(1_900_000_000).__next__, rotate_octets=400)
    log.open(lambda why: None)
    with bound(resource.RLIMIT_NOFILE, 0):
        for _ in range(5):
            log.append("a", key="k")
    assert len(files_of(path)) == 1
    log.append("b", key="k")
    log.append("c", key="k")
    assert len(files_of(path)) == 2
    assert (check(path, 9, log.head).detail, log.fault) == ("", "")
    log.close()


def test_a_file_whose_first_entry_found_no_room_gets_it_later(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path, itertools.count(1_900_000_000).__next__, rotate_octets=400)
    log.open(lambda why: None)
    while path.stat().st_size <= 300:
        log.append("a", key="k")
    before = path.stat().st_size
    real = os.fdatasync

    def sync(descriptor: int) -> None:
        if os.fstat(descriptor).st_size < before:
            raise OSError(28, "No space left on device")
        real(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fdatasync", sync)
        log.append("b", key="k", more="x" * 200)
        with pytest.raises(OSError, match="No space"):
            log.append("c", key="k")
    log.append("d", key="k")
    log.close()
    again = AuditLog(path, itertools.count(1_900_000_000).__next__)
    again.open(lambda why: None)
    assert (check(path, 9, again.head).detail, again.fault) == ("", "")
    assert [entry.event for entry in check(path, 3).entries] == ["b", "continued", "d"]
    again.close()
