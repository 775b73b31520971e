"""The identity of a zone database: its origin is stored in it and checked at each opening."""

import sqlite3
from pathlib import Path

from dnssecd.core.dns.names import wire_to_text
from dnssecd.store.errors import StoreError, WrongZone

ORIGIN, INSTANCE = "origin", "instance"
#: Octets of an RRSIG's RDATA before the Signer's Name (RFC 4034 §3.1).
_RRSIG_FIXED_OCTETS = 18


def claim(connection: sqlite3.Connection, path: Path, origin: bytes) -> str:
    """Return the database's instance id. A database without an origin gets ``origin``.

    Raise WrongZone when the database, or a signature in it, belongs to another zone; StoreError without identity.
    """
    known = meta(connection)
    held = known.get(ORIGIN)
    if held is None:
        held = _signer(connection)
        if held in (None, origin):
            name(connection, origin)
            held = origin
    if held != origin:
        raise WrongZone(
            f"{path} is the database of {_text(held)}, not of {wire_to_text(origin)}: files were exchanged or "
            "renamed. Stop dnssecd and put the correct file there, or restore the zone (dnssecd restore); "
            "the file was not changed"
        )
    instance = known.get(INSTANCE)
    if not isinstance(instance, str):
        raise StoreError(f"{path} has no instance id: another program changed it; restore the zone")
    return instance


def origin_of(connection: sqlite3.Connection) -> object:
    """Return the origin (wire form) in a database of any schema, None if absent."""
    if connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'").fetchone()[0]:
        held = meta(connection).get(ORIGIN)
        if held is not None:
            return held
    return _signer(connection)


def name(connection: sqlite3.Connection, origin: bytes) -> None:
    """Write the origin into a database that has none."""
    connection.execute("INSERT OR IGNORE INTO meta (name, value) VALUES (?, ?)", (ORIGIN, origin))


def meta(connection: sqlite3.Connection) -> dict[str, object]:
    """Return the identity in a database: ``origin`` (wire form) and ``instance``, if set."""
    return dict(connection.execute("SELECT name, value FROM meta").fetchall())


def _text(held: object) -> str:
    """Return a stored origin as text for a message; a damaged database can have any value."""
    try:
        return wire_to_text(held) if isinstance(held, bytes) else repr(held)
    except (ValueError, IndexError):
        return repr(held)


def _signer(connection: sqlite3.Connection) -> bytes | None:
    """Return the Signer's Name of one RRSIG: it identifies the zone of a database without an origin."""
    row = connection.execute("SELECT rdata FROM rrsig LIMIT 1").fetchone()
    if row is None:
        return None
    wire = row[0][2 + _RRSIG_FIXED_OCTETS :]  # after the length of the first RDATA (core.dns.rrset)
    end = 0
    while end < len(wire) and wire[end]:
        end += wire[end] + 1
    return bytes(wire[: end + 1])
