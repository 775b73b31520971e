"""A newcomer with a clean clone and the README: each command written there is run as it stands.

Commands are the lines of README.md's ``sh`` blocks. `make demo` runs in the foreground, so what follows it is
run while it goes on; then it gets the Ctrl-C a newcomer would give it, and is started once more.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.__main__ import DNS_PORT
from tests.peers.paths import REPOSITORY
from tests.peers.tools import run

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

READY_LINE = "try this in another terminal:"
SET_UP_SECONDS = 240.0  # a venv with all locked packages
START_SECONDS = 30.0
STOP_SECONDS = 30.0
COMMAND_SECONDS = 60.0
# Not for this test: `make test` would run it again, the others change the machine or take their time.
_LEFT_OUT = re.compile(r"^(sudo |apt|git clone|cd |make (test|check|bench|soak|clean|peers|demo-hsm)\b)")


def commands(text: str) -> list[str]:
    """The commands of a Markdown text: lines of its ``sh`` and ``console`` blocks, prompts and comments removed."""
    blocks = re.findall(r"^```(?:sh|console|shell|bash)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


class Demo:
    """A running `make demo`."""

    def __init__(self, clone: Path, command: str) -> None:
        self.command = command
        self.output = ""
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "VIRTUAL_ENV"))
        }
        self.process = subprocess.Popen(
            shlex.split(command), cwd=clone, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def read_until(self, wanted: str, seconds: float) -> str:
        """Return the output as soon as ``wanted`` stands in it."""
        assert self.process.stdout is not None
        stream, deadline = self.process.stdout.fileno(), time.monotonic() + seconds
        while wanted not in self.output:
            left = deadline - time.monotonic()
            readable, _, _ = select.select([stream], [], [], max(left, 0))
            chunk = os.read(stream, 65536) if readable else b""
            assert chunk, f"`{self.command}` did not say {wanted!r} within {seconds:g} s:\n{self.output}"
            self.output += chunk.decode(errors="replace")
        return self.output

    def interrupt(self) -> str:
        """Ctrl-C: the terminal sends SIGINT to the whole foreground process group. Return all output."""
        os.killpg(self.process.pid, signal.SIGINT)
        rest, _ = self.process.communicate(timeout=STOP_SECONDS)
        return self.output + rest.decode(errors="replace")


@contextmanager
def demo(clone: Path, command: str) -> Iterator[Demo]:
    running = Demo(clone, command)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            os.killpg(running.process.pid, signal.SIGTERM)
            running.process.wait(STOP_SECONDS)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is committed, without .venv and state."""
    target = tmp_path_factory.mktemp("clone") / "dnssecd"
    done = run("git", "clone", "-q", "--no-hardlinks", str(REPOSITORY), str(target))
    assert done.ok, done
    return target


def run_here(clone: Path, command: str) -> None:
    done = subprocess.run(
        command, shell=True, cwd=clone, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )
    assert done.returncode == 0, f"README says `{command}`\n{done.stdout}{done.stderr}"
    if command.startswith(("dig ", "kdig ")):
        assert (
            "status: NOERROR" in done.stdout or "status: NXDOMAIN" in done.stdout or "SOA" in done.stdout
        ), done.stdout


def test_readme_followed_on_a_clean_clone(clone: Path) -> None:
    written = [line for line in commands((clone / "README.md").read_text()) if not _LEFT_OUT.match(line)]
    assert "make demo" in written, written
    start = written.index("make demo")
    for command in written[:start]:
        run_here(clone, command)
    with demo(clone, "make demo") as first:
        shown = first.read_until("Ctrl-C stops", SET_UP_SECONDS)
        assert READY_LINE in shown
        if f"port {DNS_PORT} " not in shown:
            pytest.skip(
                f"port {DNS_PORT} is taken on this machine, so the README's lines would ask somebody else"
            )
        for command in written[start + 1 :]:
            if not command.startswith("make demo"):
                run_here(clone, command)
        for command in suggested(shown):
            run_here(clone, command)
        ended = first.interrupt()
    assert "Traceback" not in ended, ended
    with demo(clone, "make demo") as second:
        shown = second.read_until("Ctrl-C stops", START_SECONDS)
        ended = second.interrupt()
    made = re.search(r"(\d+) signatures made", shown)
    assert made is not None, shown
    assert int(made[1]) <= 4, "a second start proves its keys and signs nothing else"
    assert "Traceback" not in ended, ended


def suggested(shown: str) -> list[str]:
    """The lines the demo itself suggests."""
    after = shown.partition(READY_LINE)[2]
    return [line.strip() for line in after.splitlines() if line.startswith("  ")]


def test_demo_takes_any_zone(clone: Path) -> None:
    (clone / "mine.zone").write_text(
        "@ 60 SOA ns.else.net. me 7 1 1 1 1\n@ 60 NS ns.else.net.\nx 60 TXT mine\n"
    )
    with demo(clone, "make demo ZONE=mine.zone ORIGIN=mine.test") as mine:
        shown = mine.read_until("Ctrl-C stops", SET_UP_SECONDS)
        assert "mine.test. is signed and served: serial 7," in shown
        ended = mine.interrupt()
    assert "Traceback" not in ended, ended
