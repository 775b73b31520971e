"""Databases of zones that were removed: kept in ``removed`` beside the others, under the time of their removal."""

import os
from contextlib import closing, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from dnssecd.store import sqlite
from dnssecd.store.errors import StoreError
from dnssecd.store.sqlite import SIDE_FILES, translated
from dnssecd.store.zonedb import read_state

DIRECTORY = "removed"


@dataclass(frozen=True)
class Kept:
    """The database of a zone that was removed ``at`` (epoch seconds), with the serial published last."""

    path: Path
    at: int
    serial: int


def set_aside(database: Path, now: int) -> Path | None:
    """Move a database out of the way, for a person to bring back or delete; return where it is. None: there is none.

    now: epoch seconds, part of the new name. OSError.
    """
    target = _free_name(database, now)
    moved = None
    for suffix in ("", *SIDE_FILES):
        with suppress(FileNotFoundError):
            os.replace(f"{database}{suffix}", f"{target}{suffix}")
            moved = target
    return moved


def kept_of(database: Path) -> list[Kept]:
    """Return what is kept of the zone that has its database here, removed last first; what was never published is not.

    One that cannot be read is left out: it cannot be brought back. OSError.
    """
    directory = database.parent / DIRECTORY
    if not directory.is_dir():
        return []
    found = []
    for path in directory.glob(f"{escape(database.name)}.*"):
        at = path.name.removeprefix(f"{database.name}.")
        if at.isdecimal():
            with suppress(StoreError, ValueError):
                found.append(Kept(path, int(at), _serial(path)))
    return sorted(found, key=lambda kept: kept.at, reverse=True)


def copy_kept(kept: Path, target: Path) -> None:
    """Copy a kept database, with what is in its write-ahead log, into a new file; OSError, StoreError."""
    target.unlink(missing_ok=True)
    with translated(kept):
        sqlite.copy_database(kept, target)


def discard(kept: Path) -> None:
    """Delete a kept database whose content is back in its place; OSError."""
    for suffix in (*SIDE_FILES, ""):
        Path(f"{kept}{suffix}").unlink(missing_ok=True)


def _serial(path: Path) -> int:
    with translated(path), closing(sqlite.connect(path, read_only=True)) as connection:
        version = read_state(connection, "version")
    if version is None:
        raise StoreError(f"{path} has no published version")
    return int(version["serial"])


def _free_name(database: Path, now: int) -> Path:
    """A zone may be removed, added and removed within a second: no kept database is ever replaced by another."""
    directory = database.parent / DIRECTORY
    directory.mkdir(mode=0o700, exist_ok=True)
    while (target := directory / f"{database.name}.{now}").exists():
        now += 1
    return target
