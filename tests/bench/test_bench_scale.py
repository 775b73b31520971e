"""10,000 zones of 10 records beside knotd with the same zones: signing, doing nothing, being asked, starting again."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.bench.scale import (
    CalmNsd,
    cores_used,
    cpu_seconds,
    memory_mib,
    open_files,
    sampled,
    timed,
    zone_files,
    zone_names,
    zone_text,
)
from tests.bench.signers import SigningKnotd, has_rrsig
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.nameserver import Nameserver, PrimaryZone, SecondaryZone
from tests.peers.process import LOOPBACK, ServerProcess, Servers, free_port, wait_until
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.bench, pytest.mark.timeout(5400)]

ZONES = int(os.environ.get("BENCH_ZONES", "10000"))
IDLE_SECONDS = 60.0
SETTLED_CORES, SETTLE_SECONDS = 0.05, 1200.0
EXTRA = "extra.example."

#: What is asked for; of one core; seconds.
IDLE_CORES_MAX = 0.01
PAGE_S_MAX = 0.3


@dataclass
class Contender:
    """A server and what was measured of it, in the order it was."""

    name: str
    server: ServerProcess
    port: int
    figures: dict[str, float] = field(default_factory=dict)
    started: float = 0.0

    def start(self) -> None:
        """Start the server; what it does before it is ready counts, too."""
        self.started = time.monotonic()
        self.server.start(600)

    def note(self, what: str, value: float) -> None:
        self.figures[what] = value
        print(f"  {self.name}: {what} {value:.3f}", flush=True)

    def signed(self, names: list[str]) -> None:
        """Return when all zones are served with signatures, and no more work is running."""
        for name in names:
            wait_until(lambda name=name: has_rrsig(self.port, name, "SOA"), f"{name} is signed", 3600, 0.2)  # type: ignore[misc]
        self.note("first signing, s", time.monotonic() - self.started)
        self.note("first signing, CPU s", sum(cpu_seconds(self.server.pid).values()))

    def settle(self) -> None:
        wait_until(
            lambda: cores_used(self.server.pid, 5.0) < SETTLED_CORES,
            f"{self.name} rests",
            SETTLE_SECONDS,
            0.1,
        )

    def idle(self, what: str = "") -> None:
        self.settle()
        self.note(f"idle{what}, cores", cores_used(self.server.pid, IDLE_SECONDS))
        self.note(f"memory{what}, MiB", memory_mib(self.server.pid))
        self.note(f"open files{what}", open_files(self.server.pid))

    def restart(self, names: list[str], stop: Callable[[], object]) -> None:
        self.note("stop, s", timed(stop))
        started = time.perf_counter()
        self.server.spawn()
        some = list(sampled(names))
        wait_until(
            lambda: all(has_rrsig(self.port, name, "SOA") for name in some), "all are served", 600, 0.1
        )
        self.note("restart to all served, s", time.perf_counter() - started)


def wait_served(port: int, name: str) -> Callable[[], object]:
    return lambda: wait_until(lambda: has_rrsig(port, name, "SOA"), f"{name} is served", 600, 0.02)


def measure_ours(servers: Servers, home: Path, key: TsigKey, files: dict[str, Path]) -> Contender:
    names, ports = list(files), DaemonPorts.free()
    home.mkdir()
    second = servers.start(CalmNsd(home / "nsd", [SecondaryZone(name, ports.dns, key) for name in names]))
    config = daemon_config(home, ports, key, files, {"nsd": second.port})
    daemon = servers.add(Dnssecd(home / "dnssecd", config, key))
    us = Contender("dnssecd", daemon, ports.dns)
    us.start()
    us.signed(names)
    us.idle()
    us.note("metrics scrape, s", timed(daemon.metrics_text))
    us.note("status of all, s", timed(lambda: daemon.cli_json("status")))
    us.note("status of one, s", timed(lambda: daemon.cli("status", names[-1])))
    daemon.config["zone"][EXTRA] = {**config["zone"][names[0]], "file": extra(home), "secondaries": []}
    daemon.write_config()
    us.note("config reload, s", timed(lambda: daemon.cli("config", "reload", timeout=600)))
    us.note("new zone served after that, s", timed(wait_served(ports.dns, EXTRA)))
    us.restart(names, lambda: daemon.stop(60))
    us.idle(" after a restart")
    measure_page(us, daemon, names)
    daemon.stop()
    return us


def measure_page(us: Contender, daemon: Dnssecd, names: list[str]) -> None:
    """The status page of all zones: the longest of some looks, and what it costs while nobody looks."""
    place = f"{LOOPBACK}:{free_port()}"
    daemon.stop(60)
    daemon.config["status_page"] = {"listen": place}
    daemon.start(600)

    def look(path: str) -> bytes:
        try:
            with urllib.request.urlopen(f"http://{place}{path}", timeout=60) as answer:
                body: bytes = answer.read()
                return body
        except urllib.error.URLError:  # the daemon is starting
            return b""

    count = b'"zones_served":%d' % len(daemon.config["zone"])
    wait_until(lambda: count in look("/status.json?per=1"), "the page has all zones", 120, 0.5)
    paths = ["/", "/?sort=runway&page=7", "/?q=99&show=bad", "/status.json", f"/?q={names[-1]}"]
    us.note("status page, s", max(timed(lambda path=path: look(path)) for path in paths * 3))  # type: ignore[misc]
    us.note("page of a zone, s", timed(lambda: look(f"/zone?name={names[-1]}")))
    us.note("with the page, cores", cores_used(us.server.pid, IDLE_SECONDS))  # what comes is being computed


def measure_knotd(servers: Servers, home: Path, key: TsigKey, files: dict[str, Path]) -> Contender:
    home.mkdir()
    knotd: Nameserver = SigningKnotd(home / "knotd", [PrimaryZone(n, path, key) for n, path in files.items()])
    servers.add(knotd)
    them = Contender("knotd", knotd, knotd.port)
    them.start()
    them.signed(list(files))
    them.idle()
    knotd.zones.append(PrimaryZone(EXTRA, extra(home), key))
    knotd.config_path.write_text(knotd.configuration())
    them.note("config reload and new zone served, s", timed(lambda: reloaded(knotd)))
    them.restart(list(files), lambda: knotd.stop(60))
    them.idle(" after a restart")
    knotd.stop()
    return them


def reloaded(knotd: Nameserver) -> None:
    knotd.reload()  # type: ignore[attr-defined]
    wait_served(knotd.port, EXTRA)()


def extra(home: Path) -> Path:
    path = home / f"{EXTRA}zone"
    path.write_text(f"$ORIGIN {EXTRA}\n{zone_text()}")
    return path


def test_many_zones(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """dnssecd with a secondary that it watches, knotd without; the same zone files."""
    files = zone_files(peer_dir / "zones", zone_names(ZONES))
    us = measure_ours(servers, peer_dir / "ours", tsig_key, files)
    them = measure_knotd(servers, peer_dir / "knot", tsig_key, files)
    print(f"\n{ZONES} zones of 10 records (load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores)")
    for what in dict.fromkeys([*us.figures, *them.figures]):
        row = [f"{each.figures[what]:12.3f}" if what in each.figures else " " * 12 for each in (us, them)]
        print(f"{what:36}{row[0]} dnssecd{row[1]} knotd")
    for what in ("idle, cores", "idle after a restart, cores"):
        assert us.figures[what] <= IDLE_CORES_MAX, what
    assert us.figures["status page, s"] <= PAGE_S_MAX
