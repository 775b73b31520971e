"""The public halves of the keys that each node has for itself (``sharing = "own"``): rows of ``node_key``.

A row is all keys that one node wants in a zone's key set, as letters of its key service to that of another node. Only
the recipient can tell that a letter is genuine; ``mark`` says which keys and sealing keys the letters are of, so that
the node that wrote them need not write them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from dnssecd.cluster.database import Database

#: All letters of a row are read up to this size; any program may have written it.
LETTERS_OCTETS_MAX = 256 << 10
#: Rows of transactions that committed late are found by reading this time (s) again.
OVERLAP_S = 30.0


class Announced(NamedTuple):
    """What a node announced for a zone: letters to this node."""

    zone: str
    node: str
    letters: tuple[bytes, ...]


class NodeKeyRows:
    """The rows as one node reads and writes them. Methods block; they raise ClusterError."""

    def __init__(self, database: Database) -> None:
        self._database, self._node = database, database.place.node

    def marks(self, zone: str) -> Mapping[str, str]:
        """Return what this node has announced to the others, by node."""
        with self._database.session() as session:
            rows = session.execute(
                "SELECT recipient, left(mark, 64) FROM node_key WHERE zone = %s AND node = %s",
                (zone, self._node),
            ).fetchall()
        return dict(rows)

    def announce(self, zone: str, recipient: str, letters: Sequence[bytes], mark: str) -> None:
        """Write all keys of this node for another one."""
        row = {
            "zone": zone,
            "node": self._node,
            "to": recipient,
            "letters": msgspec.msgpack.encode(tuple(letters)),
            "mark": mark,
        }
        with self._database.session() as session:
            session.execute(
                "INSERT INTO node_key (zone, node, recipient, letters, mark) "
                "VALUES (%(zone)s, %(node)s, %(to)s, %(letters)s, %(mark)s) "
                "ON CONFLICT (zone, node, recipient) DO UPDATE SET letters = excluded.letters, mark = excluded.mark, "
                "at = clock_timestamp()",
                row,
            )

    def of_zones(self, zones: Iterable[str]) -> list[Announced]:
        """Return what the other nodes announced for some zones."""
        with self._database.session() as session:
            rows = session.execute(
                "SELECT zone, left(node, 256), letters FROM node_key WHERE recipient = %s AND zone = ANY(%s) "
                "AND octet_length(letters) <= %s",
                (self._node, list(zones), LETTERS_OCTETS_MAX),
                binary=True,
            ).fetchall()
        return [found for row in rows if (found := _read(*row)) is not None]

    def newer(self, age_s: float) -> list[str]:
        """Return the zones for which a node announced keys within a time."""
        with self._database.session() as session:
            rows = session.execute(
                "SELECT DISTINCT zone FROM node_key WHERE recipient = %s "
                "AND at > clock_timestamp() - %s * interval '1 s'",
                (self._node, age_s),
            ).fetchall()
        return [zone for (zone,) in rows]


def _read(zone: str, node: str, octets: bytes) -> Announced | None:
    try:
        return Announced(zone, node, msgspec.msgpack.decode(octets, type=tuple[bytes, ...]))
    except msgspec.DecodeError:
        return None
