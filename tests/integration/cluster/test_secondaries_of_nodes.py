"""`dnssecd node secondaries`: real secondaries with the configuration that it prints use every node as a primary."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.cluster.daemons import ZONE, Cluster
from tests.integration.hsm.softhsm import SoftHsm
from tests.peers.dnssecd import Dnssecd
from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.nameserver import Nameserver, SecondaryZone
from tests.peers.nsd import Nsd
from tests.peers.postgres import Postgres
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.updates import NOERROR

pytestmark = pytest.mark.integration
PROGRAMS: dict[str, type[Nameserver]] = {"named": Named, "knot": Knotd, "nsd": Nsd}


@pytest.fixture
def hsm(peer_dir: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(peer_dir / "hsm")
    hsm.make_token("dns")
    return hsm


def with_printed_zone(program: str, server: Nameserver, node: Dnssecd) -> Nameserver:
    """The server with the zone as `node secondaries` prints it, in place of the tests' own form."""
    printed = node.cli("node", "secondaries", ZONE, "--for", program)
    assert printed.ok, printed.text
    whole = server.configuration
    text = printed.out

    def configuration() -> str:
        return PLACES[program](whole(), text)

    server.configuration = configuration  # type: ignore[method-assign]
    return server


def _named(whole: str, text: str) -> str:
    return whole[: whole.index(f'zone "{ZONE.rstrip(".")}')] + text


def _knot(whole: str, text: str) -> str:
    more = "zonefile-load: none\n    journal-content: all\n    zonefile-sync: -1\n    storage: "
    home = whole.split("rundir: ")[1].partition("\n")[0]
    return f"{whole[: whole.index('remote:')]}{text}    {more}{home}\n"


def _nsd(whole: str, text: str) -> str:
    return whole[: whole.index("zone:")] + text


PLACES = {"named": _named, "knot": _knot, "nsd": _nsd}


def test_every_node_is_a_primary(
    servers: Servers, peer_dir: Path, postgres: Postgres, hsm: SoftHsm, tsig_key: TsigKey
) -> None:
    cluster = Cluster(peer_dir, postgres, hsm, tsig_key)
    a, b = (cluster.nodes[name] for name in "ab")
    held = [SecondaryZone(ZONE, a.port, tsig_key)]
    others = {name: PROGRAMS[name](peer_dir / name, held) for name in ("knot", "nsd")}
    ports = {"named": cluster.secondary.port, **{name: server.port for name, server in others.items()}}
    for node in (a, b):
        node.config["secondary"] = {
            name: {**node.config["secondary"]["named"], "address": f"127.0.0.1:{port}"}
            for name, port in ports.items()
        }
        node.config["zone"][ZONE]["secondaries"] = list(ports)
        servers.start(node)
    peers = {"named": cluster.secondary, **others}
    for name, server in peers.items():
        servers.start(with_printed_zone(name, server, a))
    owner = cluster.wait_owner()
    cluster.nodes[owner].wait_serial_other_than(ZONE, None, 60)
    assert cluster.update(owner, "one") == NOERROR

    def checked(node: Dnssecd) -> bool:
        found = json.loads(node.cli("node", "secondaries", ZONE, "--check", "--json").out)
        return bool(found["ok"]) and {row["notify"] for row in found["secondaries"]} == {"answered"}

    for node in (a, b):
        wait_until(lambda node=node: checked(node), "all secondaries use this node", 60, every=1.0)
    cluster.nodes[owner].kill()
    left = "b" if owner == "a" else "a"
    wait_until(lambda: cluster.takes(left, "two"), "the other takes over", 60, every=0.3)
    serial = cluster.nodes[left].serial(ZONE)
    assert serial is not None
    for server in peers.values():
        server.wait_serial(ZONE, serial, 60)
    found = cluster.nodes[left].cli("node", "secondaries", ZONE, "--check")
    assert not found.ok
    assert "no answer" in found.text or "refused" in found.text.lower()
