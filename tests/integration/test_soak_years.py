"""Years in accelerated time, and twenty real minutes in which nothing stays whole for long: at the end all is well.

The seeds are printed; ``SOAK_SEED`` repeats one, ``SOAK_MINUTES`` sets how long.
"""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dnssecd.replacing import replace
from tests.bench.timing import family, pss_kib
from tests.faults.hsm.faulty import FaultyHsm, build_shim
from tests.integration.soak_world import DYNAMIC, TOKEN, ZONES, SoakWorld, start_soak_world
from tests.peers.process import PeerError, Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.updates import NOERROR, UpdateConnection, UpdateMaker
from tests.peers.zones import difference
from tests.simulation.scenario import Scenario, make
from tests.simulation.world import World

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(7200)]

YEARS_DAYS = 730.0
LIVES = 100
MINUTES = float(os.environ.get("SOAK_MINUTES", "20"))
SEED = int(os.environ.get("SOAK_SEED", str(int.from_bytes(os.urandom(4)))))
#: In the last part of the time the daemon is not killed, so that its memory can be watched.
KILLS_SHARE, WARM_SHARE = 0.5, 0.6
WELL_S = 120.0
#: What memory may grow by after the warm-up.
GROWTH_MAX, GROWTH_MIB_MAX = 1.15, 8.0
KEPT = 60
#: In so long each kind of fault comes at least once, those that kill the daemon in the first half.
ALL_KINDS_MINUTES = 20
DISK = "1g"


def long_life(seed: int) -> Scenario:
    """A scenario of two years. A parent's DS TTL stays what it is: nobody can see one that is raised and whose DS then
    goes between two looks, and in so many years that happens. (Short lives have it, and the daemon looks often.)"""
    scenario = make(seed, YEARS_DAYS)
    return replace(scenario, acts=tuple(act for act in scenario.acts if act.kind != "ds ttl"))


def test_two_years_of_many_lives() -> None:
    """No validator fails in two years of rollovers, changes of policy, commands and mishaps."""
    plans = 0
    for life in range(LIVES):
        seed = SEED + life
        world = World(long_life(seed), seed)
        try:
            world.run()
        except AssertionError:
            print(f"seed {seed}", *world.trace[-40:], sep="\n")
            raise
        plans += world.plans
    print(f"{LIVES} lives of {YEARS_DAYS:.0f} days from seed {SEED}: {plans} plans")


class Load(threading.Thread):
    """Updates one zone all the time; knows which names must be there, and which must not."""

    def __init__(self, world: SoakWorld, zone: str) -> None:
        super().__init__(daemon=True)
        self._world, self.zone = world, zone
        self._maker = UpdateMaker(zone, world.key)
        self._ended = threading.Event()
        self.present: set[str] = set()
        self.absent: set[str] = set()
        self.taken = self.refused = self.lost = 0

    def run(self) -> None:
        number = 0
        while not self._ended.is_set():
            with suppress(OSError), UpdateConnection(self._world.daemon.port, 5.0) as connection:
                while not self._ended.is_set():
                    number += 1
                    self._step(connection, number)
            self._ended.wait(0.2)

    def _step(self, connection: UpdateConnection, number: int) -> None:
        name, old = f"u{number}", f"u{number - KEPT}"
        was_there = old in self.present
        self.present.discard(old)
        try:
            rcode = connection.ask(self._maker.wire([(name, 60, "TXT", f'"{number}"')], [(old, "TXT", "")]))
        except OSError:
            self.lost += 1
            raise
        if rcode == NOERROR:
            self.taken += 1
            self.present.add(name)
            self.absent.add(old)
        else:
            self.refused += 1
            if was_there:
                self.present.add(old)
        self._ended.wait(0.05 if rcode == NOERROR else 0.5)

    def end(self) -> None:
        self._ended.set()
        self.join(30)
        assert not self.is_alive()

    def check(self, content: set[str]) -> None:
        """What was answered NOERROR is so."""
        names = {line.split()[0].split(".")[0] for line in content if " IN TXT " in line}
        assert self.present <= names, f"lost: {sorted(self.present - names)[:5]}"
        assert not self.absent & names, f"came back: {sorted(self.absent & names)[:5]}"


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyHsm]:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    monkeypatch.setenv("SHIM_CONTROL", str(tmp_path / "orders"))
    hsm = FaultyHsm(tmp_path / "hsm", module=str(build_shim(tmp_path)))
    hsm.make_token("dns")
    hsm.orders()
    yield hsm
    hsm.orders()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which can be filled; needs root."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "tmpfs", path], check=True, timeout=20
    )
    yield path
    subprocess.run(["umount", "-l", path], check=True, timeout=20)


