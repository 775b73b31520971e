"""Random sequences of add, remove, restore, edit, update, reload and restart, with the jobs delayed at random.

The daemon is a real one in this process, with its key service; its zone workers are threads, which begin and end jobs
when the sequence says so. After each sequence: what is served is what was last put in, with a serial above all before;
of a zone that is gone nothing is served, fires, or lies among the databases.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import dns.update
import pytest

from dnssecd.clock import SystemClock
from dnssecd.config import load
from dnssecd.control.command import Refused
from dnssecd.control.messages.zones import RestoreZone
from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.daemon import wiring
from dnssecd.daemon.run import Daemon
from dnssecd.daemon.watchdog import WatchedPool
from dnssecd.daemon.zones.machine import state_of
from dnssecd.pipeline.workers import pool as pool_module
from dnssecd.pipeline.workers.frames import Job
from dnssecd.pipeline.workers.pool import NotWanted
from dnssecd.pipeline.workers.worker import Worker
from tests.peers.process import free_port

TXT = 16
KEY = b"\x02k1\x00"
SECRET = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
STEPS = 10
DELAY_S = 0.05
SETTLE_S = 60.0
ADDRESS = "192.0.2.9"

CONFIG = """
[server]
listen = ["127.0.0.1:{port}"]
state_dir = "{home}/state"
control_socket = "{home}/c.sock"
[metrics]
listen = ""
[keystore.local]
type = "software"
directory = "{home}/keys"
[tsig."k1."]
secret = "{secret}"
[policy.default]
keystore = "local"
denial = "nsec"
"""
ZONE = """
[zone."{name}"]
file = "{file}"
parent = "none"
allow_transfer = ["k1."]
"""
DYNAMIC = 'source = "dynamic"\nallow_update = [{ tsig = "k1.", names = ["*"], types = ["ANY"] }]\n'


class ThreadOfWork:
    """In place of a worker process: the same worker, in a thread, so that thousands of them cost nothing."""

    def __init__(self) -> None:
        self.database = ""
        self._worker = Worker()
        #: Workers that ended without closing their database: a process that is gone closes nothing.
        self._left: list[Worker] = []
        self._busy = asyncio.Lock()

    async def do(self, job: Job, wanted: Callable[[], bool]) -> Any:
        self.database = job.spec.database
        async with self._busy:
            if not wanted():
                raise NotWanted(job.spec.name)
            if self._worker.misled:  # as in main() of the worker
                self._left.append(self._worker)
                self._worker = Worker()
            return await asyncio.to_thread(self._worker.run, job)

    async def stop(self, *, kill: bool = False) -> None:
        async with self._busy:
            held, self._worker = self._worker._held, Worker()
            if held is not None:
                await asyncio.to_thread(held.close)

    async def restart(self) -> None:
        await self.stop(kill=True)


@dataclass
class Name:
    """What is known of one zone: what it may have now (``marks``), what was kept of it, the latest serial seen."""

    name: str
    file: Path
    dynamic: bool
    configured: bool = False
    marks: set[str] = field(default_factory=set)
    kept: list[set[str]] = field(default_factory=list)
    certain: bool = True
    serial: int = 0


class Rig:
    """One daemon after another over the same state, and the zones that come and go in it."""

    def __init__(self, home: Path, zones: int, seed: int) -> None:
        self.home, self.random = home, random.Random(seed)
        self.port = free_port()
        self.names = [Name(f"z{n}.test.", home / f"z{n}", n % 3 == 0) for n in range(zones)]
        self.count = 0
        self.daemon: Daemon
        for one in self.names:
            self.put(one)

    def put(self, one: Name) -> None:
        """Write a new version of the zone's file; a dynamic zone reads it when it begins."""
        self.count += 1
        text = "$TTL 300\n@ SOA ns h 1 3600 600 604800 60\n@ NS ns\nns A 127.0.0.1\n"
        beside = one.file.with_suffix(".new")
        beside.write_text(text + f"mark TXT m{self.count}\n")
        beside.rename(one.file)
        self.last_file = f"m{self.count}"

    def write_config(self) -> Path:
        text = CONFIG.format(port=self.port, home=self.home, secret=SECRET)
        for one in self.names:
            if one.configured:
                text += ZONE.format(name=one.name, file=one.file) + (DYNAMIC if one.dynamic else "")
        text += ZONE.format(name="stays.test.", file=self.names[0].file)
        path = self.home / "c.toml"
        path.touch(0o600)
        path.write_text(text)
        return path

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.daemon = Daemon(load(self.write_config()), SystemClock())
        running = asyncio.create_task(self.daemon.run())
        try:
            while not self.daemon.ready:
                await asyncio.sleep(0.01)
                if running.done():
                    running.result()
            yield
        finally:
            self.daemon.stop()
            await running
            await self.daemon.close()

    async def step(self) -> None:
        """Do one thing to one zone, and look at all."""
        one = self.random.choice(self.names)
        deeds = (
            [self.edit, self.edit, self.remove, self.reload, self.restore] if one.configured else [self.add]
        )
        await self.random.choice(deeds)(one)
        await asyncio.sleep(self.random.random() * DELAY_S)
        self.look()

    async def add(self, one: Name) -> None:
        self.put(one)
        one.configured, one.marks = True, {self.last_file}
        self.write_config()
        await self.daemon.control.reloader.reload([])

    async def remove(self, one: Name) -> None:
        zone = self.daemon.zones[one.name]
        one.certain = one.certain and zone.serial is not None
        one.kept.append(set(one.marks))
        one.configured = False
        self.write_config()
        await self.daemon.control.reloader.reload([one.name])

    async def reload(self, one: Name) -> None:
        await self.daemon.control.reloader.reload([])

    async def edit(self, one: Name) -> None:
        if one.dynamic:
            await self.update(one)
        else:
            self.put(one)
            one.marks = {self.last_file}

    async def update(self, one: Name) -> None:
        """Send an update, and wait for its answer or not; unanswered it may be carried out, or not."""
        self.count += 1
        mark = f"m{self.count}"
        message = dns.update.UpdateMessage(one.name)
        message.replace("mark", 300, "TXT", mark)
        request: Any = cast(Any, Asked(message.to_wire(), KEY, ADDRESS))
        asked = asyncio.create_task(self.daemon.front.updates.handle(self.daemon.zones[one.name], request))
        before, one.marks = one.marks, one.marks | {mark}
        if self.random.random() < 0.7:
            done, _ = await asyncio.wait({asked}, timeout=30)
            assert done, "an update is not answered"
            rcode = asked.result().rcode
            assert rcode in (0, 2)
            one.marks = {mark} if rcode == 0 else before | {mark}

    async def restore(self, one: Name) -> None:
        zone = self.daemon.zones[one.name]
        if not one.kept or not one.certain or zone.serial is None:
            return
        before = zone.serial
        call: Any = cast(Any, Restoring(one.name))
        refused = ""
        try:
            await self.daemon.control.removed.restore(call)
        except Refused as error:
            refused = error.what
        if refused:  # just after a start; nothing was changed
            assert "key service" in refused
            assert self.daemon.zones[one.name] is zone
            assert zone.serial >= before
            return
        kept = one.kept.pop()
        one.kept.append(set(one.marks))
        if one.dynamic:
            one.marks = kept

    def look(self) -> None:
        """What holds at every moment."""
        for one in self.names:
            zone = self.daemon.zones.get(one.name)
            assert (zone is not None) == one.configured, one
            if zone is None:
                assert not self.daemon.base.events.firing(one.name), self.daemon.base.events.firing(one.name)
            elif zone.serial is not None:
                assert zone.state is state_of(zone)
                assert zone.serial >= one.serial, f"{one} went back to serial {zone.serial}"
                one.serial = zone.serial

    async def settle(self) -> None:
        """Wait until every zone serves what was last put in; then nothing is left of those that are gone."""
        ends = asyncio.get_running_loop().time() + SETTLE_S
        while bad := [one for one in self.names if one.configured and self.mark(one) not in one.marks]:
            if asyncio.get_running_loop().time() > ends:
                pytest.fail("\n".join(self.told(one) for one in bad))
            await asyncio.sleep(0.05)
        self.look()
        databases = {path.name for path in (self.home / "state" / "zones").glob("*.sqlite")}
        assert databases == {f"{one.name[:-1]}.sqlite" for one in self.names if one.configured} | {
            "stays.test.sqlite"
        }
        catalogued = set(self.daemon.base.catalogue.entries()) | set(self.daemon.base.catalogue.serving())
        assert catalogued == {one.name for one in self.names if one.configured} | {"stays.test."}
        firing = self.daemon.base.events.firing()
        assert not firing, firing

    def told(self, one: Name) -> str:
        zone = self.daemon.zones[one.name]
        return f"{one} serves {self.mark(one)} at {zone.serial}; {zone.problems} {zone.blockers}"

    def mark(self, one: Name) -> str | None:
        """The mark that is served."""
        held = self.daemon.zones[one.name].snapshot()
        if held is None:
            return None
        with held as snapshot:
            assert snapshot.rrset(APEX, SOA) is not None
            rrset = snapshot.rrset(b"mark\x00", TXT)
            return None if rrset is None else rrset.rdata[3:].decode()


