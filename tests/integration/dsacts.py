"""Who acts at the parent in tests of DS automation: BIND's scanner of CDS, a receiver of NOTIFY, a person."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from socket import AF_INET, SOCK_DGRAM, socket
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdatatype

from tests.integration.rollover_world import CHILD, PARENT, RolloverWorld
from tests.peers.process import LOOPBACK
from tests.peers.tools import Result, dig, nsupdate, run

ROLL_S = 180.0


def ds_of(world: RolloverWorld) -> dict[int, str]:
    """KSK tag → state of its DS."""
    return {key["tag"]: key["ds"] for key in world.key_list() if key["role"] == "ksk"}


def roll_ksk(world: RolloverWorld) -> int:
    """Ask for a new KSK; return the tag of the one to be replaced."""
    old = int(world.in_use("ksk")["tag"])
    asked = world.daemon.cli("key", "rollover", CHILD, "--role", "ksk")
    assert asked.ok, asked
    return old


def wait_replaced(world: RolloverWorld, old: int, act: Callable[[], object] = lambda: None) -> None:
    """Wait until the parent has the new KSK's DS alone and the old KSK is out of use, acting at each look."""

    def probe() -> bool:
        act()
        keys = {key["tag"]: key for key in world.key_list() if key["role"] == "ksk"}
        gone = keys.pop(old, {"ds": "hidden", "dnskey": "hidden"})
        states = [key["ds"] for key in keys.values()]
        return (gone["ds"], gone["dnskey"], states) == ("hidden", "hidden", ["omnipresent"])

    world.wait(probe, f"KSK {old} replaced", ROLL_S)
    assert [text.split()[0] for text in world.ds()] == [str(tag) for tag in ds_of(world) if tag != old]


def task(world: RolloverWorld) -> str:
    """What `ds show` says is asked of the parent."""
    return str(world.daemon.cli_json("ds", "show", CHILD)["task"])


def wait_task(world: RolloverWorld, wanted: str) -> None:
    world.wait(lambda: task(world) == wanted, f"the parent is asked to {wanted}")


def hand_over(world: RolloverWorld) -> None:
    """A person does what `ds show` asks for."""
    wanted = world.daemon.cli_json("ds", "show", CHILD)["handover"]["ds"]
    world.set_ds(f"{d['key_tag']} {d['algorithm']} {d['digest_type']} {d['digest']}" for d in wanted)


def scan(world: RolloverWorld) -> Result:
    """The parent's operator: dnssec-cds reads the child's CDS at a secondary, checks, and updates the parent."""
    dsset, child = world.home / "dsset", world.home / "child"
    dsset.write_text(dig(world.parent.port, CHILD, "DS", "+noall", "+answer", "+norec").out)
    port = next(iter(world.secondaries.values())).port
    child.write_text(
        "".join(
            dig(port, CHILD, rrtype, "+dnssec", "+noall", "+answer", "+norec").out
            for rrtype in ("DNSKEY", "CDNSKEY", "CDS")
        )
    )
    made = run("dnssec-cds", "-u", "-s", "-86400", "-T", "2", "-d", str(dsset), "-f", str(child), CHILD)
    if made.ok and made.out.strip():
        done = nsupdate(world.parent.port, f"zone {PARENT}\n{made.out}", world.key, world.home)
        assert done.ok, done
    return made


def set_parent(world: RolloverWorld, **more: Any) -> None:
    """Configure how the zone's parent is reached, beside its servers, and have the daemon take it up."""
    world.daemon.config["zone"][CHILD]["parent"].update(more)
    world.daemon.write_config()
    done = world.daemon.cli("config", "reload")
    assert done.ok, done


def add_dsync(world: RolloverWorld, port: int) -> None:
    """The parent announces where it takes NOTIFY(CDS); named 9.18 knows DSYNC in RFC 3597 form only."""
    target = f"scanner.{PARENT}"
    rdata = struct.pack("!HBH", dns.rdatatype.CDS, 1, port) + dns.name.from_text(target).to_wire()
    lines = [
        f"zone {PARENT}",
        f"update add {target} 2 A {LOOPBACK}",
        f"update add _dsync.{PARENT} 2 TYPE66 \\# {len(rdata)} {rdata.hex()}",
    ]
    done = nsupdate(world.parent.port, "\n".join(lines), world.key, world.home)
    assert done.ok, done


@dataclass
class Scanner:
    """Takes NOTIFY(CDS), acknowledges, and scans; in a thread, as a registry is somebody else."""

    act: Callable[[], object]
    notified: list[str] = field(default_factory=list)
    port: int = 0
    _socket: socket = field(default_factory=lambda: socket(AF_INET, SOCK_DGRAM))
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Scanner:
        self._socket.bind((LOOPBACK, 0))
        self._socket.settimeout(0.2)
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(30)
        self._socket.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                data, peer = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            message = dns.message.from_wire(data)
            assert message.opcode() == dns.opcode.NOTIFY
            answer = dns.message.make_response(message)
            answer.flags |= dns.flags.AA
            self._socket.sendto(answer.to_wire(), peer)
            question = message.question[0]
            self.notified.append(f"{question.name} {dns.rdatatype.to_text(question.rdtype)}")
            self.act()
