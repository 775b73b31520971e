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
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.__main__ import DNS_PORT
from tests.peers.nameserver import PrimaryZone, SecondaryZone
from tests.peers.nsd import Nsd
from tests.peers.paths import REPOSITORY
from tests.peers.process import LOOPBACK, Servers, free_port
from tests.peers.tools import run
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

#: Its commands are for root: test_first_zone.py runs them on a machine of their own.
FIRST_ZONE = "\n## Your first real zone\n"
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


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to what was started and all that it started, and SIGKILL where that does not help."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)
        raise AssertionError(f"{process.args} did not end within {STOP_SECONDS:g} s") from None


@contextmanager
def demo(clone: Path, command: str) -> Iterator[Demo]:
    running = Demo(clone, command)
    try:
        yield running
    finally:
        end(running.process)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is committed, without .venv and state."""
    target = tmp_path_factory.mktemp("clone") / "dnssecd"
    done = run("git", "clone", "-q", "--no-hardlinks", str(REPOSITORY), str(target))
    assert done.ok, done
    return target


def at_port(command: str, port: str) -> str:
    """The README's line, to be asked where the demo is: where its port is taken, at another (which it says)."""
    return re.sub(rf"(?<=-p ){DNS_PORT}\b", port, command)


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
    text = (clone / "README.md").read_text().replace(first_zone_section(), "")
    written = [line for line in commands(text) if not _LEFT_OUT.match(line)]
    assert "make demo" in written, written
    start = written.index("make demo")
    for command in written[:start]:
        run_here(clone, command)
    with demo(clone, "make demo") as first:
        shown = first.read_until("Ctrl-C stops", SET_UP_SECONDS)
        assert READY_LINE in shown
        listening = re.search(r"\(hidden primary\).* port (\d+) ", shown)
        assert listening, shown
        for command in written[start + 1 :]:
            if not command.startswith("make demo"):
                run_here(clone, at_port(command, listening[1]))
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


def init_line(home: Path, listen: int, secondary: int) -> list[str]:
    """The README's `dnssecd init`, with places and addresses that a test may have."""
    (line,) = [line for line in commands(first_zone_section()) if line.startswith("dnssecd init ")]
    for written, here in (
        ("192.0.2.1", f"{LOOPBACK}:{listen}"),
        ("192.0.2.53,bind", f"{LOOPBACK}:{secondary},nsd"),
        ("=example.com.zone", f"={home}/example.com.zone"),
    ):
        assert written in line, f"the README's `{line}` no longer has {written}"
        line = line.replace(written, here)
    return [*shlex.split(line)[1:], "--directory", str(home)]


def first_zone_section() -> str:
    text = (REPOSITORY / "README.md").read_text()
    return FIRST_ZONE + text.partition(FIRST_ZONE)[2].partition("\n## ")[0]


def test_first_real_zone(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """`dnssecd init` as written, but below a directory, and the edit that follows it."""
    zone, listen = "example.com.", free_port()
    com = peer_dir / "com.zone"
    com.write_text(
        "com. 60 IN SOA a.com. b.com. 1 1 1 1 60\ncom. 60 IN NS a.com.\na.com. 60 IN A 127.0.0.1\n"
    )
    parent = servers.start(Nsd(peer_dir / "parent", [PrimaryZone("com.", com, tsig_key)]))
    home, config = peer_dir / "home", peer_dir / "home/config.toml"
    home.mkdir(mode=0o700)
    file = home / "example.com.zone"
    file.write_text("$TTL 300\n@ SOA ns1 hostmaster 1 3600 600 604800 60\n@ NS ns1\nns1 A 192.0.2.53\n")

    def dnssecd(*words: str) -> str:
        command = [sys.executable, "-m", "dnssecd", *words, "--config", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    port = free_port()
    # A test machine has no way to the real parent.
    dnssecd(*init_line(home, listen, port), "--parent", parent.address)
    config.write_text(f'{config.read_text()}[metrics]\nlisten = "{LOOPBACK}:{free_port()}"\n')
    secret = (home / "tsig/ns1.secret").read_text().strip()
    key = TsigKey(name="ns1-transfer.", secret=secret)
    secondary = servers.start(Nsd(peer_dir / "nsd", [SecondaryZone(zone, listen, key)], port))
    dnssecd("check-config")
    running = subprocess.Popen(
        [sys.executable, "-m", "dnssecd", "run", "--config", str(config)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        secondary.wait_serial(zone, 1, START_SECONDS)
        assert "example.com." in dnssecd("status")
        shown = dnssecd("ds", "show", "example.com")
        assert "do not hand over yet." in shown
        file.write_text(file.read_text().replace("hostmaster 1 ", "hostmaster 2 ") + "www A 192.0.2.80\n")
        secondary.wait_serial(zone, 2, START_SECONDS)
    finally:
        end(running)