@dataclass
class Asked:
    wire: bytes
    key: bytes
    address: str


class Restoring:
    """A call of ``zone.restore``."""

    def __init__(self, zone: str) -> None:
        self.request = RestoreZone(zone=zone)
        self.caller = type("Caller", (), {"user": "test"})


def delayed(seed: int) -> type[WatchedPool]:
    """A pool whose jobs begin late, and whose outcomes arrive late."""
    chance = random.Random(seed)

    class Delayed(WatchedPool):
        async def run(
            self,
            job: Job,
            turn: asyncio.Lock,
            octets: int = 0,
            wanted: Callable[[], bool] = lambda: True,
            *,
            first: bool = True,
        ) -> Any:
            await asyncio.sleep(chance.random() * DELAY_S)
            outcome = await super().run(job, turn, octets, wanted, first=first)
            await asyncio.sleep(chance.random() * DELAY_S)
            return outcome

    return Delayed


async def come_and_go(home: Path, monkeypatch: pytest.MonkeyPatch, seed: int, zones: int, lives: int) -> None:
    monkeypatch.setattr(pool_module, "_Process", ThreadOfWork)
    monkeypatch.setattr(wiring, "WatchedPool", delayed(seed))
    rig = Rig(home, zones, seed)
    for _ in range(lives):
        async with rig.running():
            rig.look()
            for _ in range(STEPS * zones):
                await rig.step()
            await rig.settle()


async def test_what_is_served_is_what_was_last_put_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await come_and_go(tmp_path, monkeypatch, seed=1, zones=10, lives=3)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(5))
async def test_in_two_hundred_sequences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    await come_and_go(tmp_path, monkeypatch, seed, zones=10, lives=4)
