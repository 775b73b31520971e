"""The disk fills while updates stream in: SERVFAIL, the zone served on, nothing by half; work when there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.daemon.zones.databases import RESTING_ROUNDS, Databases
from dnssecd.store.errors import DatabaseFailed
from dnssecd.store.zonedb import ZoneDatabase
from tests.integration.smallzone import ZONE as SMALL
from tests.integration.smallzone import small_zone, wait_event
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file, secondaries_of
from tests.peers.nsd import Nsd
from tests.peers.process import Servers, wait_until
from tests.peers.tools import ldns_verify_zone
from tests.peers.tsig import TsigKey
from tests.peers.updates import (
    NOERROR,
    SERVFAIL,
    UpdateConnection,
    UpdateMaker,
    dynamic_world,
    dynamic_zone_text,
    grant_all,
)
from tests.peers.world import World
from tests.peers.zones import difference, soa_serial

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ZONE = "full.test."
SIZE = "24m"
LEFT_OCTETS = 300_000
TRIES_MAX = 400


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own, small, and gone afterwards; needs root."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    path = Path(tempfile.mkdtemp(prefix="disk-"))
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", path], check=True, timeout=20
    )
    yield path
    subprocess.run(["umount", "-l", path], check=True, timeout=20)
    path.rmdir()


class Ballast:
    """A file that takes the room."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "ballast"

    def fill(self, but_for: int) -> None:
        """Take all room but ``but_for`` octets."""
        free = shutil.disk_usage(self._path.parent).free
        with suppress(OSError), self._path.open("ab", buffering=0) as out:
            while free > but_for:
                free -= out.write(bytes(min(4096, free - but_for)))

    def release(self) -> None:
        self._path.unlink()


def update_until_refused(
    world: World, maker: UpdateMaker, connection: UpdateConnection
) -> tuple[list[str], str]:
    """Send pairs of TXT RRs until one is refused: the names of those answered NOERROR, and the refused one's."""
    taken: list[str] = []
    for number in range(TRIES_MAX):
        name = f"n{number}"
        rcode = connection.ask(pair(maker, name))
        assert world.daemon.serial(ZONE) is not None, "the zone is not served"
        if rcode != NOERROR:
            assert rcode == SERVFAIL
            return taken, name
        taken.append(name)
    raise AssertionError("the disk does not get full")


def pair(maker: UpdateMaker, name: str) -> bytes:
    text = '"' + "x" * 250 + '"'
    return maker.wire(add=[(f"{owner}.{name}", 60, "TXT", " ".join([text] * 8)) for owner in ("a", "b")])


def names(content: set[str], owner: str) -> set[str]:
    """The names of the pairs of which this half is in the zone."""
    found = (line.split()[0] for line in content if " IN TXT " in line)
    return {each.split(".")[1] for each in found if each.startswith(f"{owner}.")}


def check_whole(world: World, wanted: set[str], serial: int) -> set[str]:
    """The zone is at this serial, holds just these pairs, and everybody accepts it."""
    content = world.daemon.zone_content(ZONE)
    assert names(content, "a") == names(content, "b") == wanted
    assert soa_serial(content) == serial
    judged = world.home / "judged.zone"
    judged.write_text("\n".join(sorted(content)) + "\n")
    verdict = ldns_verify_zone(judged, ZONE)
    assert verdict.ok, verdict
    return content


