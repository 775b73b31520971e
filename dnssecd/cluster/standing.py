"""Where the logs end, for databases that leave the cluster or come back to it; and the end of a log at an export.

An exported zone belongs to a node that never runs and whose lease does not end, so no other node can take it over: that
is the fence. Its ownership record takes the next sequence, if nothing was appended meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from dnssecd.cluster import ownership, settings
from dnssecd.cluster.database import Database
from dnssecd.cluster.membership import EXPORTED, Membership, list_nodes, settings_of
from dnssecd.cluster.ownership import Ownership
from dnssecd.config.errors import where_text
from dnssecd.store.log_place import LogPlace
from dnssecd.store.version_log import Position

_INCARNATION = "00000000-0000-0000-0000-657870727464"
_LEASE_S = 100 * 365 * 86_400.0
_HEADS = """
SELECT DISTINCT ON (zone) zone, sequence, epoch FROM log ORDER BY zone, sequence DESC
"""
_FITS = """
SELECT max(sequence), min(sequence),
    (SELECT digest FROM log WHERE zone = %(zone)s AND sequence <= %(at)s AND digest <> ''
        ORDER BY sequence DESC LIMIT 1)
FROM log WHERE zone = %(zone)s
"""


class Standing:
    """The logs of all zones (backup.leave.LogOfZones). Methods block; they raise ClusterError."""

    def __init__(self, place: LogPlace) -> None:
        self._database = Database(
            msgspec.structs.replace(place, node=EXPORTED, incarnation=_INCARNATION), sessions=1
        )
        self._joined = False

    def heads(self) -> Mapping[str, Position]:
        """Return the newest record of each zone's log."""
        with self._database.session() as session:
            rows = session.execute(_HEADS).fetchall()
        return {zone: Position(sequence, epoch) for zone, sequence, epoch in rows}

    def exported(self) -> frozenset[str]:
        """Return the zones that were given to a single host."""
        found = ownership.owners(self._database)
        return frozenset(zone for zone, owner in found.items() if owner.node == EXPORTED)

    def configured(self, zones: Collection[str]) -> frozenset[str]:
        """Return the zones that some node's configuration names; all if its published settings are damaged."""
        found: set[str] = set()
        for state in list_nodes(self._database) if zones else ():
            if state.name == EXPORTED:
                continue
            octets = settings_of(self._database, state.name)
            try:
                theirs = settings.decode(octets or b"")
            except ValueError:
                return frozenset(zones)
            found |= {zone for zone in zones if where_text(("zone", zone)) in theirs}
        return frozenset(found)

    def fits(self, zone: str, at: Position) -> bool:
        """Tell whether the log has the record at which a database is, or only newer ones are kept."""
        with self._database.session() as session:
            row = session.execute(_FITS, {"zone": zone, "at": at.sequence}).fetchone()
        if row is None or row[0] is None or not at.sequence:
            return False
        newest, oldest, digest = row
        return bool(newest >= at.sequence and (at.sequence < oldest or digest in (None, at.digest)))

    def export(self, zone: str, sequence: int) -> str:
        """Give a zone whose newest record has this sequence to a single host; return why it cannot be, or ""."""
        owner = ownership.owner_of(self._database, zone)
        if owner is None:
            return "" if not sequence else "the log has no owner of it"
        if owner.node == EXPORTED:
            return "" if owner.sequence == sequence + 1 else "it was exported by another node"
        self._join()
        ownership.move(self._database, zone, EXPORTED)
        if Ownership(self._database).take_over({zone: sequence}):
            return ""
        ownership.move(self._database, zone, owner.node)
        return f"the log has records after {sequence}"

    def _join(self) -> None:
        if not self._joined:
            Membership(self._database, _LEASE_S).join([], "", b"", b"", _INCARNATION)
            self._joined = True

    def close(self) -> None:
        """Close the connection."""
        self._database.close()
