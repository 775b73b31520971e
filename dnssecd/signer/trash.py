"""Removed keys that can still be restored: one JSON file of public data for each, beside the registry's.

A key that is in the trash is not in the registry, so nothing can be signed with it. A software store has moved the
key's file; a token still holds the key. The record is written before the store puts the key away, and dropped after the
store has brought it back. So after a crash a key that has a record is put away: the start of the store completes it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from dnssecd.signer import files
from dnssecd.signer.key_file import Description

SUFFIX = ".json"
DIRECTORY = "trash"
#: More records than removed keys can add up to: beyond it, nothing more is removed.
RECORDS_MAX = 100_000


class Trashed(msgspec.Struct, frozen=True):
    """A removed key, when it was removed (epoch seconds), and by which user."""

    key: Description
    removed_at: int
    removed_by: int


class Trash:
    """The removed keys of one store, in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._records: dict[str, Trashed] = {}
        self._of_zone: dict[bytes, set[str]] = {}

    def load(self) -> None:
        """Read the directory, made where it is missing; ValueError names a file that is not readable."""
        files.make_private_directory(self._directory)
        files.remove_temporary(self._directory)
        for path in self._directory.glob("*" + SUFFIX):
            try:
                record = msgspec.json.decode(path.read_bytes(), type=Trashed)
            except msgspec.DecodeError as error:
                raise ValueError(f"{path} is damaged: {error}; restore it from the backup") from None
            self._enter(record)

    def put(self, record: Trashed) -> None:
        """Remember a removed key durably."""
        files.write_atomically(self._path(record.key.id), msgspec.json.encode(record))
        self._enter(record)

    def drop(self, key_id: str) -> None:
        """Forget a key that is back in use, or destroyed, durably."""
        record = self._records.pop(key_id, None)
        if record is not None:
            for zone in record.key.zones:
                self._of_zone[zone].discard(key_id)
                if not self._of_zone[zone]:
                    del self._of_zone[zone]
            files.remove(self._path(key_id))

    def get(self, key_id: str) -> Trashed | None:
        """Return the removed key of that id."""
        return self._records.get(key_id)

    def all(self) -> list[Trashed]:
        """Return all removed keys."""
        return list(self._records.values())

    def of_zone(self, zone: bytes) -> list[Trashed]:
        """Return the removed keys that were bound to `zone`."""
        return [self._records[key_id] for key_id in self._of_zone.get(zone, ())]

    def _enter(self, record: Trashed) -> None:
        self._records[record.key.id] = record
        for zone in record.key.zones:
            self._of_zone.setdefault(zone, set()).add(record.key.id)

    def __len__(self) -> int:
        return len(self._records)

    def _path(self, key_id: str) -> Path:
        return self._directory / (key_id + SUFFIX)
