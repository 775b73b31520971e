"""The keys of zones on their way to each node, and each node's proof that it holds them: rows of ``shared_key``.

A row is for one key and the node that is to hold it. ``letter``: what the node needs to have the key, "" while it asks
for that; a key service has sealed it, or it names a key in a token that all nodes reach. ``proof``: a signature with
the key over the name of the node, "" for none: only who has the key can write one. ``withdrawn``: the zone does not
use the key any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from dnssecd.cluster.database import Database

#: A letter or proof is read up to this size; any program may have written it.
LETTER_OCTETS_MAX = 64 << 10
#: Seconds until a row is tried again that could not be done.
AGAIN_S = 30.0


class Row(NamedTuple):
    """What is to be done for a key. sender: the node that wrote the letter."""

    zone: str
    key_id: str
    node: str
    letter: bytes
    sender: str


class Work(NamedTuple):
    """What one node has to do: letters to it, nodes that ask for keys it can give, keys that it is to remove."""

    letters: list[Row]
    asked: list[Row]
    withdrawn: list[Row]


_ROW = f"zone, key_id, left(node, 256), CASE WHEN octet_length(letter) <= {LETTER_OCTETS_MAX} THEN letter ELSE '' END, "
_WORK = f"""
(SELECT 'letter', {_ROW} left(sender, 256) FROM shared_key WHERE node = %(node)s AND proof = '' AND letter <> ''
    AND NOT withdrawn AND (tried_at IS NULL OR tried_at < clock_timestamp() - %(again)s * interval '1 s')
    ORDER BY at LIMIT %(limit)s)
UNION ALL
(SELECT 'asked', s.zone, s.key_id, left(s.node, 256), ''::bytea, ''
    FROM shared_key s JOIN ownership o ON o.zone = s.zone
    WHERE s.letter = '' AND NOT s.withdrawn AND s.node <> %(node)s AND (o.node = %(node)s OR o.node = s.node)
    AND (s.tried_at IS NULL OR s.tried_at < clock_timestamp() - %(again)s * interval '1 s')
    ORDER BY s.at LIMIT %(limit)s)
UNION ALL
(SELECT 'withdrawn', {_ROW} '' FROM shared_key WHERE node = %(node)s AND withdrawn
    AND (tried_at IS NULL OR tried_at < clock_timestamp() - %(again)s * interval '1 s') ORDER BY at LIMIT %(limit)s)
"""  # noqa: S608 - constants only
# A letter that waits to be opened is left as it is. After a failure, or when the node lost the key, it gets a new one.
_ASK = """
INSERT INTO shared_key (zone, key_id, node) SELECT %(zone)s, k.id, %(node)s FROM unnest(%(keys)s::text[]) AS k (id)
ON CONFLICT (zone, key_id, node) DO UPDATE SET letter = '', proof = '', trouble = '', tried_at = NULL,
    at = clock_timestamp()
WHERE NOT shared_key.withdrawn AND (shared_key.proof <> '' OR shared_key.trouble <> '')
"""
_GIVE = """
INSERT INTO shared_key (zone, key_id, node, letter, sender) VALUES (%(zone)s, %(key)s, %(to)s, %(letter)s, %(sender)s)
ON CONFLICT (zone, key_id, node) DO UPDATE SET letter = excluded.letter, sender = excluded.sender, tried_at = NULL,
    trouble = '', at = clock_timestamp() WHERE shared_key.letter = '' AND NOT shared_key.withdrawn
"""
_WITHDRAW = """
INSERT INTO shared_key (zone, key_id, node, withdrawn) SELECT %(zone)s, %(key)s, n.name, true
FROM unnest(%(nodes)s::text[]) AS n (name)
ON CONFLICT (zone, key_id, node) DO UPDATE SET withdrawn = true, letter = '', proof = '', tried_at = NULL
"""


class SharedKeys:
    """The rows as one node reads and writes them. Methods block; they raise ClusterError."""

    def __init__(self, database: Database) -> None:
        self._database, self._node = database, database.place.node

    def work(self, limit: int) -> Work:
        """Return what this node has to do now, at most ``limit`` rows of each kind."""
        row = {"node": self._node, "again": AGAIN_S, "limit": limit}
        found: dict[str, list[Row]] = {"letter": [], "asked": [], "withdrawn": []}
        with self._database.session() as session:
            for kind, zone, key_id, node, letter, sender in session.execute(_WORK, row, binary=True):
                found[kind].append(Row(zone, key_id, node, bytes(letter), sender))
        return Work(found["letter"], found["asked"], found["withdrawn"])

    def ask(self, zone: str, keys: Sequence[str]) -> None:
        """Ask for keys that this node does not hold."""
        with self._database.session() as session:
            session.execute(_ASK, {"zone": zone, "keys": list(keys), "node": self._node})

    def give(self, zone: str, key_id: str, node: str, letter: bytes) -> None:
        """Write a letter to another node, unless it has one."""
        row = {"zone": zone, "key": key_id, "to": node, "letter": letter, "sender": self._node}
        with self._database.session() as session:
            session.execute(_GIVE, row)

    def proved(self, zone: str, key_id: str, proof: bytes) -> None:
        """Store this node's proof that it holds a key."""
        with self._database.session() as session:
            session.execute(
                "UPDATE shared_key SET proof = %s, trouble = '', tried_at = NULL "
                "WHERE zone = %s AND key_id = %s AND node = %s",
                (proof, zone, key_id, self._node),
            )

    def failed(self, row: Row, cause: str) -> None:
        """Note why a row could not be done; it is tried again later."""
        with self._database.session() as session:
            session.execute(
                "UPDATE shared_key SET trouble = %s, tried_at = clock_timestamp() WHERE zone = %s AND key_id = %s "
                "AND node = %s",
                (cause[:500], row.zone, row.key_id, row.node),
            )

    def proofs(self, zone: str, keys: Iterable[str]) -> Mapping[tuple[str, str], bytes]:
        """Return the proofs of all nodes for some keys, by key and node; b"" where a node has not proved it yet."""
        with self._database.session() as session:
            rows = session.execute(
                "SELECT key_id, left(node, 256), CASE WHEN octet_length(proof) <= %s THEN proof ELSE '' END "
                "FROM shared_key WHERE zone = %s AND key_id = ANY(%s) AND NOT withdrawn",
                (LETTER_OCTETS_MAX, zone, list(keys)),
                binary=True,
            ).fetchall()
        return {(key_id, node): bytes(proof) for key_id, node, proof in rows}

    def withdraw(self, zone: str, key_id: str, nodes: Sequence[str]) -> None:
        """Let the other nodes remove a key that the zone does not use any more."""
        others = [node for node in nodes if node != self._node]
        with self._database.session() as session, session.transaction():
            session.execute(_WITHDRAW, {"zone": zone, "key": key_id, "nodes": others})
            session.execute(
                "DELETE FROM shared_key WHERE zone = %s AND key_id = %s AND node = %s",
                (zone, key_id, self._node),
            )

    def removed(self, row: Row) -> None:
        """Drop the row of a key that this node has removed."""
        with self._database.session() as session:
            session.execute(
                "DELETE FROM shared_key WHERE zone = %s AND key_id = %s AND node = %s AND withdrawn",
                (row.zone, row.key_id, self._node),
            )
