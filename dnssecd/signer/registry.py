"""What is known of keys without their store: one JSON file of public data for each key.

It lets a missing key be told from one that never was (a missing key is an error, never a reason to make
another), and keys be listed while a token or a medium is away. For PKCS#11 stores it also holds the zones a
key is bound to.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from dnssecd.signer import files
from dnssecd.signer.key_file import Description

SUFFIX = ".json"


class Registry:
    """Descriptions of one store's keys, in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._keys: dict[str, Description] = {}
        self._of_zone: dict[bytes, set[str]] = {}

    def load(self) -> None:
        """Read the directory, made where it is missing; ValueError names a file that is not readable."""
        files.make_private_directory(self._directory)
        files.remove_temporary(self._directory)
        for path in self._directory.glob("*" + SUFFIX):
            try:
                key = msgspec.json.decode(path.read_bytes(), type=Description)
            except msgspec.DecodeError as error:
                raise ValueError(f"{path} is damaged: {error}; restore it from the back-up") from None
            self._enter(key)

    def put(self, key: Description) -> None:
        """Remember a key durably."""
        if self._keys.get(key.id) != key:
            files.write_atomically(self._path(key.id), msgspec.json.encode(key))
            self._leave(key.id)
            self._enter(key)

    def drop(self, key_id: str) -> None:
        """Forget a key durably; to be called when it has been destroyed on purpose."""
        if key_id in self._keys:
            self._leave(key_id)
            files.remove(self._path(key_id))

    def get(self, key_id: str) -> Description | None:
        """The key of that id."""
        return self._keys.get(key_id)

    def all(self) -> list[Description]:
        """All keys known."""
        return list(self._keys.values())

    def of_zone(self, zone: bytes) -> list[Description]:
        """All keys bound to `zone`."""
        return [self._keys[key_id] for key_id in self._of_zone.get(zone, ())]

    def __len__(self) -> int:
        return len(self._keys)

    def _enter(self, key: Description) -> None:
        self._keys[key.id] = key
        for zone in key.zones:
            self._of_zone.setdefault(zone, set()).add(key.id)

    def _leave(self, key_id: str) -> None:
        key = self._keys.pop(key_id, None)
        for zone in key.zones if key is not None else ():
            self._of_zone[zone].discard(key_id)

    def _path(self, key_id: str) -> Path:
        return self._directory / (key_id + SUFFIX)
