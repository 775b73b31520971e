"""Nodes on a database of their own, for the tests of the log, the fence and ownership."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from uuid import uuid4

from dnssecd.cluster import schema
from dnssecd.cluster.database import Database
from dnssecd.cluster.log import PostgresLog
from dnssecd.cluster.membership import Membership
from dnssecd.cluster.ownership import Ownership
from dnssecd.store.version_log import CHUNK_OCTETS_MAX, Effect, Kind, Result
from tests.peers.postgres import Postgres

LEASE_S = 10.0


class Written:
    """A record to append (store.version_log.Record)."""

    kind = Kind.VERSION

    def __init__(self, octets: bytes, effects: Sequence[Effect] = ()) -> None:
        self._octets, self.octets, self.effects = octets, len(octets), effects
        self.digest = sha256(octets).hexdigest()

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self._octets), CHUNK_OCTETS_MAX):
            yield self._octets[start : start + CHUNK_OCTETS_MAX]


class Node:
    """One process of a node, as far as the database is concerned."""

    def __init__(
        self, server: Postgres, database: str, name: str, port: int | None = None, incarnation: str = ""
    ) -> None:
        self.name, self.incarnation = name, incarnation or str(uuid4())
        self.database = Database(server.place(database, name, port, incarnation=self.incarnation))
        self.log = PostgresLog(self.database)
        self.membership = Membership(self.database, LEASE_S)
        self.ownership = Ownership(self.database)

    def append(self, zone: str, sequence: int, epoch: int, octets: bytes, *effects: Effect) -> Result:
        return self.log.append(zone, sequence, epoch, Written(octets, effects))

    def read(self, zone: str, after: int = 0, digest: str = "") -> list[tuple[int, str, int, bytes]]:
        """What the log has: sequence, kind, epoch, octets."""
        found = self.log.read(zone, after, digest)
        return [(r.sequence, r.kind.name, r.epoch, b"".join(r.chunks)) for r in found]

    def join(self, previous: str = "") -> None:
        self.membership.join([f"{self.name}:53"], "0", b"", b"", previous)


class World:
    """A database with the tables, and the nodes that joined."""

    def __init__(self, server: Postgres, *names: str) -> None:
        self.server, self.name = server, server.make_database()
        self._nodes: list[Node] = []
        first = self.node("init")
        schema.migrate(first.database)
        for name in names:
            self.node(name).join()

    def node(self, name: str, port: int | None = None, incarnation: str = "") -> Node:
        node = Node(self.server, self.name, name, port, incarnation)
        self._nodes.append(node)
        return node

    def __getitem__(self, name: str) -> Node:
        return next(node for node in reversed(self._nodes) if node.name == name)

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        with self._nodes[0].database.session() as session:
            found = session.execute(statement)  # type: ignore[call-overload]
            return list(found.fetchall()) if found.description else []

    def die(self, name: str) -> None:
        """The lease of a node has ended."""
        self.sql(f"UPDATE node SET alive_until = clock_timestamp() - interval '1 s' WHERE name = '{name}'")

    def close(self) -> None:
        for node in self._nodes[1:]:
            node.database.close()
        if self.server.running:
            self.sql("DROP SCHEMA dnssecd CASCADE")
            self.server.give_back(self.name)
        self._nodes[0].database.close()
