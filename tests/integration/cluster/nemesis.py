"""What goes wrong in a cluster, drawn by a seed, and a checker of what was promised (docs/ha.md).

The checker shares no code with the product: it transfers zones with dnspython, from the nodes and the secondary.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import dns.exception
import dns.name
import dns.query
import dns.rdatatype
import dns.tsig
import dns.xfr
import dns.zone

from tests.integration.cluster.daemons import Cluster
from tests.peers.nameserver import soa_serial_at
from tests.peers.postgres import Postgres
from tests.peers.process import LOOPBACK, PeerError, free_port, wait_until
from tests.peers.proxy import Proxy
from tests.peers.updates import NOERROR

#: Longer than the lease of 6 s and a heartbeat of 3 s.
LEASE_S, PAUSE_S = 6, 12.0
SETTLED_S = 300.0
#: A busy machine starts a node in more than a minute.
START_S = 300.0
#: Names that a zone keeps, and names that one update removes.
NAMES_MAX, REMOVED_AT_ONCE = 60, 50


@dataclass
class Checker:
    """Collects what was answered and what was served. ``faults``: promises that were broken.

    From each node it takes each change by IXFR, into a copy of its own; from the secondaries, which did that by
    themselves, whole zones. All copies of one serial have to be equal.
    """

    cluster: Cluster
    zone: str
    answered: dict[str, int] = field(default_factory=dict)
    contents: dict[int, str] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    looks: int = 0
    #: Updates sent: each has a name of its own, as one that is repeated would change nothing.
    sent: int = 0
    #: Names that were removed again, oldest first: the zone stays small.
    removed: set[str] = field(default_factory=set)
    copies: dict[str, dns.zone.Zone] = field(default_factory=dict)
    #: The names that each server had at the last look.
    names: dict[str, set[str]] = field(default_factory=dict)

    def _ports(self) -> dict[str, int]:
        nodes = {name: node.port for name, node in self.cluster.nodes.items()}
        return {**nodes, **{name: server.port for name, server in self.cluster.secondaries.items()}}

    def transfer(self, name: str) -> tuple[int, frozenset[str]] | None:
        """Return serial and RRs of the zone at a server; None if it does not answer."""
        port, key = self._ports()[name], self.cluster.key
        if name in self.cluster.secondaries:
            self.copies.pop(name, None)
        found = self.copies.setdefault(name, dns.zone.Zone(self.zone, relativize=False))
        keyname = dns.name.from_text(key.name)
        keyring = {keyname: dns.tsig.Key(key.name, key.secret, key.algorithm)}
        try:
            query, _ = dns.xfr.make_query(found, keyring=keyring, keyname=keyname, keyalgorithm=key.algorithm)
            dns.query.inbound_xfr(LOOPBACK, found, query, port=port, lifetime=10)
        except dns.xfr.SerialWentBackwards:
            self.faults.append(f"{self.zone} at {name} went back from serial {self.newest.get(name)}")
            return None
        except (dns.exception.DNSException, OSError, EOFError):
            return None
        soa = found.find_rdataset(found.origin or self.zone, dns.rdatatype.SOA)[0]
        lines = [f"{name} {ttl} {rdata}" for name, ttl, rdata in found.iterate_rdatas()]
        return int(soa.serial), frozenset(lines)

    def look(self) -> None:
        """Transfer the zone from each server: no serial has two contents, and none goes back."""
        for name in self._ports():
            found = self.transfer(name)
            if found is None:
                continue
            self.looks += 1
            serial, lines = found
            digest = sha256("\n".join(sorted(lines)).encode()).hexdigest()
            if self.contents.setdefault(serial, digest) != digest:
                self.faults.append(f"{self.zone} serial {serial} has another content at {name}")
            if serial < self.newest.get(name, 0):
                self.faults.append(f"{self.zone} at {name} went back from {self.newest[name]} to {serial}")
            self.newest[name] = max(serial, self.newest.get(name, 0))
            self.names[name] = {line.partition(".")[0] for line in lines}

    def settle(self) -> None:
        """Wait until all servers have one version; then everything that was answered NOERROR is in it."""

        def same() -> bool:
            serials = {soa_serial_at(port, self.zone) for port in self._ports().values()}
            return len(serials) == 1 and None not in serials

        wait_until(same, f"all servers have one version of {self.zone}", SETTLED_S, every=0.5)

        def transferred() -> bool:
            self.look()
            return len(self.names) == len(self._ports())

        self.names.clear()
        wait_until(transferred, f"all servers give {self.zone}", 60)
        for server in self._ports():
            names = self.names.get(server, set())
            lost, back = self.answered.keys() - self.removed - names, self.removed & names
            if lost:
                self.faults.append(
                    f"{self.zone} at {server} lost: {sorted(lost)[:10]} of {len(self.answered)}"
                )
            if back:
                self.faults.append(f"{self.zone} at {server} has again: {sorted(back)[:10]}")

    def shrink(self) -> None:
        """Remove the older half of the names when there are many: a zone of thousands takes long to compare."""
        held = [name for name in self.answered if name not in self.removed]
        old = held[: len(held) // 2] if len(held) > NAMES_MAX else []
        for start in range(0, len(old), REMOVED_AT_ONCE):
            some = old[start : start + REMOVED_AT_ONCE]
            wait_until(
                lambda: self._remove(some),  # noqa: B023
                f"{self.zone} takes an update that removes names",
                SETTLED_S,
                every=0.5,
            )
            self.removed.update(some)

    def _remove(self, names: list[str]) -> bool:
        owner = self.cluster.owner(self.zone)
        with contextlib.suppress(OSError, EOFError):
            return bool(owner) and self.cluster.remove(owner, names, self.zone) == NOERROR
        return False


class Load:
    """Sends updates of zones in turn, each with a name of its own, in a thread for each node.

    after: how many were sent by earlier ones. This one goes on with the next zone, so that all have their turn.
    """

    def __init__(self, *checkers: Checker, every: float = 0.2, after: int = 0) -> None:
        self._checkers, self._every, self._stop = checkers, every, threading.Event()
        self._after = after
        nodes = checkers[0].cluster.nodes
        self._threads = [threading.Thread(target=self._run, args=(name,), daemon=True) for name in nodes]
        self._lock = threading.Lock()
        self.sent = 0

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, node: str) -> None:
        while not self._stop.wait(self._every):
            with self._lock:
                checker = self._checkers[(self._after + self.sent) % len(self._checkers)]
                checker.sent += 1
                self.sent += 1
                number = checker.sent
            with contextlib.suppress(OSError, PeerError, EOFError):
                if checker.cluster.update(node, f"u{number}", zone=checker.zone) == NOERROR:
                    checker.answered[f"u{number}"] = number


class Pair:
    """The database and its synchronous standby, each at a port of its own, whichever of them is the primary."""

    def __init__(self, home: Path) -> None:
        self._home, self._number = home, 1
        (home / "d0").mkdir()
        self.primary = Postgres(home / "d0", {"fsync": "on"}).make().start()
        self.standby = self._make_standby(free_port())

    def _make_standby(self, port: int) -> Postgres:
        name = f"s{self._number}"
        standby = self.primary.make_standby(self._home / f"d{self._number}", name)
        standby.port, self._number = port, self._number + 1
        standby.start()
        self.primary.change(synchronous_standby_names=f"'{name}'")
        return standby

    def restart(self, *, immediately: bool, away_s: float) -> None:
        self.primary.stop(immediately=immediately)
        time.sleep(away_s)
        self.primary.start()

    def fail_over(self, away_s: float) -> None:
        """The primary is lost, its standby takes its place, and gets a standby of its own a while later."""
        lost, self.primary = self.primary, self.standby
        lost.stop(immediately=True)
        time.sleep(away_s)
        self.primary.promote()
        self.standby = self._make_standby(lost.port)
        shutil.rmtree(lost.data, ignore_errors=True)

    def close(self) -> None:
        for server in (self.standby, self.primary):
            server.stop(immediately=True)


class Nemesis:
    """Draws faults, and undoes each.

    ``proxies``: of each node, to both databases. ``disks``: file systems of the nodes' own, of those that have one.
    """

    def __init__(
        self,
        cluster: Cluster,
        pair: Pair,
        proxies: dict[str, tuple[Proxy, ...]],
        disks: dict[str, Path],
        seed: int,
    ) -> None:
        self.cluster, self.pair, self.proxies, self.disks = cluster, pair, proxies, disks
        self.rng = random.Random(seed)
        self.faults: dict[str, Callable[[str], None]] = {
            "kill -9": self.kill,
            "paused for longer than the lease": self.pause,
            "database restarted": self.restart_database,
            "database failed over": self.fail_over,
            "connections to the database cut": self.cut,
            "half-open connections to the database": self.silence,
            "the answer to a commit lost": self.lose_answer,
            "a clock that is wrong by an hour": self.wrong_clock,
        }
        if disks:
            self.faults["a full disk"] = self.fill_disk
        #: The zones whose owner was killed or paused by the last fault, and when (epoch seconds).
        self._orphaned: dict[str, tuple[str, float]] = {}

    def kinds(self) -> Iterator[str]:
        """Yield kinds of faults without end, in random order, each once before any of them again."""
        while True:
            yield from self.rng.sample(list(self.faults), len(self.faults))

    def strike(self, what: str, zone: str) -> str:
        """Do one fault; return to which node it was done: more often to the owner of a zone."""
        owner = self.cluster.owner(zone)
        node = owner if owner and self.rng.random() < 0.7 else self.rng.choice(list(self.cluster.nodes))
        self._orphaned = {}
        self.faults[what](node)
        return node

    def _orphan(self, node: str, zones: list[str]) -> None:
        self._orphaned = {zone: (node, time.time()) for zone in zones}

    def take_overs(self) -> list[float]:
        """Return after how many seconds other nodes owned the zones of the node that was killed or paused last.

        A node that is back before its lease has ended keeps its zones.
        """
        found: dict[str, float] = {}
        for name, node in self.cluster.nodes.items():
            for event in node.log_events():
                before, begun = self._orphaned.get(event.get("zone", ""), (name, 0.0))
                if event["event"] != "this node makes the versions of the zone" or before == name:
                    continue
                after = datetime.fromisoformat(event["timestamp"]).timestamp() - begun
                if after > 0:
                    found[event["zone"]] = min(after, found.get(event["zone"], after))
        return sorted(found.values())

    def kill(self, node: str) -> None:
        zones = self.cluster.owned(node)
        self.cluster.nodes[node].kill()
        self._orphan(node, zones)
        time.sleep(self.rng.uniform(0.0, PAUSE_S))
        self.cluster.nodes[node].start(START_S)

    def pause(self, node: str) -> None:
        zones = self.cluster.owned(node)
        os.killpg(self.cluster.nodes[node].pid, signal.SIGSTOP)
        self._orphan(node, zones)
        try:
            time.sleep(self.rng.uniform(LEASE_S, PAUSE_S))
        finally:
            os.killpg(self.cluster.nodes[node].pid, signal.SIGCONT)

    def restart_database(self, node: str) -> None:
        self.pair.restart(immediately=self.rng.random() < 0.5, away_s=self.rng.uniform(0.0, LEASE_S))

    def fail_over(self, node: str) -> None:
        self.pair.fail_over(self.rng.uniform(0.0, LEASE_S))

    def cut(self, node: str) -> None:
        for _ in range(5):
            for proxy in self.proxies[node]:
                proxy.reset()
            time.sleep(self.rng.uniform(0.0, 0.5))

    def silence(self, node: str) -> None:
        for proxy in self.proxies[node]:
            proxy.silent.set()
        time.sleep(self.rng.uniform(0.0, PAUSE_S))
        for proxy in self.proxies[node]:
            proxy.silent.clear()
            proxy.reset()

    def lose_answer(self, node: str) -> None:
        for proxy in self.proxies[node]:
            proxy.cut_after = b"INSERT INTO log"
        time.sleep(2.0)
        for proxy in self.proxies[node]:
            proxy.cut_after = b""

    def fill_disk(self, node: str) -> None:
        ballast = self.disks[node] / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        time.sleep(self.rng.uniform(1.0, PAUSE_S))
        ballast.unlink()

    def wrong_clock(self, node: str) -> None:
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        daemon = self.cluster.nodes[node]
        real = daemon.environment
        offset = self.rng.choice(["+1h", "-1h"])
        more = {"LD_PRELOAD": str(library), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        daemon.kill()
        daemon.environment = lambda: {**real(), **more}  # type: ignore[method-assign]
        try:
            daemon.start(START_S)
            time.sleep(PAUSE_S)
        finally:
            daemon.kill()
            daemon.environment = real  # type: ignore[method-assign]
            daemon.start(START_S)
