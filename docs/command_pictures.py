"""Draws docs/img/commands/*.svg: what commands print at 80 and 120 columns, from a daemon that is started for it.

`make docs PICTURES=1` runs it: PYTHONPATH=. .venv/bin/python docs/command_pictures.py. Keys and times differ.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from docs.pictures import terminal
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import LOOPBACK
from tests.peers.tsig import TsigKey

TARGET = Path(__file__).parent / "img/commands"
WIDTHS = (80, 120)
#: Lines of a picture: the rest of a longer output is left out.
LINES_MAX = 60
ZONE = "example.com."
BROKEN = "example.org."
SECONDS = 300.0

COMMANDS = (
    ("status",),
    ("status", ZONE),
    ("check",),
    ("zone", "list"),
    ("zone", "show", ZONE),
    ("zone", "history", ZONE),
    ("explain", ZONE),
    ("explain", ZONE, "--rules"),
    ("ds", "show", ZONE),
    ("ds", "check", ZONE),
    ("key", "list"),
    ("keystore", "list"),
    ("plan",),
    ("simulate", ZONE, "--days", "120"),
    ("schedule",),
    ("alerts", "list"),
    ("audit",),
    ("config", "diff"),
    ("check-config",),
)


def start(home: Path) -> Dnssecd:
    """Start a daemon with a zone that waits for its DS, one that is broken, and one that is an island."""
    ports, key, files = DaemonPorts.free(), TsigKey("transfer.example.com."), {}
    for name in (ZONE, BROKEN, "island.example."):
        files[name] = home / f"{name}zone"
        head = f"$ORIGIN {name}\n@ 3600 IN SOA ns1 hostmaster 1 3600 900 1209600 300\n@ 3600 IN NS ns1\n"
        files[name].write_text(
            f"{head}ns1 3600 IN A 192.0.2.1\nwww 3600 IN A 192.0.2.80\n@ 3600 IN MX 10 www\n"
        )
    config = daemon_config(home, ports, key, files)
    config["server"]["clock_tolerance"] = "5s"
    config["policy"]["default"] |= {"propagation_delay": "1s"}
    config["zone"][ZONE]["parent"] = {"servers": [f"{LOOPBACK}:{ports.dns}"]}
    daemon = Dnssecd(home / "daemon", config, key)
    daemon.start(60)
    until = time.monotonic() + SECONDS
    while not all(daemon.serial(name) for name in (BROKEN, "island.example.")) and time.monotonic() < until:
        time.sleep(0.2)
    daemon.cli("zone", "reload", ZONE, "--first-publication")
    files[BROKEN].write_text(files[BROKEN].read_text() + "mail 3600 IN A6 1\n")
    daemon.cli("zone", "reload", BROKEN)
    while daemon.serial(ZONE) is None and time.monotonic() < until:
        time.sleep(0.2)
    config["policy"]["default"]["zsk"] = {"algorithm": "ecdsap256sha256", "lifetime": "30d"}
    daemon.write_config()
    return daemon


def output_of(daemon: Dnssecd, words: tuple[str, ...], width: int) -> str:
    """Return what a command prints on a terminal of that width."""
    command = [sys.executable, "-m", "dnssecd", *words, "--config", str(daemon.config_path)]
    environment = {**daemon.environment(), "COLUMNS": str(width), "NO_COLOR": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False
    )
    home = str(daemon.directory.parent)
    # Paths of this run, and names of this machine, are not of the kind that a reader has.
    text = (done.stdout + done.stderr).replace(f"{home}/daemon/config.toml", "/etc/dnssecd/dnssecd.toml")
    return text.replace(home, "/srv").replace(os.uname().nodename, "host")


def main() -> int:
    """Draw all pictures; return how many lines are wider than their terminal."""
    TARGET.mkdir(parents=True, exist_ok=True)
    wide = 0
    with tempfile.TemporaryDirectory(prefix="p") as home:
        daemon = start(Path(home))
        try:
            for words in COMMANDS:
                for width in WIDTHS:
                    text = output_of(daemon, words, width)
                    lines = text.rstrip("\n").split("\n")
                    wide += sum(len(line) > width for line in lines)
                    shown = [*lines[:LINES_MAX], *(["…"] if len(lines) > LINES_MAX else [])]
                    name = "-".join(word.strip("-.") for word in words if word not in (ZONE, "120", "--days"))
                    name = f"{name}-zone" if words == ("status", ZONE) else name
                    picture = terminal(f"dnssecd {' '.join(words)}", "\n".join(shown), width)
                    (TARGET / f"{name}-{width}.svg").write_text(picture)
        finally:
            daemon.stop(30)
    return wide


if __name__ == "__main__":
    print(f"{main()} lines are too wide", file=sys.stderr)
