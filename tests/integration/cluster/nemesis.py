"""What goes wrong in a cluster, drawn by a seed, and a checker of what was promised (docs/ha.md).

The checker shares no code with the product: it transfers zones with dnspython, from the nodes and the secondary.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import dns.exception
import dns.name
import dns.query
import dns.rdatatype
import dns.tsig
import dns.zone

from tests.integration.cluster.daemons import Cluster
from tests.peers.process import LOOPBACK, PeerError, wait_until
from tests.peers.proxy import Proxy
from tests.peers.updates import NOERROR

#: Longer than the lease of 6 s and a heartbeat of 3 s.
LEASE_S, PAUSE_S = 6, 12.0
SETTLED_S = 180.0


@dataclass
class Checker:
    """Collects what was answered and what was served. ``faults``: promises that were broken."""

    cluster: Cluster
    zone: str
    answered: dict[str, int] = field(default_factory=dict)
    contents: dict[int, str] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    looks: int = 0
    #: Updates sent: each has a name of its own, as one that is repeated would change nothing.
    sent: int = 0

    def _ports(self) -> dict[str, int]:
        nodes = {name: node.port for name, node in self.cluster.nodes.items()}
        return {**nodes, "secondary": self.cluster.secondary.port}

    def transfer(self, port: int) -> tuple[int, frozenset[str]] | None:
        """Return serial and RRs of the zone at a server; None if it does not answer."""
        key = self.cluster.key
        keyring = {dns.name.from_text(key.name): dns.tsig.Key(key.name, key.secret, key.algorithm)}
        try:
            messages = dns.query.xfr(
                LOOPBACK, self.zone, port=port, keyring=keyring, keyname=key.name, lifetime=10, relativize=False,
                keyalgorithm=key.algorithm,
            )  # fmt: skip
            found = dns.zone.from_xfr(messages, relativize=False, check_origin=False)
        except (dns.exception.DNSException, OSError, EOFError):
            return None
        soa = found.find_rdataset(found.origin or self.zone, dns.rdatatype.SOA)[0]
        lines = [f"{name} {ttl} {rdata}" for name, ttl, rdata in found.iterate_rdatas()]
        return int(soa.serial), frozenset(lines)

    def look(self) -> None:
        """Transfer the zone from each server: no serial has two contents, and none goes back."""
        for name, port in self._ports().items():
            found = self.transfer(port)
            if found is None:
                continue
            self.looks += 1
            serial, lines = found
            digest = sha256("\n".join(sorted(lines)).encode()).hexdigest()
            if self.contents.setdefault(serial, digest) != digest:
                self.faults.append(f"serial {serial} has another content at {name}")
            if serial < self.newest.get(name, 0):
                self.faults.append(f"{name} went back from serial {self.newest[name]} to {serial}")
            self.newest[name] = max(serial, self.newest.get(name, 0))

    def settle(self) -> None:
        """Wait until all servers have one version; then everything that was answered NOERROR is in it."""

        def same() -> bool:
            serials = {found and found[0] for found in map(self.transfer, self._ports().values())}
            return len(serials) == 1 and None not in serials

        wait_until(same, "all servers have one version", SETTLED_S, every=0.5)
        self.look()
        found = self.transfer(self.cluster.secondary.port)
        assert found is not None
        names = {line.partition(".")[0] for line in found[1]}
        lost = self.answered.keys() - names
        if lost:
            self.faults.append(f"lost: {sorted(lost)[:10]} of {len(self.answered)}")


class Load:
    """Sends updates to nodes in turn, each with a name of its own, in a thread."""

    def __init__(self, checker: Checker, every: float = 0.1) -> None:
        self._checker, self._every, self._stop = checker, every, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = 0

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        names = list(self._checker.cluster.nodes)
        while not self._stop.wait(self._every):
            self.sent += 1
            self._checker.sent += 1
            name, node = f"u{self._checker.sent}", names[self.sent % len(names)]
            with contextlib.suppress(OSError, PeerError, EOFError):
                if self._checker.cluster.update(node, name, zone=self._checker.zone) == NOERROR:
                    self._checker.answered[name] = self._checker.sent


class Nemesis:
    """Draws faults, and undoes each. ``proxies``: between each node and the database."""

    def __init__(self, cluster: Cluster, proxies: dict[str, Proxy], seed: int) -> None:
        self.cluster, self.proxies, self.rng = cluster, proxies, random.Random(seed)
        self.faults: dict[str, Callable[[str], None]] = {
            "kill -9": self.kill,
            "paused for longer than the lease": self.pause,
            "database restarted": self.restart_database,
            "connections to the database cut": self.cut,
            "half-open connections to the database": self.silence,
            "the answer to a commit lost": self.lose_answer,
            "a clock that is wrong by an hour": self.wrong_clock,
        }

    def strike(self) -> str:
        """Draw and do one fault; return which, and to which node: more often the owner."""
        owner = self.cluster.owner()
        node = owner if owner and self.rng.random() < 0.7 else self.rng.choice(list(self.cluster.nodes))
        what = self.rng.choice(list(self.faults))
        self.faults[what](node)
        return f"{what} ({node})"

    def kill(self, node: str) -> None:
        self.cluster.nodes[node].kill()
        time.sleep(self.rng.uniform(0.0, PAUSE_S))
        self.cluster.nodes[node].start()

    def pause(self, node: str) -> None:
        os.killpg(self.cluster.nodes[node].pid, signal.SIGSTOP)
        try:
            time.sleep(self.rng.uniform(LEASE_S, PAUSE_S))
        finally:
            os.killpg(self.cluster.nodes[node].pid, signal.SIGCONT)

    def restart_database(self, node: str) -> None:
        self.cluster.server.stop(immediately=self.rng.random() < 0.5)
        time.sleep(self.rng.uniform(0.0, LEASE_S))
        self.cluster.server.start()

    def cut(self, node: str) -> None:
        for _ in range(5):
            self.proxies[node].reset()
            time.sleep(self.rng.uniform(0.0, 0.5))

    def silence(self, node: str) -> None:
        self.proxies[node].silent.set()
        time.sleep(self.rng.uniform(0.0, PAUSE_S))
        self.proxies[node].silent.clear()
        self.proxies[node].reset()

    def lose_answer(self, node: str) -> None:
        self.proxies[node].cut_after = b"INSERT INTO log"
        time.sleep(2.0)
        self.proxies[node].cut_after = b""

    def wrong_clock(self, node: str) -> None:
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        daemon = self.cluster.nodes[node]
        real = daemon.environment
        offset = self.rng.choice(["+1h", "-1h"])
        more = {"LD_PRELOAD": str(library), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        daemon.kill()
        daemon.environment = lambda: {**real(), **more}  # type: ignore[method-assign]
        try:
            daemon.start()
            time.sleep(PAUSE_S)
        finally:
            daemon.kill()
            daemon.environment = real  # type: ignore[method-assign]
            daemon.start()
