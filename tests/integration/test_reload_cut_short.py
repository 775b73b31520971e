"""A reload is applied as a whole, whatever happens meanwhile: its client leaves, the disk is full, SIGHUP comes often.

The daemon is a real one in this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dnssecd.clock import SystemClock
from dnssecd.config import load
from dnssecd.config.added import AddedZone
from dnssecd.control.messages.zones import RestoreZone
from dnssecd.daemon.run import Daemon
from dnssecd.daemon.zones import restore_removed
from dnssecd.keyservice_client import launch
from dnssecd.pipeline.jobs.input import ImportJob
from dnssecd.pipeline.workers import frames
from dnssecd.store.leaving import read_standing
from tests.peers.process import free_port

pytestmark = pytest.mark.integration

HEAD = """
[server]
listen = ["127.0.0.1:{port}"]
state_dir = "{home}/state"
control_socket = "{home}/c.sock"
[metrics]
listen = ""
[keystore.local]
type = "software"
directory = "{home}/keys"
[policy.default]
keystore = "local"
"""
ZONE = '[zone."{name}"]\nfile = "{home}/zone"\nparent = "none"\n'
STAYS, FIRST, SECOND = "stays.test.", "first.test.", "second.test."


class Home:
    """The configuration of a daemon; ``zones`` are those of its file."""

    def __init__(self, path: Path) -> None:
        self.path, self.port, self.kind = path, free_port(), ZONE
        (path / "zone").write_text("$TTL 300\n@ SOA ns h 1 3600 600 604800 60\n@ NS ns\nns A 127.0.0.1\n")

    def write(self, *zones: str, more: str = "") -> Path:
        text = HEAD.format(port=self.port, home=self.path) + more
        path = self.path / "c.toml"
        path.touch(0o600)
        path.write_text(text + "".join(self.kind.format(name=name, home=self.path) for name in zones))
        return path

    @asynccontextmanager
    async def running(self, *zones: str, more: str = "") -> AsyncIterator[Daemon]:
        daemon = Daemon(load(self.write(*zones, more=more)), SystemClock())
        running = asyncio.create_task(daemon.run())
        try:
            async with asyncio.timeout(60):
                while not daemon.ready or any(zone.serial is None for zone in daemon.zones.values()):
                    await asyncio.sleep(0.01)
                    if running.done():
                        running.result()
            yield daemon
        finally:
            daemon.stop()
            await running
            await daemon.close()


async def test_a_client_that_leaves_cuts_no_reload_in_two(tmp_path: Path) -> None:
    home = Home(tmp_path)
    async with home.running(STAYS, FIRST, SECOND) as daemon:
        home.write(STAYS)
        command = asyncio.create_task(daemon.control.reloader.reload([FIRST, SECOND], ds_is_gone=True))
        async with asyncio.timeout(30):
            while FIRST in daemon.zones:
                await asyncio.sleep(0)
        command.cancel()
        with pytest.raises(asyncio.CancelledError):
            await command
        assert set(daemon.zones) == set(daemon.base.config.get().zones) == {STAYS}
        assert not (await daemon.control.reloader.reload([])).changed


async def test_a_full_disk_does_not_halve_a_reload(tmp_path: Path) -> None:
    home = Home(tmp_path)
    async with home.running(STAYS, FIRST) as daemon:
        catalogue = daemon.base.catalogue
        catalogue._connection.execute("PRAGMA query_only = ON")
        home.write(STAYS, SECOND)
        result = await daemon.control.reloader.reload([FIRST], ds_is_gone=True)
        assert (result.added, result.removed) == ([SECOND], [FIRST])
        assert set(daemon.zones) == set(daemon.base.config.get().zones) == {STAYS, SECOND}
        assert set(catalogue.serving()) == {STAYS, FIRST}
        catalogue._connection.execute("PRAGMA query_only = OFF")
        async with asyncio.timeout(30):
            while set(catalogue.serving()) != {STAYS, SECOND}:  # with the entry of the next version
                daemon.work.outcomes.remember(daemon.zones[STAYS])
                await asyncio.sleep(0.05)


async def test_a_key_service_that_does_not_start_again_leaves_the_rest_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    store = f'[keystore.second]\ntype = "software"\ndirectory = "{tmp_path}/more"\n'
    async with home.running(STAYS) as daemon:
        home.write(STAYS, FIRST, more=store)
        with monkeypatch.context() as broken:
            broken.setattr(launch, "MODULE", "dnssecd.absent")
            assert (await daemon.control.reloader.reload([])).added == [FIRST]
            assert FIRST in daemon.zones
            assert any(event.name == "signer-unreachable" for event in daemon.base.events.firing())
        async with asyncio.timeout(60):  # it is tried again, and then the new zone is signed
            while daemon.zones[FIRST].serial is None:
                await asyncio.sleep(0.05)
        assert {store.name for store in (await daemon.control.keys.status()).stores} == {"local", "second"}


DYNAMIC = ZONE + 'source = "dynamic"\nallow_update = []\n'


async def test_a_version_whose_client_left_is_served_and_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has committed it; its answer does not arrive any more."""
    home = Home(tmp_path)
    home.kind = DYNAMIC
    async with home.running(STAYS) as daemon:
        zone, announced = daemon.zones[STAYS], list[int | None]()
        daemon.base.mailbox.published.subscribe(lambda one: announced.append(one.serial))
        answered, receive = asyncio.Event(), frames.receive_frame

        async def receive_late(stream: asyncio.StreamReader) -> bytes:
            body = await receive(stream)
            if not answered.is_set():
                answered.set()
                await asyncio.Event().wait()
            return body

        monkeypatch.setattr(frames, "receive_frame", receive_late)
        text = (tmp_path / "zone").read_text() + "new A 127.0.0.2\n"
        (tmp_path / "import").write_text(text)
        job = ImportJob(path=str(tmp_path / "import"), merge=False, accept_change=True)
        command = asyncio.create_task(daemon.work.jobs.take(zone, "import", len(text), imported=job))
        async with asyncio.timeout(30):
            await answered.wait()
            assert read_standing(Path(zone.spec.database))[1] == 2
            command.cancel()
            with pytest.raises(asyncio.CancelledError):
                await command
            while zone.serial != 2:
                await asyncio.sleep(0.05)
        assert announced == [2]


