"""Databases of removed zones: kept in the directory ``removed``, with the time of removal in their names.

Crash rule: the whole database, with all commits in its write-ahead log, is under its own name or under the new one. The
log gets its second name before the database moves, and loses its first name after that.
"""

import os
from contextlib import closing, suppress
from glob import escape
from pathlib import Path

from msgspec import Struct

from dnssecd.store import sqlite
from dnssecd.store.errors import StoreError
from dnssecd.store.snapshot import read_state
from dnssecd.store.sqlite import SIDE_FILES, sync_directory, translated

DIRECTORY = "removed"


class Kept(Struct, frozen=True):
    """The database of a zone that was removed ``at`` (epoch seconds), with its last published serial."""

    path: Path
    at: int
    serial: int


def set_aside(database: Path, now: int) -> Path | None:
    """Move a database to ``removed``, where an operator can restore or delete it; return its path, None if absent.

    now: epoch seconds, part of the new name. Raise OSError.
    """
    files = [suffix for suffix in ("", *SIDE_FILES) if os.path.lexists(f"{database}{suffix}")]
    if not files:
        return None
    target = _free_name(database, now)
    sides = [suffix for suffix in files if suffix]
    for suffix in sides:
        with suppress(FileNotFoundError):
            os.link(f"{database}{suffix}", f"{target}{suffix}")
    if sides:
        sync_directory(target.parent)  # before the database, also after a power failure
    if "" in files:
        os.replace(database, target)
    for suffix in sides:
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    return target


def has_kept(database: Path) -> bool:
    """Tell whether databases of any zones are kept. Raise OSError."""
    return (database.parent / DIRECTORY).is_dir()


def kept_of(database: Path) -> list[Kept]:
    """Return the kept published databases of the zone with this database path, the last removed first.

    A database that cannot be read is omitted: it cannot be restored. Raise OSError.
    """
    directory = database.parent / DIRECTORY
    if not has_kept(database):
        return []
    found = []
    for path in directory.glob(f"{escape(database.name)}.*"):
        at = path.name.removeprefix(f"{database.name}.")
        if at.isdecimal():
            with suppress(StoreError, ValueError):
                found.append(Kept(path, int(at), _serial(path)))
    return sorted(found, key=lambda kept: kept.at, reverse=True)


def copy_kept(kept: Path, target: Path) -> None:
    """Copy a kept database, including its write-ahead log, into a new file. Raise OSError, StoreError."""
    target.unlink(missing_ok=True)
    with translated(kept):
        sqlite.copy_database(kept, target)


def discard(kept: Path) -> None:
    """Delete a kept database whose content was restored. Raise OSError.

    Crash rule: no database remains without the log that has its last commits.
    """
    for suffix in ("", *SIDE_FILES):
        Path(f"{kept}{suffix}").unlink(missing_ok=True)


def _serial(path: Path) -> int:
    with translated(path), closing(sqlite.connect(path, read_only=True)) as connection:
        version = read_state(connection, "version")
    if version is None:
        raise StoreError(f"{path} has no published version")
    return int(version["serial"])


def _free_name(database: Path, now: int) -> Path:
    """Return an unused name: a zone can be removed twice within a second, and no kept database is replaced."""
    directory = database.parent / DIRECTORY
    directory.mkdir(mode=0o700, exist_ok=True)
    while any(os.path.lexists(f"{directory / database.name}.{now}{suffix}") for suffix in ("", *SIDE_FILES)):
        now += 1
    return directory / f"{database.name}.{now}"