def memory_mib(world: SoakWorld) -> tuple[float, float]:
    """The front's memory, and that of all the daemon's processes."""
    sizes = {pid: pss_kib(pid) / 1024 for pid in family(world.daemon.pid)}
    return sizes[world.daemon.pid], sum(sizes.values())


def see_to_recovery(world: SoakWorld, loads: list[Load], what: str) -> None:
    """After a fault updates are taken again, and every secondary gets the version published then or a later."""
    taken = [load.taken for load in loads]
    try:
        for load, before in zip(loads, taken, strict=True):
            again = f"updates of {load.zone} after: {what}"
            wait_until(lambda n=before, each=load: each.taken > n, again, WELL_S)  # type: ignore[misc]
        for zone in ZONES:
            serial = world.daemon.serial(zone)
            assert serial is not None, f"{zone} is dark after: {what}"
            there = f"{zone} {serial} at every secondary after: {what}"
            wait_until(lambda zone=zone, n=serial: world.follow(zone, n), there, WELL_S)  # type: ignore[misc]
    except PeerError as error:
        raise PeerError(f"{error}\n{world.state().text}\n{world.daemon.log_tail()}") from None


def test_twenty_minutes_of_trouble(
    servers: Servers,
    peer_dir: Path,
    tsig_key: TsigKey,
    hsm: FaultyHsm,
    disk: Path,
) -> None:
    print(f"seed {SEED}")
    world = start_soak_world(servers, peer_dir, tsig_key, hsm, disk, random.Random(SEED))
    loads = [Load(world, DYNAMIC), Load(world, TOKEN)]
    for load in loads:
        load.start()
    started, ends = time.monotonic(), time.monotonic() + 60 * MINUTES
    warm: tuple[float, float] | None = None
    while (now := time.monotonic()) < ends:
        share = (now - started) / (60 * MINUTES)
        world.kills = share < KILLS_SHARE
        if warm is None and share > WARM_SHARE:
            warm = memory_mib(world)
        what = world.any_fault()
        print(f"{now - started:6.0f} s {what}", flush=True)
        see_to_recovery(world, loads, what)
        zone = world.chance.choice(ZONES)
        world.judge(zone, world.daemon.zone_content(zone))
    end = memory_mib(world)
    for load in loads:
        load.end()
    finish(world, loads)
    report(world, loads, warm or end, end)
    if MINUTES >= ALL_KINDS_MINUTES:
        assert not world.missing(), "every kind of fault has to come"
    assert warm is not None
    for before, after in zip(warm, end, strict=True):
        assert after < GROWTH_MAX * before + GROWTH_MIB_MAX, (
            f"memory grew from {before:.0f} to {after:.0f} MiB"
        )


def finish(world: SoakWorld, loads: list[Load]) -> None:
    """When the trouble is over everybody has the same, and it is right."""
    for zone in ZONES:
        wait_until(lambda zone=zone: world.well(zone), f"{zone} is at every secondary", WELL_S, 0.2)  # type: ignore[misc]
        content = world.daemon.zone_content(zone)
        world.judge(zone, content)
        for name, second in world.secondaries.items():
            assert difference(content, second.zone_content(zone)) == "", f"{zone} at {name}"
        for load in loads:
            if load.zone == zone:
                load.check(content)


def report(world: SoakWorld, loads: list[Load], warm: tuple[float, float], end: tuple[float, float]) -> None:
    print(f"\nseed {SEED}, {MINUTES:g} minutes, {sum(world.done.values())} faults:")
    for name, count in sorted(world.done.items()):
        print(f"  {count:3} {name}")
    for load in loads:
        print(f"{load.zone} {load.taken} updates taken, {load.refused} refused, {load.lost} connections lost")
    print(f"memory of the front {warm[0]:.0f} MiB after warm-up, {end[0]:.0f} MiB at the end; of all processes"
          f" {warm[1]:.0f}, {end[1]:.0f} MiB")  # fmt: skip
    files = [path for path in world.disk.rglob("*") if path.is_file()]
    largest = sorted(((path.stat().st_size >> 10, path.name) for path in files), reverse=True)[:5]
    print(f"largest files, KiB: {largest}")
    keys = world.daemon.cli_json("key", "list")["keys"]
    print(f"keys at the end: {[(key['zone'], key['role'], key['tag']) for key in keys]}")
