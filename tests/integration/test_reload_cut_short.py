"""A reload is applied as a whole, whatever happens meanwhile: its client leaves, the disk is full, SIGHUP comes often.

The daemon is a real one in this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dnssecd.clock import SystemClock
from dnssecd.config import load
from dnssecd.daemon.run import Daemon
from dnssecd.keyservice_client import launch
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
        self.path, self.port = path, free_port()
        (path / "zone").write_text("$TTL 300\n@ SOA ns h 1 3600 600 604800 60\n@ NS ns\nns A 127.0.0.1\n")

    def write(self, *zones: str, more: str = "") -> Path:
        text = HEAD.format(port=self.port, home=self.path) + more
        path = self.path / "c.toml"
        path.touch(0o600)
        path.write_text(text + "".join(ZONE.format(name=name, home=self.path) for name in zones))
        return path

    @asynccontextmanager
    async def running(self, *zones: str) -> AsyncIterator[Daemon]:
        daemon = Daemon(load(self.write(*zones)), SystemClock())
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
