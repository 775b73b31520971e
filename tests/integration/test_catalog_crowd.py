"""20,000 members of a catalog at once: what was there before goes on, operators get answers, and the work advances.

They are not signed to the end: DNSSECD_CROWD_S says for how long the daemon is watched. DNSSECD_CROWD is their number.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.scale import cpu_seconds, memory_mib, open_files
from tests.integration.smallzone import small_zone
from tests.integration.test_catalogs import catalog_zone
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file
from tests.peers.named import Named
from tests.peers.nameserver import PrimaryZone, SecondaryZone, soa_serial_at
from tests.peers.process import Servers, free_port, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.updates import NOERROR, UpdateConnection, UpdateMaker, dynamic_zone_text, grant_all

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(3600)]

CATALOG, OURS, SIGNED = "catalog.test.", "ours.test.", "signed.test."
MEMBERS = int(os.environ.get("DNSSECD_CROWD", "20000"))
WATCHED_S = float(os.environ.get("DNSSECD_CROWD_S", "600"))
#: All members are zones by then.
KNOWN_S = 900.0
#: Without regard to how busy the machine is: a daemon that hangs is slower than that.
ANSWER_S, COMMAND_S = 5.0, 120.0
#: The disk stalls when a write takes longer than this; after it, the key service may count as away for a moment.
STALL_S, AFTER_STALL_S = 1.0, 10.0
#: For each member, beside what the daemon needs for itself.
MIB_MAX, KIB_EACH_MAX = 400, 60
MEMBER = "$TTL 300\n@ SOA ns1.{zone} host 1 3600 600 604800 60\n@ NS ns1\nns1 A 127.0.0.1\nwww A 192.0.2.1\n"


class Disk:
    """Writes to the disk all the time. ``stalls``: when that took long, as others on this machine write, too."""

    def __init__(self, path: Path) -> None:
        self._path, self.stalls = path, list[tuple[float, float]]()

    def run(self, stop: threading.Event) -> None:
        with self._path.open("wb", buffering=0) as file:
            while not stop.wait(0.2):
                started = time.monotonic()
                file.write(b".")
                os.fsync(file.fileno())
                if time.monotonic() - started > STALL_S:
                    self.stalls.append((started, time.monotonic()))

    def stalled(self, begin: float, end: float) -> bool:
        """Whether it stalled while something was going on, or shortly before."""
        return any(begin < until + AFTER_STALL_S and since < end for since, until in self.stalls)


class Samples:
    """Requests of one kind: when, for how long (s), and whether the answer was right."""

    def __init__(self, what: str, limit_s: float) -> None:
        self.what, self.limit_s, self._all = what, limit_s, list[tuple[float, float, bool]]()

    def take(self, work: Callable[[], bool]) -> None:
        started = time.monotonic()
        good = work()
        self._all.append((started, time.monotonic() - started, good))

    def failed(self, disk: Disk) -> int:
        """How many took too long or were not answered as they should, without a stall of the disk."""
        bad = [(at, took) for at, took, good in self._all if not good or took > self.limit_s]
        return sum(not disk.stalled(at, at + took) for at, took in bad)

    @property
    def number(self) -> int:
        return len(self._all)

    def __str__(self) -> str:
        ordered = sorted(took for _, took, _ in self._all)
        lost = sum(not good for _, _, good in self._all)
        return (
            f"{self.what}: {len(ordered)}, median {1000 * ordered[len(ordered) // 2]:.0f} ms, "
            f"longest {1000 * ordered[-1]:.0f} ms, {lost} lost"
        )


class Crowd:
    """BIND with a catalog; a daemon that follows it, with a dynamic zone of its own that BIND transfers."""

    def __init__(self, servers: Servers, home: Path, key: TsigKey) -> None:
        self.home, self.key = home, key
        self.names = [f"m{number}.crowd.test." for number in range(MEMBERS)]
        (home / "zones").mkdir()
        for name in self.names:
            (home / "zones" / name.rstrip(".")).write_text(MEMBER.format(zone=name))
        self.path = home / "catalog.zone"
        self.path.write_text(catalog_zone(1, {}))
        ports = DaemonPorts.free()
        self.named = Named(
            home / "named",
            [PrimaryZone(CATALOG, self.path, key, [ports.dns]), SecondaryZone(OURS, ports.dns, key)],
            free_port(),
        )
        files = {OURS: home / "ours.zone", SIGNED: home / "signed.zone"}
        files[OURS].write_text(dynamic_zone_text(OURS))
        files[SIGNED].write_text(small_zone().replace("small.test.", SIGNED))
        config = daemon_config(home, ports, key, files, {"named": self.named.port})
        grant_all(config["zone"][OURS], key)
        config["zone"][SIGNED]["secondaries"] = []
        config["primary"] = {"up": {"address": self.named.address, "tsig": key.name}}
        config["zone-template"] = {"members": {"file": home / "zones/{zone}", "parent": "none"}}
        config["catalog"] = {
            CATALOG: {
                "consume": {"primaries": ["up"], "template": "members", "max_members": MEMBERS + 1000},
                "max_change": "100%",
            }
        }
        servers.start(self.named)
        self.daemon = servers.start(Dnssecd(home / "dnssecd", config, key))
        for zone in files:
            self.daemon.wait_serial_other_than(zone, None, 60)

    def publish(self, serial: int, names: list[str]) -> None:
        replace_file(self.path, catalog_zone(serial, {name.split(".")[0]: name for name in names}))
        self.named.reload()

    def counts(self) -> tuple[int, int]:
        """Zones that the daemon has, and that it serves."""
        verdict = json.loads(self.daemon.cli("status", "--json", timeout=3 * COMMAND_S).out)["verdict"]
        return int(verdict["zones"]), int(verdict["zones_served"])


@contextmanager
def others_at_work(crowd: Crowd, disk: Disk) -> Iterator[tuple[Samples, ...]]:
    """Ask for a zone that was there before, update another, and let BIND transfer that, all the time."""
    answers, updates = Samples("answers", ANSWER_S), Samples("updates", ANSWER_S)
    transfers = Samples("updates at the secondary", ANSWER_S)
    stop = threading.Event()
    port, maker = crowd.daemon.port, UpdateMaker(OURS, crowd.key)

    def ask() -> None:
        while not stop.wait(0.05):
            answers.take(lambda: soa_serial_at(port, SIGNED, ANSWER_S) is not None)

    def follow() -> bool:
        serial = soa_serial_at(port, OURS, ANSWER_S)
        while not stop.is_set() and crowd.named.serial(OURS) != serial:
            time.sleep(0.05)
        return True

    def change() -> None:
        with UpdateConnection(port, COMMAND_S) as connection:
            number = 0
            while not stop.wait(1.0):
                number += 1
                wire = maker.wire([(f"u{number}", 60, "TXT", '"x"')])
                updates.take(lambda wire=wire: connection.ask(wire) == NOERROR)  # type: ignore[misc]
                transfers.take(follow)

    threads = [threading.Thread(target=work) for work in (ask, change, lambda: disk.run(stop))]
    for thread in threads:
        thread.start()
    try:
        yield answers, updates, transfers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_the_crowd_comes_at_once(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    crowd = Crowd(servers, peer_dir, tsig_key)
    daemon, commands, disk = crowd.daemon, Samples("status", COMMAND_S), Disk(peer_dir / "probe")
    before = memory_mib(daemon.pid)
    memory: list[float] = []
    started = time.monotonic()
    crowd.publish(2, crowd.names)
    with others_at_work(crowd, disk) as others:
        last, all_known = 2, 0.0
        while (elapsed := time.monotonic() - started) < WATCHED_S or (not all_known and elapsed < KNOWN_S):
            time.sleep(5)
            found: list[tuple[int, int]] = []
            commands.take(lambda found=found: bool(found.append(crowd.counts()) or found))  # type: ignore[misc]
            (zones, served), at = found[0], time.monotonic() - started
            memory.append(memory_mib(daemon.pid))
            if zones >= MEMBERS and not all_known:
                all_known = at
            print(
                f"{at:.0f} s: {zones} zones, {served} served, {memory[-1]:.0f} MiB, {open_files(daemon.pid)} files, "
                f"CPU {sum(cpu_seconds(daemon.pid).values()):.0f} s",
                flush=True,
            )
            assert daemon.running
            assert served >= last, "a zone is no longer served"
            last = served
            if served >= MEMBERS + len(daemon.config["zone"]):
                break
        rate = (last - 2) / (time.monotonic() - started)

    events = Counter(one["name"] for one in daemon.log_events() if one.get("event") == "event firing")
    print(f"{MEMBERS} members: all known after {all_known:.0f} s, {last - 2} served ({rate:.1f} in a second)")
    print("\n".join(map(str, (*others, commands))))
    print(f"memory: {before:.0f} MiB before, at most {max(memory):.0f} MiB; events: {dict(events)}")
    assert all_known, "all members are zones"
    assert last > 2 + min(MEMBERS / 100, WATCHED_S / 10), "the work advances"
    assert max(memory) < before + MIB_MAX + MEMBERS * KIB_EACH_MAX / 1024
    for each in (*others, commands):
        assert each.number
        assert each.failed(disk) <= max(2, each.number // 50), f"{each}; stalls of the disk: {disk.stalls}"
    # One trouble is one event; a crowd without trouble raises none for its members.
    assert sum(events.values()) <= 5 + 3 * len(disk.stalls), events

    # Some leave while the others are still being signed; a restart continues with what is left.
    staying = crowd.names[MEMBERS // 50 :]
    crowd.publish(3, staying)
    wait_until(lambda: crowd.counts()[0] <= 2 + 1 + len(staying), "some have left", 900, every=5)
    begun = time.monotonic()
    daemon.stop(120)
    stopped = time.monotonic()
    daemon.start(300)
    print(f"stopped in {stopped - begun:.1f} s, ready again after {time.monotonic() - stopped:.1f} s")
    for zone in (OURS, SIGNED):
        assert daemon.serial(zone) is not None
    _, served = crowd.counts()
    wait_until(
        lambda: crowd.counts()[1] > served or served > MEMBERS // 2, "the work continues", 300, every=5
    )
