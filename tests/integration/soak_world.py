"""A daemon with three zones, its secondaries, its token and its disk, and what may befall them, to be had at will.

Processes that are killed, secondaries that are down, a full disk, a clock that steps, a token that fails in each way
its shim knows, edits and reloads. Not here, but in tests of their own: damaged files, lies of parents, primaries and
clients, and restores. Each fault does its harm, waits a random while, and makes good what was harmed. Where a person
has to say that it is good again (the clock is confirmed, a token that lied is tested) it is said and waited for; that
the daemon is well again otherwise is for the caller to see.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from dnssecd.core.dns.serial import is_after
from tests.faults.hsm.faulty import FaultyHsm
from tests.faults.test_disk_full import Ballast
from tests.integration.hsm.daemon import pkcs11_keystore
from tests.integration.test_clock_step import FakedDnssecd
from tests.peers.dnssecd import DaemonPorts, daemon_config, replace_file, secondaries_of
from tests.peers.nameserver import Nameserver
from tests.peers.process import Servers, wait_until
from tests.peers.tools import Result, dnssec_verify, ldns_verify_zone
from tests.peers.tsig import TsigKey
from tests.peers.updates import dynamic_zone_text, grant_all
from tests.peers.world import SECONDARY_KINDS

DYNAMIC, TOKEN, FILE = "soak.test.", "hsm.test.", "file.test."
ZONES = (DYNAMIC, TOKEN, FILE)

#: Short enough that keys roll over and signatures are renewed all the time, long enough that a fault is survived.
POLICY = {
    "dnskey_ttl": "10s",
    "signature_validity": "20m",
    "signature_refresh": "12m",
    "signature_jitter": "2m",
    "signature_inception": "-1h",
    "propagation_delay": "2s",
    "zsk": {"algorithm": "ecdsap256sha256", "lifetime": "4m"},
}
STOP_SECONDS_MAX = 10.0
CHILD_S = 60.0
DOUBT_S = 20.0

Fault = Callable[[], object]


@dataclass
class SoakWorld:
    """The processes and what chance does to them; ``kills``: whether the daemon itself is killed and restarted."""

    home: Path
    key: TsigKey
    daemon: FakedDnssecd
    secondaries: Mapping[str, Nameserver]
    hsm: FaultyHsm
    disk: Path
    chance: Random
    file_serial: int = 1
    kills: bool = True
    done: dict[str, int] = field(default_factory=dict)

    def any_fault(self) -> str:
        """Do something bad, undo it, and return its name: first each kind once, then any."""
        faults = self._faults()
        name = self.chance.choice(sorted(faults.keys() & self.missing() or faults))
        faults[name]()
        self.done[name] = self.done.get(name, 0) + 1
        return name

    def missing(self) -> set[str]:
        """The faults that have not been done yet, kills of the daemon included."""
        kills, self.kills = self.kills, True
        faults = self._faults()
        self.kills = kills
        return faults.keys() - self.done.keys()

    def _faults(self) -> dict[str, Fault]:
        faults: dict[str, Fault] = {
            "the key service is killed": lambda: self._kill_child("signer"),
            "a zone worker is killed": lambda: self._kill_child("worker"),
            "a secondary is down": self._secondary_down,
            "the disk is full": self._disk_full,
            "the clock steps": self._clock_step,
            "the token hangs": lambda: self._token("hang sign"),
            "the token fails": lambda: self._token("error sign 30"),
            "the token crashes": lambda: self._token("crash sign"),
            "the token loses its sessions": lambda: self._token("error signinit b3"),
            "the token lies": lambda: self._token("corrupt 5"),
            "the zone file is edited": self._edit,
            "the configuration is loaded again": self._reload,
        }
        if self.kills:
            faults |= {
                "kill -9 of all": lambda: self._kill(self.daemon.kill),
                "kill -9 of the front": lambda: self._kill(self.daemon.kill_alone),
                "stop and start": self._restart,
            }
        return faults

    def _pause(self, longest: float = 6.0) -> None:
        time.sleep(self.chance.uniform(0.2, longest))

    def _kill(self, kill: Fault) -> None:
        kill()
        self._pause(2.0)
        self.daemon.start()

    def _restart(self) -> None:
        started = time.monotonic()
        self.daemon.process.terminate()  # type: ignore[union-attr]
        self.daemon.process.wait(30)  # type: ignore[union-attr]
        took = time.monotonic() - started
        self.daemon.start()
        assert took < STOP_SECONDS_MAX, f"the daemon took {took:.1f} s to stop"

    def _kill_child(self, what: str) -> None:
        """There is one, or soon will be: what was killed before is started again."""
        wait_until(lambda: self._killed_one(what), f"a {what} is there", CHILD_S, 0.1)
        self._pause(1.0)

    def _killed_one(self, what: str) -> bool:
        found = [pid for pid in children(self.daemon.pid) if what in command_line(pid)]
        if not found:
            return False
        try:
            os.kill(self.chance.choice(found), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def _secondary_down(self) -> None:
        second = self.secondaries[self.chance.choice(sorted(self.secondaries))]
        second.kill()
        self._pause(12.0)
        second.start()

    def _disk_full(self) -> None:
        ballast = Ballast(self.disk)
        ballast.fill(self.chance.choice((0, 4096, 200_000)))
        self._pause(8.0)
        ballast.release()

    def _clock_step(self) -> None:
        self.daemon.shift(self.chance.choice(("+2h", "-1d", "+400d")))
        wait_until(self.daemon.doubted, "the clock is in doubt", DOUBT_S, 0.2)
        self._pause(3.0)
        self.daemon.shift("+0")
        wait_until(self._time_confirmed, "the clock is in doubt no more", 60, 0.5)

    def _time_confirmed(self) -> bool:
        return self.daemon.cli("clock", "confirm").ok and not self.daemon.doubted()

    def _token(self, order: str) -> None:
        self.hsm.orders(order)
        self._pause()
        self.hsm.orders()
        if order.startswith("corrupt"):  # what has lied is used again when a person has looked at it
            wait_until(
                lambda: self.daemon.cli("keystore", "test").ok, "the token is tested and used again", 60, 1.0
            )

    def _edit(self) -> None:
        self.file_serial += 1
        self.write_file()

    def write_file(self) -> None:
        more = f"new{self.file_serial} A 192.0.2.9\nlong TXT {'x' * (self.file_serial % 200)}y\n"
        replace_file(self.home / "file.zone", dynamic_zone_text(FILE) + more)

    def _reload(self) -> None:
        done = self.daemon.cli("config", "reload")
        assert done.ok, done

    def judge(self, zone: str, content: set[str]) -> None:
        """What is served is a zone that everybody accepts."""
        path = self.home / "judged.zone"
        path.write_text("\n".join(sorted(content)) + "\n")
        ours = self.daemon.cli("verify", str(path), "--origin", zone)
        for verdict in (dnssec_verify(path, zone), ldns_verify_zone(path, zone), ours):
            assert verdict.ok, verdict

    def well(self, zone: str) -> bool:
        """The daemon serves the zone, and every secondary the same version."""
        serial = self.daemon.serial(zone)
        return serial is not None and all(
            second.serial(zone) == serial for second in self.secondaries.values()
        )

    def follow(self, zone: str, serial: int) -> bool:
        """Every secondary serves this version of the zone or a later one."""
        seen = [second.serial(zone) for second in self.secondaries.values()]
        return all(each is not None and not is_after(serial, each) for each in seen)

    def state(self) -> Result:
        return self.daemon.cli("status")


def children(pid: int) -> list[int]:
    """All descendants of a process."""
    done = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, check=False, timeout=10)
    found = [int(child) for child in done.stdout.split()]
    return [*found, *(grandchild for child in found for grandchild in children(child))]


def command_line(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def start_soak_world(
    servers: Servers, home: Path, key: TsigKey, hsm: FaultyHsm, disk: Path, chance: Random
) -> SoakWorld:
    """Everything started and the three zones served."""
    ports = DaemonPorts.free()
    files = {zone: home / f"{zone}zone" for zone in ZONES}
    for zone, path in files.items():
        path.write_text(dynamic_zone_text(zone))
    secondaries = secondaries_of(home, ZONES, ports.dns, key, SECONDARY_KINDS)
    for second in secondaries.values():
        servers.start(second)
    addresses = {name: second.port for name, second in secondaries.items()}
    config = daemon_config(home, ports, key, files, addresses, POLICY)
    config["server"]["state_dir"] = disk / "state"
    config["keystore"]["token"] = pkcs11_keystore(hsm, "dns")
    config["policy"]["token"] = {**config["policy"]["default"], "keystore": "token"}
    config["zone"][TOKEN]["policy"] = "token"
    for zone in (DYNAMIC, TOKEN):
        grant_all(config["zone"][zone], key)
    daemon = servers.start(FakedDnssecd(home / "dnssecd", config, key))
    world = SoakWorld(home, key, daemon, secondaries, hsm, disk, chance)
    for zone in ZONES:
        wait_until(lambda zone=zone: world.well(zone), f"{zone} is at every secondary", 90)  # type: ignore[misc]
    return world