@pytest.mark.parametrize("restarted", [False, True])
def test_disk_full(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, small_disk: Path, restarted: bool
) -> None:
    """``restarted``: ``kill -9`` and a start while the disk is full."""
    world = dynamic_world(servers, peer_dir, tsig_key, ZONE, state_dir=small_disk / "state")
    daemon, maker, ballast = world.daemon, UpdateMaker(ZONE, tsig_key), Ballast(small_disk)
    wait_event(daemon, "disk-low", "")
    with UpdateConnection(daemon.port) as connection:
        assert connection.ask(pair(maker, "first")) == NOERROR
        ballast.fill(LEFT_OCTETS)
        taken, refused = update_until_refused(world, maker, connection)
        taken.append("first")
        ballast.fill(0)
        assert connection.ask(pair(maker, refused)) == SERVFAIL
    wait_event(daemon, "store-failed", ZONE)
    serial = daemon.serial(ZONE)
    assert serial is not None
    content = check_whole(world, set(taken), serial)
    if restarted:
        daemon.kill()
        daemon.start()
        assert daemon.wait_serial_other_than(ZONE, None) == serial, "served from a full disk"
        assert difference(content, check_whole(world, set(taken), serial)) == ""
    ballast.release()
    with UpdateConnection(daemon.port) as connection:
        wait_until(lambda: connection.ask(pair(maker, refused)) == NOERROR, "updates work again")
        assert connection.ask(pair(maker, "last")) == NOERROR
    wait_event(daemon, "store-failed", ZONE, firing=False)
    serial = daemon.serial(ZONE)
    assert serial is not None
    content = check_whole(world, {*taken, refused, "last"}, serial)
    for name, second in world.secondaries.items():
        second.wait_serial(ZONE, serial)
        assert difference(content, second.zone_content(ZONE)) == "", name


def test_a_daemon_that_starts_on_a_full_disk_serves(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, small_disk: Path
) -> None:
    """It was stopped in order, so none of its databases has an index of its write-ahead log any more."""
    world = dynamic_world(servers, peer_dir, tsig_key, ZONE, state_dir=small_disk / "state")
    daemon, maker, ballast = world.daemon, UpdateMaker(ZONE, tsig_key), Ballast(small_disk)
    with UpdateConnection(daemon.port) as connection:
        assert connection.ask(pair(maker, "first")) == NOERROR
    serial = daemon.serial(ZONE)
    assert serial is not None
    content = check_whole(world, {"first"}, serial)
    daemon.stop()
    assert not list(small_disk.rglob("*-shm"))
    ballast.fill(0)
    daemon.start()
    assert daemon.wait_serial_other_than(ZONE, None) == serial
    assert difference(content, check_whole(world, {"first"}, serial)) == ""
    with UpdateConnection(daemon.port) as connection:
        assert connection.ask(pair(maker, "refused")) == SERVFAIL
        ballast.release()
        wait_until(lambda: connection.ask(pair(maker, "last")) == NOERROR, "updates work again")
    wait_event(daemon, "store-failed", ZONE, firing=False)
    serial = daemon.serial(ZONE)
    assert serial is not None
    check_whole(world, {"first", "last"}, serial)
    made = daemon.cli("backup", "-o", str(small_disk / "backup.tar"), timeout=60)
    assert made.ok, made


def test_a_zone_is_served_from_a_disk_that_became_read_only(small_disk: Path) -> None:
    """As after an error of the disk; also if its database was closed before, because it was not used."""
    path, origin = small_disk / "zone.sqlite", text_to_wire(ZONE)
    databases = Databases[int]()

    def get() -> ZoneDatabase:
        return databases.get(0, path, origin, lambda: None)

    with get().write() as transaction:
        transaction.set_state("kept", {})
        transaction.commit_state()
    for _ in range(RESTING_ROUNDS + 1):
        databases.rest()
    databases.settle(0)
    remount(small_disk, "ro")
    with get().snapshot() as snapshot:
        assert snapshot.state("kept") == {}
    with pytest.raises(DatabaseFailed, match="read-only"), get().write():
        pass
    databases.rest()
    remount(small_disk, "rw")
    with get().write() as transaction:
        transaction.set_state("new", {})
        transaction.commit_state()
    databases.close()


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True, timeout=20)


