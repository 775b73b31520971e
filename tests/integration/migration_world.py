"""A zone that another signer signs, its secondaries, its parent and a validator on loopback; dnssecd beside it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnssecd.replacing import replace
from tests.integration.hsm.daemon import keep_keys_in
from tests.integration.rollover_world import CHILD, CHILD_ZONE, FAST, PARENT, RolloverWorld, SignedParent
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, secondaries_of
from tests.peers.knotd import Knotd
from tests.peers.nameserver import Nameserver, PrimaryZone, SecondaryZone, ask
from tests.peers.nsd import Nsd
from tests.peers.process import LOOPBACK, Servers, free_port, wait_until
from tests.peers.tools import dig, nsupdate
from tests.peers.tsig import TsigKey

PROGRAM_SECONDS = 30


@dataclass
class MigrationWorld(RolloverWorld):
    """`old`: the port of the signer that the zone comes from; the secondaries follow it until `switch`."""

    old: int

    def switch(self) -> None:
        """Have the secondaries follow dnssecd, one after the other, as an operator would."""
        for second in self.secondaries.values():
            zones = [zone for zone in second.zones if isinstance(zone, SecondaryZone)]
            second.zones = [replace(zone, primary=self.daemon.port) for zone in zones]
            second.stop()
            second.start()
            self.wait(
                lambda second=second: second.serial(CHILD) == self.daemon.serial(CHILD),
                f"{second.name} follows dnssecd",
            )

    def old_address(self) -> str:
        """Where the zone is transferred from."""
        return f"{LOOPBACK}:{self.old}"


def run(home: Path, *command: str) -> str:
    """What a program of a peer prints, which has to succeed."""
    done = subprocess.run(
        command, cwd=home, check=False, capture_output=True, text=True, timeout=PROGRAM_SECONDS
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


def zone_file(home: Path) -> Path:
    """The unsigned zone that all signers are given."""
    path = home / "input.zone"
    path.write_text(CHILD_ZONE)
    return path


def start_parent(servers: Servers, home: Path, key: TsigKey) -> SignedParent:
    """The parent zone, signed, without DS."""
    file = home / "parent.zone"
    file.write_text(
        f"$ORIGIN {PARENT}\n$TTL 2\n@ SOA ns me 1 3600 600 604800 2\n@ NS ns\nns A {LOOPBACK}\n"
        f"roll NS ns1.roll\nns1.roll A {LOOPBACK}\n"
    )
    parent = servers.start(SignedParent(home / "parent", [PrimaryZone(PARENT, file, key, updates=True)]))
    wait_until(lambda: "RRSIG" in dig(parent.port, PARENT, "SOA", "+dnssec").out, "the parent is signed")
    return parent


def make_secondaries(home: Path, key: TsigKey, primary: int) -> Mapping[str, Nameserver]:
    """Knot and NSD, following the signer at a port; not started."""
    return secondaries_of(home, [CHILD], primary, key, (Knotd, Nsd))


def start_migration_world(
    servers: Servers,
    home: Path,
    key: TsigKey,
    parent: SignedParent,
    old: int,
    secondaries: Mapping[str, Nameserver],
    ds: list[str],
    keystore: dict[str, Any] | None = None,
    dynamic: bool = False,
    **policy: Any,
) -> MigrationWorld:
    """Put DS at the parent, start secondaries and dnssecd; returns when the secondaries serve the zone, signed.

    keystore: where dnssecd has its keys, other than in files. dynamic: the zone has no file, but updates.
    """
    lines = "\n".join(f"update add {CHILD} 8 DS {record}" for record in ds)
    done = nsupdate(parent.port, lines, key, home)
    assert done.ok, done
    for second in secondaries.values():
        servers.start(second)
        wait_until(lambda second=second: _is_signed(second.port), f"{second.name} serves the zone, signed")
    addresses = {name: second.port for name, second in secondaries.items()}
    settings = {name: value for name, value in {**FAST, **policy}.items() if value is not None}
    config = daemon_config(home, DaemonPorts.free(), key, {CHILD: home / "input.zone"}, addresses, settings)
    config["server"]["clock_tolerance"] = "1s"
    config["primary"] = {"old": {"address": f"{LOOPBACK}:{old}", "tsig": key.name}}
    config["zone"][CHILD]["parent"] = {"servers": [parent.address]}
    if keystore is not None:
        keep_keys_in(config, keystore)
    if dynamic:
        config["zone"][CHILD]["source"] = "dynamic"
        del config["zone"][CHILD]["file"]
        config["zone"][CHILD]["allow_update"] = [{"tsig": key.name, "names": ["*"], "types": ["ANY"]}]
    daemon = servers.start(Dnssecd(home / "dnssecd", config, key))
    return MigrationWorld(home, key, parent, secondaries, daemon, servers, old)


def _is_signed(port: int) -> bool:
    answer = ask(port, CHILD, "SOA", dnssec=True)
    return answer is not None and len(answer.answer) > 1


__all__ = [
    "CHILD",
    "MigrationWorld",
    "free_port",
    "make_secondaries",
    "run",
    "start_migration_world",
    "start_parent",
]
