"""`dnssecd init`: each real server takes the configuration that it prints for it, as printed, and follows the zone."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_deploy_secondaries import PDNS_SCHEMA
from tests.peers.nameserver import Nameserver, SecondaryZone, ask
from tests.peers.paths import program
from tests.peers.process import LOOPBACK, Servers, free_port, wait_until
from tests.peers.tsig import TsigKey

ZONES = ("example.com.", "0/25.2.0.192.in-addr.arpa.")
TEXT = "$TTL 300\n@ SOA ns.example.net. h.example.net. {} 3600 600 604800 60\n@ NS ns.example.net.\nwww A 192.0.2.80\n"

pytestmark = pytest.mark.integration


class Printed(Nameserver):
    """A server whose configuration is `before`, with its places and port, and what dnssecd printed."""

    before = ""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, [SecondaryZone(zone, 0, TsigKey()) for zone in ZONES])
        self.printed = ""

    def configuration(self) -> str:
        head = self.before.format(directory=self.directory, port=self.port, host=LOOPBACK)
        return head + self.printed


class PrintedNamed(Printed):
    name = "named"
    kind = "bind"
    before = """options {{ directory "{directory}"; listen-on port {port} {{ {host}; }}; listen-on-v6 {{ none; }};
    recursion no; pid-file none; session-keyfile none; }};
controls {{ }};
"""

    def command(self) -> list[str]:
        return [program("named"), "-f", "-L", "/dev/stderr", "-c", str(self.config_path), "-n", "1"]


class PrintedKnotd(Printed):
    name = "knotd"
    kind = "knot"
    before = """server:
    listen: {host}@{port}
    rundir: "{directory}"
database:
    storage: "{directory}"
"""

    def command(self) -> list[str]:
        return [program("knotd"), "-c", str(self.config_path)]


class PrintedNsd(Printed):
    name = "nsd"
    kind = "nsd"
    before = """server:
    ip-address: {host}@{port}
    username: ""
    server-count: 1
    zonesdir: "{directory}"
    xfrdir: "{directory}"
    xfrdfile: ""
    zonelistfile: "{directory}/zones.list"
    pidfile: ""
    database: ""
remote-control:
    control-enable: no
"""

    def command(self) -> list[str]:
        return [program("nsd"), "-d", "-c", str(self.config_path)]


class PrintedPdns(Printed):
    name = "pdns"
    kind = "powerdns"
    before = """launch=gsqlite3
gsqlite3-database={directory}/pdns.sqlite3
local-address={host}
local-port={port}
socket-dir={directory}
"""

    def command(self) -> list[str]:
        return [
            program("pdns_server"),
            f"--config-dir={self.directory}",
            "--daemon=no",
            "--guardian=no",
            "--disable-syslog",
        ]

    def configuration(self) -> str:
        """The settings are printed as comments between the commands."""
        settings = re.findall(r"^#   (\S+=\S+)$", self.printed, re.M)
        assert len(settings) == 4
        return (
            self.before.format(directory=self.directory, port=self.port, host=LOOPBACK)
            + "\n".join(settings)
            + "\n"
        )

    def spawn(self) -> None:
        database = sqlite3.connect(self.directory / "pdns.sqlite3")
        database.executescript(PDNS_SCHEMA.read_text())
        database.close()
        self.config_path.write_text(self.configuration())
        script = self.printed.replace("pdnsutil ", f"{program('pdnsutil')} --config-dir={self.directory} ")
        done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        super().spawn()


KINDS: tuple[type[Printed], ...] = (PrintedNamed, PrintedKnotd, PrintedNsd, PrintedPdns)


def dnssecd(*words: str) -> str:
    command = [sys.executable, "-m", "dnssecd", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def test_each_server_takes_what_is_printed(servers: Servers, peer_dir: Path) -> None:
    secondaries = [kind(peer_dir / kind.name) for kind in KINDS]
    home, listen, metrics = peer_dir / "home", free_port(), free_port()
    words = ["--directory", str(home), "--listen", f"{LOOPBACK}:{listen}", "--parent", "none"]
    files = [peer_dir / f"{number}.zone" for number, _ in enumerate(ZONES)]
    for zone, file in zip(ZONES, files, strict=True):
        file.write_text(TEXT.format(1))
        words += ["--zone", f"{zone}={file}"]
    for one in secondaries:
        words += ["--secondary", f"{one.name}={LOOPBACK}:{one.port},{one.kind}"]
    made: dict[str, Any] = json.loads(dnssecd("--json", "init", *words))
    config = home / "config.toml"
    config.write_text(f'{config.read_text()}[metrics]\nlisten = "{LOOPBACK}:{metrics}"\n')
    for one in secondaries:
        one.printed = made["secondaries"][one.name][one.kind]
        assert one.printed == dnssecd(
            "config", "secondary", one.name, "--for", one.kind, "--config", str(config)
        )
        servers.add(one).spawn()
    servers.add(_Run(peer_dir / "run", config)).spawn()
    for one in secondaries:
        one.wait_ready()
        for zone in ZONES:
            one.wait_serial(zone, 1)
        answer = ask(one.port, f"www.{ZONES[0]}", "A", dnssec=True)
        assert answer is not None
        assert len(answer.answer) == 2, f"{one.name}: {answer}"
    for file in files:
        file.write_text(TEXT.format(2))
    for one in secondaries:
        for zone in ZONES:
            one.wait_serial(zone, 2)

    def all_seen() -> bool:
        status = json.loads(dnssecd("zone", "show", ZONES[1], "--json", "--config", str(config)))
        return {one["serial"] for one in status["secondaries"]} == {2}

    wait_until(all_seen, "the daemon has seen all secondaries serve the version", every=0.5)


class _Run(Nameserver):
    """`dnssecd run`, as init says."""

    name = "dnssecd"

    def __init__(self, directory: Path, config: Path) -> None:
        super().__init__(directory, [])
        self.given = config

    def command(self) -> list[str]:
        return [sys.executable, "-m", "dnssecd", "run", "--config", str(self.given)]

    def configuration(self) -> str:
        return ""
