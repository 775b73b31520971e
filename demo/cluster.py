"""`make demo-cluster`: three nodes, a PostgreSQL of their own, one secondary; the owner of the zone is killed.

Everything is in a temporary directory and on loopback, and is removed at the end. The keys are in a SoftHSM token that
all nodes reach. It takes about a minute.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.cluster.daemons import ZONE, Cluster
from tests.integration.hsm.softhsm import SoftHsm
from tests.peers.postgres import BIN, Postgres
from tests.peers.process import PeerError, Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.updates import NOERROR

NODES = ("a", "b", "c")
START_S, TAKE_OVER_S = 120.0, 90.0


@contextmanager
def running(home: Path) -> Iterator[tuple[Cluster, Servers]]:
    """Start the database, three nodes and BIND as a secondary; stop all at the end."""
    hsm = SoftHsm(home / "hsm")
    hsm.make_token("dns")
    (home / "postgres").mkdir()
    database = Postgres(home / "postgres").make().start()
    servers = Servers()
    try:
        cluster = Cluster(home, database, hsm, TsigKey("demo."), NODES)
        for node in cluster.nodes.values():
            servers.start(node)
        servers.start(cluster.secondary)
        yield cluster, servers
    finally:
        servers.stop()
        database.stop()


def update_until_taken(cluster: Cluster, node: str, name: str) -> float:
    """Send an update through a node until it is answered NOERROR; return how long that took (s)."""
    begun = time.monotonic()
    wait_until(lambda: cluster.update(node, name) == NOERROR, "an update is taken", TAKE_OVER_S, every=0.2)
    return time.monotonic() - begun


def show(cluster: Cluster, node: str) -> None:
    """Print the nodes as one of them sees them, and the owner of the zone."""
    print(cluster.nodes[node].cli("node", "list").out)
    print(cluster.nodes[node].cli("zone", "owner", ZONE).out)


def demonstrate(cluster: Cluster, say: Callable[[str], None]) -> float:
    """Kill the owner under updates; return the time until the next one is answered (s)."""
    owner = cluster.wait_owner(timeout=START_S)
    cluster.nodes[owner].wait_serial_other_than(ZONE, None, START_S)
    update_until_taken(cluster, owner, "before")
    serial = cluster.nodes[owner].serial(ZONE)
    for node in cluster.nodes.values():
        wait_until(lambda node=node: node.serial(ZONE) == serial, "all nodes have the version", START_S)  # type: ignore[misc]
    say(f"Three nodes share {ZONE}; all serve serial {serial}. Node {owner} owns it: it makes the versions.")
    show(cluster, owner)
    other = next(name for name in NODES if name != owner)
    update_until_taken(cluster, other, "forwarded")
    say(f"An UPDATE sent to node {other} was forwarded to node {owner} and answered NOERROR.")

    say(f"Now node {owner} is killed (kill -9), and updates are sent to node {other} …")
    cluster.nodes[owner].kill()
    took = update_until_taken(cluster, other, "after")
    taker = next(name for name in NODES if name != owner and cluster.owner() == name)
    serial = cluster.nodes[taker].serial(ZONE)
    assert serial is not None
    say(
        f"Node {taker} took {ZONE} over: the next update was answered after {took:.1f} s, with serial {serial}."
    )
    cluster.secondary.wait_serial(ZONE, serial, START_S)
    names = {line.partition(".")[0] for line in cluster.secondary.zone_content(ZONE)}
    lost = {"before", "forwarded", "after"} - names
    transfers = cluster.secondary.transfers(ZONE)
    say(
        f"The secondary has serial {serial}: {transfers.axfr} AXFR, {transfers.ixfr} IXFR; updates that were answered "
        f"and are lost: {', '.join(sorted(lost)) or 'none'}."
    )
    show(cluster, taker)
    if lost:
        raise PeerError("an update that was answered NOERROR is lost")
    return took


def main() -> int:
    """Run the demo; return its exit status."""
    if not (BIN / "initdb").exists():
        print(
            "make demo-cluster needs PostgreSQL. On Debian 12, as root: apt install postgresql",
            file=sys.stderr,
        )
        return 1
    with tempfile.TemporaryDirectory(prefix="dnssecd-cluster-") as name:
        home = Path(name)
        home.chmod(0o755)  # the user of PostgreSQL goes through it
        try:
            print("PostgreSQL, three nodes and a secondary are started …", flush=True)
            with running(home) as (cluster, _):
                demonstrate(cluster, lambda text: print(text, flush=True))
        except PeerError as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
