"""Draws docs/img/commands/*.svg: what commands print at 80 and 120 columns, from a daemon that is started for it.

`make docs PICTURES=1` runs it: PYTHONPATH=. .venv/bin/python docs/command_pictures.py. Keys and times differ. Exit
status 1 if a line is wider than its terminal, but for lines of a configuration or record to copy.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from docs.pictures import terminal
from tests.integration.migration_world import CHILD
from tests.integration.test_migration_bind import bind_world
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import LOOPBACK, Servers
from tests.peers.tsig import TsigKey

TARGET = Path(__file__).parent / "img/commands"
WIDTHS = (80, 120)
#: Lines of a picture: the rest of a longer output is left out.
LINES_MAX = 60
ZONE = "example.com."
BROKEN = "example.org."
SECONDS = 300.0

#: File name → words of a command, run in the directory that the pictures call PLACE.
PLACE = "/srv"
ELSEWHERE = {
    "init": (
        "init",
        "--directory",
        "trial",
        "--zone",
        f"{ZONE}={ZONE}zone",
        "--secondary",
        "ns1=127.0.0.1:5301,nsd",
    ),
    "backup": ("backup", "-o", "backup.tar", "--keys", "--passphrase-file", "passphrase"),
    "restore-check": ("restore", "backup.tar", "--check"),
    "restore-after-loss": ("restore", "backup.tar", "--check", "--after-loss"),
    "migrate-config": ("migrate", "config", "named.conf", "--from", "bind", "-o", "migrated.toml"),
}
#: The signer that `migrate config` reads.
NAMED_CONF = """options { directory "/var/cache/bind"; listen-on { 192.0.2.1; }; };
key "transfer." { algorithm hmac-sha256; secret "bm90IGEgc2VjcmV0LCBvbmx5IGEgcGljdHVyZSBvZiBvbmU="; };
dnssec-policy "short" { keys { ksk key-directory lifetime P1Y algorithm 13;
  zsk key-directory lifetime P90D algorithm 13; }; };
zone "example.com" { type primary; file "example.com.zone"; dnssec-policy "short"; allow-transfer { key "transfer."; };
  also-notify { 192.0.2.53 key "transfer."; }; };
zone "example.org" { type primary; file "example.org.zone"; dnssec-policy default; max-journal-size 1m; };
"""
#: Commands whose output is read by programs, or copied into a file: it is not wrapped.
COPIED = ("init", "check")
_SECRET = re.compile(r"\b[A-Za-z0-9+/]{40,}={0,2}")

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


def output_of(daemon: Dnssecd, words: tuple[str, ...], width: int, *, where: Path | None = None) -> str:
    """Return what a command prints on a terminal of that width. where: its directory, for commands without a daemon."""
    command = [sys.executable, "-m", "dnssecd", *words, "--config", str(daemon.config_path)]
    environment = {**daemon.environment(), "COLUMNS": str(width), "NO_COLOR": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False, cwd=where
    )
    home = str(daemon.directory.parent)
    # Paths of this run, and names of this machine, are not of the kind that a reader has; a secret is for nobody.
    text = (done.stdout + done.stderr).replace(f"{home}/daemon/config.toml", "/etc/dnssecd/config.toml")
    text = text.replace(str(where), PLACE) if where is not None else text
    text = text.replace(home, PLACE).replace(os.uname().nodename, "host")
    return _SECRET.sub("(secret)", text) if words[0] == "init" else text


def draw(name: str, words: tuple[str, ...], width: int, text: str) -> int:
    """Write a picture; return how many lines are wider than the terminal."""
    lines = text.rstrip("\n").split("\n")
    shown = [*lines[:LINES_MAX], *(["…"] if len(lines) > LINES_MAX else [])]
    first, *more = folded(f"dnssecd {' '.join(words)}", width - len("$ "))
    picture = terminal(first, "\n".join([*more, *shown]), width)
    (TARGET / f"{name}-{width}.svg").write_text(picture)
    wide = [line for line in lines if len(line) > width and words[0] not in COPIED]
    for line in wide:
        print(f"{name}, {width} columns: {line}", file=sys.stderr)
    return len(wide)


def folded(command: str, width: int) -> list[str]:
    """Return a command in lines, as one types it that does not fit one."""
    lines = [""]
    for word in command.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) + len("  \\") > width:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += (" " if lines[-1].strip() else "") + word
    return lines


def prepare(place: Path) -> None:
    """Make what commands of ELSEWHERE read, and take away what a run at another width left."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    (place / f"{ZONE}zone").write_text(
        "$TTL 1h\n@ SOA ns1 hostmaster 1 1h 15m 2w 5m\n@ NS ns1\nns1 A 192.0.2.1\n"
    )
    (place / "passphrase").write_text("only for a picture\n")
    (place / "passphrase").chmod(0o600)
    (place / "named.conf").write_text(NAMED_CONF)


def migrate(width: int) -> int:
    """Draw how a zone moves from BIND, in a world of its own; return how many lines are wider than the terminal."""
    wide, servers = 0, Servers()
    with tempfile.TemporaryDirectory(prefix="p") as home:
        try:
            daemon = bind_world(servers, Path(home), TsigKey("transfer.example.com.")).daemon
            until = time.monotonic() + SECONDS
            while not daemon.zone_status(CHILD)["blockers"] and time.monotonic() < until:
                time.sleep(0.2)
            daemon.cli("key", "import", CHILD, *sorted(map(str, Path(home).glob("old/K*.key"))))
            for word in ("check", "adopt"):
                words = ("migrate", word, CHILD, "--against", "old")
                wide += draw(f"migrate-{word}", words, width, output_of(daemon, words, width))
        finally:
            servers.stop()
    return wide


def main() -> int:
    """Draw all pictures; return how many lines are wider than their terminal."""
    TARGET.mkdir(parents=True, exist_ok=True)
    wide = 0
    with tempfile.TemporaryDirectory(prefix="p") as home:
        daemon, place = start(Path(home)), Path(home) / "elsewhere"
        try:
            for words in COMMANDS:
                for width in WIDTHS:
                    text = output_of(daemon, words, width)
                    name = "-".join(word.strip("-.") for word in words if word not in (ZONE, "120", "--days"))
                    name = f"{name}-zone" if words == ("status", ZONE) else name
                    wide += draw(name, words, width, text)
            for width in WIDTHS:
                prepare(place)
                for name, words in ELSEWHERE.items():
                    wide += draw(name, words, width, output_of(daemon, words, width, where=place))
        finally:
            daemon.stop(30)
    wide += sum(map(migrate, WIDTHS))
    return wide


if __name__ == "__main__":
    number = main()
    print(f"{number} lines are too wide", file=sys.stderr)
    sys.exit(number > 0)
