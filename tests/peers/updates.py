"""UPDATE messages (RFC 2136) with TSIG, and connections to send them on; and worlds whose zone takes them."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.name
import dns.rcode
import dns.update

from tests.peers.nameserver import Nameserver
from tests.peers.process import LOOPBACK, Servers
from tests.peers.tsig import TsigKey
from tests.peers.world import SECONDARY_KINDS, World, start_world

NOERROR, SERVFAIL = int(dns.rcode.NOERROR), int(dns.rcode.SERVFAIL)


@dataclass(frozen=True)
class UpdateMaker:
    """Makes signed messages for one zone; names are relative to it."""

    zone: str
    key: TsigKey
    _signs: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_signs", self.key.dnspython())

    def wire(
        self, add: Sequence[tuple[str, int, str, str]] = (), delete: Sequence[tuple[str, str, str]] = ()
    ) -> bytes:
        """One message: (owner, TTL, type, RDATA) to add, after (owner, type, RDATA) to delete ("" : the RRset)."""
        message = dns.update.UpdateMessage(self.zone)
        for owner, rtype, rdata in delete:
            message.delete(owner, rtype, *([rdata] if rdata else []))
        for owner, ttl, rtype, rdata in add:
            message.add(owner, ttl, rtype, rdata)
        message.use_tsig(self._signs)
        return message.to_wire()


class UpdateConnection:
    """One TCP connection; answers are told by their message id, the MAC in them is not looked at."""

    def __init__(self, port: int, timeout: float = 20.0) -> None:
        self._socket = socket.create_connection((LOOPBACK, port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> UpdateConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """What becomes readable when there is an answer."""
        return self._socket.fileno()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
            self._socket.close()

    def send(self, *wires: bytes) -> None:
        self._socket.sendall(b"".join(len(wire).to_bytes(2, "big") + wire for wire in wires))

    def receive(self) -> tuple[int, int]:
        """The message id and RCODE of the next answer; ConnectionError when there is none."""
        size = self._file.read(2)
        wire = self._file.read(int.from_bytes(size, "big")) if len(size) == 2 else b""
        if len(wire) < 12:
            raise ConnectionError("the connection ended")
        return int.from_bytes(wire[:2], "big"), wire[3] & 15

    def ask(self, wire: bytes) -> int:
        """Send one message and return the RCODE of its answer."""
        self.send(wire)
        number, rcode = self.receive()
        assert number == int.from_bytes(wire[:2], "big"), "an answer to another message"
        return rcode


def dynamic_zone_text(zone: str, hosts: int = 20) -> str:
    """A small master file to begin with."""
    lines = "".join(f"host{number} A 192.0.2.{number % 250}\n" for number in range(hosts))
    soa = "@ SOA ns1 hostmaster 1 3600 600 604800 60\n@ NS ns1\nns1 A 127.0.0.1\n"
    return f"$ORIGIN {zone}\n$TTL 300\n{soa}{lines}"


def grant_all(zone: dict[str, Any], key: TsigKey) -> None:
    """Make a file zone of a configuration one that takes any update with ``key``."""
    zone["source"] = "dynamic"
    zone["allow_update"] = [{"tsig": key.name, "names": ["*"], "types": ["ANY"]}]


def dynamic_world(
    servers: Servers,
    home: Path,
    key: TsigKey,
    zone: str,
    *,
    kinds: Sequence[type[Nameserver]] = SECONDARY_KINDS,
    text: str = "",
    state_dir: Path | None = None,
    wait: float = 30.0,
) -> World:
    """A daemon with one dynamic zone and its secondaries, serving within ``wait`` seconds."""
    text = text or dynamic_zone_text(zone)
    world = start_world(servers, home, key, zone, text, kinds=kinds, start_daemon=False)
    grant_all(world.daemon.config["zone"][zone], key)
    if state_dir is not None:
        world.daemon.config["server"]["state_dir"] = state_dir
    world.daemon.start()
    world.daemon.wait_serial_other_than(zone, None, wait)
    return world


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def timed(connection: UpdateConnection, wire: bytes) -> float:
    """Seconds from sending an update to its NOERROR."""
    started = time.perf_counter()
    rcode = connection.ask(wire)
    assert rcode == NOERROR, dns.rcode.to_text(dns.rcode.Rcode(rcode))
    return time.perf_counter() - started
