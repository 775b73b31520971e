"""The one runner of operators' programs: every way to end. The tests of hook and command channel have more."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from dnssecd.ops.secret_text import redact_text
from dnssecd.procs.program import Ending, Run, run_program


async def run(text: str, deadline_s: float = 20.0, *arguments: str) -> Run:
    argv = ["/bin/sh", "-c", text, "sh", *arguments]
    return await run_program(argv, b"{}\n", deadline_s, redact=lambda text: text.replace("hunter2", "[…]"))


@pytest.mark.parametrize(
    ("text", "ending", "detail"),
    [
        ("read x; echo $x", Ending.DONE, "/bin/sh succeeded after 0."),
        ("echo no; exit 3", Ending.FAILED, "/bin/sh failed with status 3: no"),
        ("echo no >&2; kill -9 $$", Ending.FAILED, "/bin/sh failed with signal 9: no"),
        ("exit 1", Ending.FAILED, "/bin/sh failed with status 1"),
        ("echo with hunter2; exit 1", Ending.FAILED, "/bin/sh failed with status 1: with […]"),
    ],
)
async def test_how_it_ended(text: str, ending: Ending, detail: str) -> None:
    ended = await run(text)
    assert ended.ending is ending
    assert ended.ok is (ending is Ending.DONE)
    assert ended.detail.startswith(detail)


async def test_a_private_key_in_its_output_is_removed() -> None:
    """Also one that does not stand at the beginning."""
    text = "echo cannot send; echo PrivateKey: c2VjcmV0; echo 'Coefficient: c2VjcmV0'; exit 1"
    ended = await run_program(["/bin/sh", "-c", text], b"", 20.0, redact=redact_text)
    assert ended.output == "cannot send [redacted] [redacted]"
    assert ended.detail.endswith(ended.output)


async def test_what_cannot_be_started_is_a_result() -> None:
    for program in ("/nonexistent", "/etc/passwd", "a\0b"):
        ended = await run_program([program, "--token=x"], b"", 5.0, redact=str)
        assert ended.ending is Ending.NOT_STARTED
        assert ended.detail.startswith(f"{program} cannot be run: ")
        assert "token" not in ended.detail


async def test_what_it_left_running_is_killed_at_the_deadline_too(tmp_path: Path) -> None:
    """The program has ended; a process that it started still holds its output."""
    pid = tmp_path / "pid"
    ended = await run('sleep 60 & echo $! >"$1"', 0.3, str(pid))
    assert ended.ending is Ending.LATE
    await gone(int(pid.read_text()))


async def test_a_process_in_another_session_does_not_delay_the_end(tmp_path: Path) -> None:
    """It cannot be killed with the program, and holds the program's output."""
    pid = tmp_path / "pid"
    try:
        ended = await run('setsid sleep 60 & echo $! >"$1"; sleep 60', 0.3, str(pid))
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)
    assert ended.ending is Ending.LATE
    assert ended.seconds < 10


async def test_it_is_killed_when_its_caller_gives_up(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    running = asyncio.create_task(run('echo $$ >"$1.new"; mv "$1.new" "$1"; sleep 60', 20.0, str(pid)))
    while not pid.exists():
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await gone(int(pid.read_text()))


async def gone(pid: int) -> None:
    """Wait for the end of a process that got SIGKILL."""
    async with asyncio.timeout(10):
        while _runs(pid):
            await asyncio.sleep(0.005)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_it_has_a_session_of_its_own_and_runs_in_the_root_directory() -> None:
    ended = await run("pwd; cut -d' ' -f6 /proc/$$/stat")
    place, session = ended.output.split()
    assert place == "/"
    assert int(session) != os.getsid(0)
