"""The daemon under test: a real process with its configuration file, asked by its own commands and metrics."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.peers import toml
from tests.peers.nameserver import Nameserver, SecondaryZone, soa_serial_at
from tests.peers.paths import REPOSITORY
from tests.peers.process import LOOPBACK, PeerError, ServerProcess, free_port, wait_until
from tests.peers.tools import Result
from tests.peers.tsig import TsigKey
from tests.peers.zones import axfr, zone_file

CLI_SECONDS = 60.0
_GROUPS = frozenset(
    {"keystore", "tsig", "secondary", "primary", "policy", "zone", "zone-template", "catalog", "alerts"}
)

Config = dict[str, dict[str, Any]]


@dataclass
class DaemonPorts:
    """Ports and socket of a daemon, known before it starts: its peers are configured with them."""

    dns: int
    metrics: int

    @classmethod
    def free(cls) -> DaemonPorts:
        return cls(free_port(), free_port())


def daemon_config(
    home: Path,
    ports: DaemonPorts,
    key: TsigKey,
    zones: Mapping[str, Path],
    secondaries: Mapping[str, int] | None = None,
    policy: Mapping[str, Any] | None = None,
) -> Config:
    """A configuration for file zones that are islands of trust, transferred with ``key``; to be changed at will.

    zones: name → master file; secondaries: name → port on loopback, notified for every zone.
    """
    names = list(secondaries or {})
    return {
        "server": {
            "listen": [f"{LOOPBACK}:{ports.dns}"],
            "state_dir": home / "state",
            "control_socket": home / "control.sock",
        },
        "metrics": {"listen": f"{LOOPBACK}:{ports.metrics}"},
        "log": {"format": "json", "level": "info"},
        "keystore": {"local": {"type": "software", "directory": home / "keys"}},
        "tsig": {key.name: {"algorithm": key.algorithm, "secret": key.secret}},
        "secondary": {
            name: {"address": f"{LOOPBACK}:{port}", "tsig": key.name}
            for name, port in (secondaries or {}).items()
        },
        "policy": {"default": {"keystore": "local", **(policy or {})}},
        "zone": {
            zone: {
                "policy": "default",
                "source": "file",
                "file": path,
                "secondaries": names,
                "allow_transfer": [key.name],
                "parent": "none",
            }
            for zone, path in zones.items()
        },
    }


class Dnssecd(ServerProcess):
    """``python -m dnssecd run`` with a configuration that may be changed between starts."""

    name = "dnssecd"

    def __init__(self, directory: Path, config: Config, key: TsigKey) -> None:
        super().__init__(directory)
        self.notify_path = Path(config["server"]["control_socket"]).with_name("notify.sock")
        self.config = config
        self.key = key
        self.port = int(config["server"]["listen"][0].rpartition(":")[2])
        self.metrics_port = int(config["metrics"]["listen"].rpartition(":")[2])
        self.config_path = directory / "config.toml"
        self._notify: socket.socket | None = None
        self._ready = False

    def command(self) -> list[str]:
        return [sys.executable, "-m", "dnssecd", "run", "--config", str(self.config_path)]

    def environment(self) -> Mapping[str, str]:
        ours = {"PYTHONPATH": str(REPOSITORY), "NOTIFY_SOCKET": str(self.notify_path)}
        ours["PYTHONFAULTHANDLER"] = "1"  # a daemon that crashes says where, in its log
        return {**os.environ, **ours}

    def write_config(self) -> None:
        """Write the configuration as it is now; the file holds a TSIG secret, so its mode is 0600."""
        descriptor = os.open(self.config_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(toml.dumps(self.config, _GROUPS))

    def spawn(self) -> None:
        self.write_config()
        self._listen_for_readiness()
        super().spawn()

    def _listen_for_readiness(self) -> None:
        self.notify_path.unlink(missing_ok=True)
        if self._notify is not None:
            self._notify.close()
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(self.notify_path))
        self._notify.setblocking(False)
        self._ready = False

    def is_ready(self) -> bool:
        """READY=1 was received: the stored zones are being served (a new zone may still be signed)."""
        assert self._notify is not None
        while not self._ready:
            try:
                message = self._notify.recv(4096)
            except BlockingIOError:
                break
            self._ready = b"READY=1" in message.split(b"\n")
        return self._ready

    def kill_alone(self) -> None:
        """``kill -9`` of the front process alone: what it started is left to notice by itself."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self, timeout: float = 15.0) -> int | None:
        status = super().stop(timeout)
        if self.process is not None:
            self._kill_left_behind()
        if self._notify is not None:
            self._notify.close()
            self._notify = None
        return status

    def _kill_left_behind(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def cli(self, *words: str, timeout: float = CLI_SECONDS) -> Result:
        """A command against this daemon (or its configuration); never raises for its exit status."""
        command = [sys.executable, "-m", "dnssecd", *words, "--config", str(self.config_path)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout, env=self.environment(), check=False
            )
        except subprocess.TimeoutExpired:
            return Result(" ".join(command), None, "", "")
        return Result(" ".join(command), done.returncode, done.stdout, done.stderr)

    def cli_json(self, *words: str) -> Any:
        """What a command that must succeed prints with ``--json``; the exit status of ``status`` is its verdict."""
        result = self.cli(*words, "--json")
        judged = words[0] == "status" and '"verdict"' in result.out
        if not result.ok and not judged:
            raise PeerError(f"{result}\n{self.log_tail()}")
        return json.loads(result.out)

    def zone_status(self, zone: str) -> dict[str, Any]:
        """The zone's entry in ``dnssecd status --json``."""
        zones = self.cli_json("status")["zones"]
        return next(entry for entry in zones if entry["zone"] == zone)

    def serial(self, zone: str) -> int | None:
        """The serial being served, by a SOA query."""
        return soa_serial_at(self.port, zone)

    def wait_serial_other_than(self, zone: str, serial: int | None, timeout: float = 30.0) -> int:
        """Return the serial served once it is not ``serial`` (None: once there is any)."""

        def changed() -> int | None:
            now = self.serial(zone)
            return now if now != serial else None

        try:
            found = wait_until(changed, f"dnssecd serves {zone} at a serial other than {serial}", timeout)
        except PeerError as error:
            raise PeerError(f"{error}\n{self.log_tail()}") from None
        assert found is not None
        return found

    def export(self, zone: str, path: Path) -> set[str]:
        """``dnssecd zone export`` into ``path``; the canonical lines of the file."""
        path.unlink(missing_ok=True)
        result = self.cli("zone", "export", zone, "-o", str(path))
        if not result.ok:
            raise PeerError(f"{result}\n{self.log_tail()}")
        return zone_file(path, zone)

    def zone_content(self, zone: str) -> set[str]:
        """The canonical lines of the zone as the daemon transfers it."""
        return axfr(self.port, zone, self.key, self.directory)

    def metrics_text(self) -> str:
        url = f"http://{LOOPBACK}:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples called ``name`` that carry ``labels``; 0 when there is none yet."""
        families = text_string_to_metric_families(self.metrics_text())
        samples = (sample for family in families for sample in family.samples if sample.name == name)
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def log_events(self) -> list[dict[str, Any]]:
        """The log's JSON lines in order, from all runs; other lines (tracebacks) are left out."""
        events = []
        for line in self.log_text().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                events.append(event)
        return events


def secondaries_of(
    home: Path, zones: Sequence[str], primary: int, key: TsigKey, kinds: Sequence[type[Nameserver]]
) -> dict[str, Nameserver]:
    """One server of each kind that follows ``zones`` from the primary at port ``primary``; not started."""
    return {
        kind.name: kind(home / kind.name, [SecondaryZone(zone, primary, key) for zone in zones])
        for kind in kinds
    }


def replace_file(path: Path, text: str) -> None:
    """Put a new version of a file in place in one step (write beside, rename), as editors and scripts do."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.rename(path)


def settled(probe: Any, seconds: float) -> Any:
    """The value of ``probe()`` after it has been watched for ``seconds``; PeerError when it changes meanwhile.

    For the absence of an event there is nothing to wait for but time.
    """
    first = probe()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        now = probe()
        if now != first:
            raise PeerError(f"changed from {first!r} to {now!r}")
        time.sleep(0.05)
    return first
