"""Databases of zones that were removed: kept beside the others, under the time of their removal."""

import os
from contextlib import suppress
from pathlib import Path

SIDE_FILES = ("-wal", "-shm")


def set_aside(database: Path, now: int) -> Path | None:
    """Move a database out of the way, for a person to bring back or delete; return where it is. None: there is none.

    now: epoch seconds, part of the new name.
    """
    target = _free_name(database, now)
    moved = None
    for suffix in ("", *SIDE_FILES):
        with suppress(FileNotFoundError):
            os.replace(f"{database}{suffix}", f"{target}{suffix}")
            moved = target
    return moved


def _free_name(database: Path, now: int) -> Path:
    """A zone may be removed, added and removed within a second: no kept database is ever replaced by another."""
    directory = database.parent / "removed"
    directory.mkdir(mode=0o700, exist_ok=True)
    while (target := directory / f"{database.name}.{now}").exists():
        now += 1
    return target