@asynccontextmanager
async def with_removed(home: Home) -> AsyncIterator[tuple[Daemon, Any]]:
    """A daemon from which an added zone was removed, and the command that restores it."""
    template = f'[zone-template.made]\nfile = "{home.path}/zone"\nparent = "none"\n'
    async with home.running(STAYS, more=template) as daemon:
        added = daemon.control.added
        record = AddedZone(zone=FIRST, template="made", given={}, at=1)
        async with added.turn:
            await added.change({FIRST: (record, added.make(record))}, [])
        async with asyncio.timeout(60):
            while daemon.zones[FIRST].serial is None:
                await asyncio.sleep(0.05)
        async with added.turn:
            await added.change({}, [FIRST])
        caller = SimpleNamespace(user="root")
        yield daemon, SimpleNamespace(request=RestoreZone(zone=FIRST), caller=caller, note=lambda *_: None)


class Silent:
    """A question that gets no answer."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def __call__(self, *_: object, **__: object) -> None:
        self.asked.set()
        await asyncio.Event().wait()


async def leave(daemon: Daemon, call: Any, silent: Silent) -> None:
    """Restore the zone, and leave when the question was asked."""
    command = asyncio.create_task(daemon.control.removed.restore(call))
    async with asyncio.timeout(60):
        await silent.asked.wait()
        command.cancel()
        with pytest.raises(asyncio.CancelledError):
            await command


async def test_a_restore_whose_client_leaves_adds_no_zone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Silent()
    async with with_removed(Home(tmp_path)) as (daemon, call):
        monkeypatch.setattr(restore_removed, "may_return", silent)
        await leave(daemon, call, silent)
        assert set(daemon.zones) == set(daemon.base.config.get().zones) == {STAYS}
        assert daemon.base.added.get(FIRST) is None


async def test_a_restored_zone_whose_client_leaves_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Silent()
    async with with_removed(Home(tmp_path)) as (daemon, call):
        monkeypatch.setattr(daemon.work.jobs, "permit", silent)
        await leave(daemon, call, silent)
        async with asyncio.timeout(60):
            while daemon.zones[FIRST].serial is None:
                await asyncio.sleep(0.05)
        assert daemon.zones[FIRST].serial == 2, "above what was served before"
