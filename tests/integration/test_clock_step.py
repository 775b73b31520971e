"""The real daemon with a clock that jumps (libfaketime): nothing new is signed until somebody vouches for the time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.smallzone import ZONE, small_zone, wait_event
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file, secondaries_of, settled
from tests.peers.knotd import Knotd
from tests.peers.nameserver import Nameserver
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey

pytestmark = pytest.mark.integration

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


class FakedDnssecd(Dnssecd):
    """A daemon whose wall clock is off by what `offset` holds; the monotonic clock is real."""

    @property
    def offset(self) -> Path:
        return self.directory / "offset"

    def environment(self) -> Mapping[str, str]:
        if not self.offset.exists():
            self.shift("+0")
        faked = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self.offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        return {**super().environment(), **faked}

    def shift(self, text: str) -> None:
        """Set the clock off by, for example, ``+2h``."""
        replace_file(self.offset, text + "\n")

    def doubted(self) -> bool:
        return bool(self.cli_json("status")["clock_suspect"])


def start(
    servers: Servers, home: Path, key: TsigKey, kinds: tuple[type[Nameserver], ...] = ()
) -> FakedDnssecd:
    if LIBRARY is None:
        pytest.skip("libfaketime is not installed")
    ports = DaemonPorts.free()
    (home / "input.zone").write_text(small_zone())
    secondaries = secondaries_of(home, [ZONE], ports.dns, key, kinds)
    for second in secondaries.values():
        servers.start(second)
    addresses = {name: second.port for name, second in secondaries.items()}
    config = daemon_config(home, ports, key, {ZONE: home / "input.zone"}, addresses)
    daemon = servers.start(FakedDnssecd(home / "dnssecd", config, key))
    assert daemon.wait_serial_other_than(ZONE, None) == 1
    return daemon


def edit(home: Path, serial: int) -> None:
    replace_file(home / "input.zone", small_zone(serial, f"new{serial} A 192.0.2.9\n"))


def test_after_a_jump_nothing_is_signed_until_an_operator_confirms(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    daemon = start(servers, peer_dir, tsig_key)
    daemon.shift("+365d")
    wait_until(daemon.doubted, "the clock is in doubt")
    wait_event(daemon, "clock-step", "")
    edit(peer_dir, 2)
    assert settled(lambda: daemon.serial(ZONE), 3.0) == 1, "the old version is served"
    reloaded = daemon.cli("zone", "reload", ZONE)
    assert reloaded.status == 1
    assert "clock" in reloaded.text
    daemon.shift("+0")
    assert settled(daemon.doubted, 2.0), "back again is a jump too"
    confirmed = daemon.cli("clock", "confirm")
    assert confirmed.ok, confirmed
    assert daemon.wait_serial_other_than(ZONE, 1) == 2
    wait_event(daemon, "clock-step", "", firing=False)
    assert not daemon.doubted()
    assert "clock stepped" in daemon.cli("zone", "history", ZONE).out


def test_a_secondary_s_tsig_time_confirms_the_clock(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    daemon = start(servers, peer_dir, tsig_key, (Knotd,))
    daemon.shift("+2h")
    wait_until(daemon.doubted, "the clock is in doubt")
    edit(peer_dir, 2)
    assert settled(lambda: daemon.serial(ZONE), 5.0) == 1, "the secondary's time is another"
    daemon.shift("+0")
    wait_until(lambda: not daemon.doubted(), "the secondary vouches", timeout=90)
    assert daemon.wait_serial_other_than(ZONE, 1) == 2


def test_a_start_long_after_the_stop_is_in_doubt_and_serves(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    daemon = start(servers, peer_dir, tsig_key)
    daemon.stop()
    daemon.shift("+10m")
    edit(peer_dir, 2)
    daemon.start()
    assert daemon.doubted()
    assert settled(lambda: daemon.serial(ZONE), 2.0) == 1
    assert daemon.cli("clock", "confirm").ok
    assert daemon.wait_serial_other_than(ZONE, 1) == 2


def test_a_short_stop_is_no_reason_for_doubt(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    daemon = start(servers, peer_dir, tsig_key)
    daemon.stop()
    daemon.shift("+4m")
    edit(peer_dir, 2)
    daemon.start()
    assert daemon.wait_serial_other_than(ZONE, 1) == 2
    assert not daemon.doubted()