def test_one_zone_s_full_store_is_that_zone_s(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, small_disk: Path
) -> None:
    """One daemon, two zones: one's store has no room, its changes fail, it is still served; the other's are taken."""
    well = "well.test."
    ports = DaemonPorts.free()
    files = {zone: peer_dir / f"{zone}zone" for zone in (ZONE, well)}
    for zone, path in files.items():
        path.write_text(dynamic_zone_text(zone))
    secondaries = secondaries_of(peer_dir, list(files), ports.dns, tsig_key, (Nsd,))
    nsd = servers.start(secondaries["nsd"])
    config = daemon_config(peer_dir, ports, tsig_key, files, {"nsd": nsd.port})
    for zone in files:
        grant_all(config["zone"][zone], tsig_key)
    daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    for zone in files:
        nsd.wait_serial(zone, daemon.wait_serial_other_than(zone, None))
    daemon.stop()
    store = Path(config["server"]["state_dir"]) / "zones" / f"{ZONE}sqlite"
    shutil.move(store, small_disk / "store")
    store.symlink_to(small_disk / "store")
    daemon.start()
    daemon.wait_serial_other_than(
        ZONE, None
    )  # another file is in its place: it is verified before it is served
    world = World(ZONE, peer_dir, tsig_key, files[ZONE], daemon, secondaries)
    maker, other, ballast = UpdateMaker(ZONE, tsig_key), UpdateMaker(well, tsig_key), Ballast(small_disk)
    with UpdateConnection(daemon.port) as connection:
        ballast.fill(LEFT_OCTETS)
        taken, refused = update_until_refused(world, maker, connection)
        ballast.fill(0)
        before = daemon.serial(ZONE)
        for number in range(5):
            assert connection.ask(pair(maker, refused)) == SERVFAIL
            assert connection.ask(pair(other, f"n{number}")) == NOERROR, "the other zone goes on"
    wait_event(daemon, "store-failed", ZONE)
    wait_event(daemon, "store-failed", well, firing=False)
    serial = daemon.serial(well)
    assert serial is not None
    nsd.wait_serial(well, serial)
    assert names(nsd.zone_content(well), "a") == {f"n{number}" for number in range(5)}
    assert before is not None
    check_whole(world, set(taken), before)
    ballast.release()
    with UpdateConnection(daemon.port) as connection:
        wait_until(
            lambda: connection.ask(pair(maker, refused)) == NOERROR, "updates of the full zone work again"
        )
    wait_event(daemon, "store-failed", ZONE, firing=False)


def test_the_output_file_has_no_room(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, small_disk: Path
) -> None:
    """The version is published; the file is the previous one as a whole, until there is room."""
    ballast, output, source = Ballast(small_disk), small_disk / "signed.zone", peer_dir / "input.zone"
    source.write_text(small_zone(1))
    ports = DaemonPorts.free()
    secondaries = secondaries_of(peer_dir, [SMALL], ports.dns, tsig_key, (Nsd,))
    nsd = servers.start(secondaries["nsd"])
    config = daemon_config(peer_dir, ports, tsig_key, {SMALL: source}, {"nsd": nsd.port})
    config["zone"][SMALL]["output_file"] = output
    daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    wait_until(output.exists, "the file is written", 30)
    before = output.read_bytes()

    ballast.fill(0)
    replace_file(source, small_zone(2, "late A 192.0.2.7\n"))
    wait_event(daemon, "output-file-failed", SMALL)
    alerts = daemon.zone_status(SMALL)["alerts"]
    assert any("No space left" in one["cause"] and "make room" in one["remedy"] for one in alerts), alerts
    nsd.wait_serial(SMALL, 2)
    assert output.read_bytes() == before
    assert sorted(path.name for path in small_disk.iterdir()) == ["ballast", "signed.zone"]

    ballast.release()
    wait_event(daemon, "output-file-failed", SMALL, firing=False, timeout=60)
    assert b"late.small.test." in output.read_bytes()
    assert ldns_verify_zone(output, SMALL).ok
