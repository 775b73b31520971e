"""Nodes as whole daemons: one database, one token, one zone that takes updates, a secondary that knows all nodes."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from dnssecd.cluster import schema
from dnssecd.cluster.database import Database
from tests.integration.hsm.daemon import pkcs11_keystore
from tests.integration.hsm.softhsm import SoftHsm
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.named import Named
from tests.peers.nameserver import Nameserver, SecondaryZone
from tests.peers.postgres import Postgres
from tests.peers.process import LOOPBACK, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.updates import NOERROR, UpdateConnection, UpdateMaker, dynamic_zone_text, grant_all

ZONE = "cluster.test."


class Cluster:
    """``nodes``: by name; ``secondary``: BIND, with all nodes as primaries. Nothing is started.

    ``secondaries``: BIND, and one of each further kind.

    hsm: the token that all nodes reach; None: the keys of the nodes go sealed (see ``exchange_sealing_keys``).
    """

    def __init__(
        self, home: Path, server: Postgres, hsm: SoftHsm | None, key: TsigKey, names: tuple[str, ...] = ("a", "b"),
        zones: tuple[str, ...] = (ZONE,), kinds: tuple[type[Nameserver], ...] = (), **cluster: Any,
    ) -> None:  # fmt: skip
        self.server, self.database, self.key = server, server.make_database(), key
        #: Of what updates add.
        self.ttl = 300
        first = Database(server.place(self.database))
        schema.migrate(first)
        first.close()
        ports = {name: DaemonPorts.free() for name in names}
        first_port, *others = (ports[name].dns for name in names)
        copies = [SecondaryZone(zone, first_port, key, tuple(others)) for zone in zones]
        self.secondary = Named(home / "named", copies)
        self.secondaries: dict[str, Nameserver] = {"named": self.secondary}
        self.secondaries |= {kind.name: kind(home / kind.name, copies) for kind in kinds}
        files = {}
        for zone in zones:
            files[zone] = home / f"{zone}zone"
            files[zone].write_text(dynamic_zone_text(zone))
        addresses = {name: server.port for name, server in self.secondaries.items()}
        self.nodes: dict[str, Dnssecd] = {}
        for name in names:
            (home / name).mkdir()
            config = daemon_config(home / name, ports[name], key, files, addresses)
            store = (
                {"sharing": "sealed"} if hsm is None else {**pkcs11_keystore(hsm, "dns"), "sharing": "token"}
            )
            config["keystore"] = {"hsm": store}
            config["policy"]["default"] = {"keystore": "hsm"}
            for zone in zones:
                grant_all(config["zone"][zone], key)
            config["cluster"] = {
                "node": name,
                "database": server.uri(self.database),
                "password_file": server.password_file,
                "require_synchronous": False,
                "nodes": {each: {"address": [f"{LOOPBACK}:{ports[each].dns}"]} for each in names},
                **cluster,
            }
            self.nodes[name] = Dnssecd(home / name / "daemon", config, key)

    def exchange_sealing_keys(self) -> None:
        """As an operator does it: start each node, print its key, write all into all configurations."""
        keys = {}
        for name, node in self.nodes.items():
            node.start()
            keys[name] = node.cli_json("node", "key")["sealing_key"]
        for node in self.nodes.values():
            node.stop()
            for name, key in keys.items():
                node.config["cluster"]["nodes"][name]["sealing_key"] = key

    def sql(self, statement: str) -> None:
        """Change the database of the cluster, as its owner can."""
        database = Database(self.server.place(self.database))
        with database.session() as session:
            session.execute(statement)  # type: ignore[call-overload]
        database.close()

    def twin(self, home: Path, name: str) -> Dnssecd:
        """Another process with the configuration of a node, but for what belongs to the host."""
        ports, config = DaemonPorts.free(), dict(self.nodes[name].config)
        (home / "twin").mkdir()
        config["server"] = {
            "listen": [f"{LOOPBACK}:{ports.dns}"],
            "state_dir": home / "twin" / "state",
            "control_socket": home / "twin" / "control.sock",
        }
        config["metrics"] = {"listen": f"{LOOPBACK}:{ports.metrics}"}
        return Dnssecd(home / "twin" / "daemon", config, self.key)

    def owner(self, zone: str = ZONE) -> str:
        """The node that makes the zone's versions, by its log; "" while there is none."""
        return self.owners().get(zone, "")

    def owned(self, name: str) -> list[str]:
        """The zones of a node."""
        return [zone for zone, owner in self.owners().items() if owner == name]

    def owners(self) -> dict[str, str]:
        """The owner of each zone that has one.

        Of several the one with the highest epoch: one that is paused does not know yet that it was replaced.
        """
        found: dict[str, tuple[int, str]] = {}
        for name, node in self.nodes.items():
            if not node.running:
                continue
            last = {event["zone"]: event for event in node.log_events() if _changes_owner(event)}
            for zone, event in last.items():
                if event["event"] == "this node makes the versions of the zone":
                    found[zone] = max(found.get(zone, (0, "")), (event["epoch"], name))
        return {zone: name for zone, (_, name) in found.items()}

    def wait_owner(self, zone: str = ZONE, timeout: float = 40.0, other_than: str = "") -> str:
        return wait_until(
            lambda: (found := self.owner(zone)) != other_than and found, f"{zone} has an owner", timeout
        )

    def update(self, node: str, owner: str, text: str = "x", zone: str = ZONE) -> int:
        """Add a TXT record through a node; return the RCODE."""
        return self._ask(node, UpdateMaker(zone, self.key).wire([(owner, self.ttl, "TXT", f'"{text}"')]))

    def takes(self, node: str, owner: str, text: str = "x", zone: str = ZONE) -> bool:
        """Whether a node adds a TXT record now; no answer in time is none, to be asked again."""
        with contextlib.suppress(OSError, EOFError):
            return self.update(node, owner, text, zone) == NOERROR
        return False

    def remove(self, node: str, owners: list[str], zone: str = ZONE) -> int:
        """Remove TXT RRsets through a node; return the RCODE."""
        return self._ask(
            node, UpdateMaker(zone, self.key).wire(delete=[(owner, "TXT", "") for owner in owners])
        )

    def _ask(self, node: str, wire: bytes) -> int:
        with UpdateConnection(self.nodes[node].port) as connection:
            return connection.ask(wire)


def _changes_owner(event: dict[str, Any]) -> bool:
    return event.get("event") in ("this node makes the versions of the zone", "another node owns the zone")
