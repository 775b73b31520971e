"""What is known of keys without their store: public data, in one JSON file for each key, or in one file for all.

It lets a missing key be told from one that never was (a missing key is an error, never a reason to make
another), and keys be listed while a token or a medium is away. For PKCS#11 stores it also holds the zones a
key is bound to.

The keys of a software store on a fixed disk are in one file (`known_log`): with many zones, a second synced file for
each key took as long as the key's own. Their files of the earlier form are read and moved over.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from dnssecd.signer import files
from dnssecd.signer.key_file import Description
from dnssecd.signer.known_log import KnownLog
from dnssecd.signer.trash import DIRECTORY as TRASH
from dnssecd.signer.trash import Trash

SUFFIX = ".json"


class Registry:
    """Descriptions of one store's keys, in `directory`; `trash` has those that were removed.

    `derived`: each key that is put is durable in the store already, and put again at each start.
    """

    def __init__(self, directory: Path, *, derived: bool = False) -> None:
        self.trash = Trash(directory / TRASH)
        self._directory = directory
        self._log = KnownLog(directory) if derived else None
        self._keys: dict[str, Description] = {}
        self._of_zone: dict[bytes, tuple[str, ...]] = {}

    def load(self) -> None:
        """Read the directory, made where it is missing; ValueError names a file that is not readable."""
        files.make_private_directory(self._directory)
        files.remove_temporary(self._directory)
        self.trash.load()
        paths = list(self._directory.glob("*" + SUFFIX))
        found = {path: _read(path) for path in paths}
        if self._log is not None:
            self._load_log(self._log, found)
            return
        for path, key in found.items():
            if self.trash.get(key.id) is None:
                self._enter(key)
            else:
                files.remove(path)  # its removal was cut short

    def _load_log(self, log: KnownLog, earlier: dict[Path, Description]) -> None:
        """Read the log; move the files of the earlier form over: they go when the log has their keys.

        What a full disk prevents is done by the next start.
        """
        keys = log.load()
        moved = {key.id: key for key in earlier.values() if key.id not in keys}
        removed = {key_id for key_id in (*keys, *moved) if self.trash.get(key_id) is not None}
        kept = [key for key in (keys | moved).values() if key.id not in removed]
        for key in kept:
            self._enter(key)
        if (moved or removed) and not log.tidy(kept):
            return
        for path in earlier:
            path.unlink(missing_ok=True)
        if earlier:
            files.sync_directory(self._directory)

    def put(self, key: Description) -> None:
        """Remember a key durably; a derived one at the next start at the latest."""
        if self._keys.get(key.id) != key:
            if self._log is not None:
                self._log.put(key)
            else:
                files.write_atomically(self._path(key.id), msgspec.json.encode(key))
            self._leave(key.id)
            self._enter(key)
            if self._log is not None:
                self._log.tend(self._keys.values())

    def recognize(self, key: Description) -> str:
        """Enter a key that its store holds; return "" or why it could not be remembered: the next start tries again."""
        try:
            self.put(key)
        except OSError as error:
            self._leave(key.id)
            self._enter(key)
            return error.strerror or str(error)
        return ""

    def drop(self, key_id: str) -> None:
        """Forget a key durably; to be called when it has been destroyed on purpose."""
        if key_id not in self._keys:
            return
        self._leave(key_id)
        if self._log is not None:
            self._log.drop(key_id)
            self._log.tend(self._keys.values())
            self._path(key_id).unlink(
                missing_ok=True
            )  # a full disk may have kept the file of the earlier form
        else:
            files.remove(self._path(key_id))

    def close(self) -> None:
        """Close the file, if there is one for all keys."""
        if self._log is not None:
            self._log.close()

    def get(self, key_id: str) -> Description | None:
        """Return the key of that id."""
        return self._keys.get(key_id)

    def all(self) -> list[Description]:
        """Return all keys known."""
        return list(self._keys.values())

    def of_zone(self, zone: bytes) -> list[Description]:
        """Return all keys bound to `zone`."""
        return [self._keys[key_id] for key_id in self._of_zone.get(zone, ())]

    def __len__(self) -> int:
        return len(self._keys)

    def _enter(self, key: Description) -> None:
        self._keys[key.id] = key
        for zone in key.zones:
            self._of_zone[zone] = tuple(dict.fromkeys((*self._of_zone.get(zone, ()), key.id)))

    def _leave(self, key_id: str) -> None:
        key = self._keys.pop(key_id, None)
        for zone in key.zones if key is not None else ():
            left = tuple(other for other in self._of_zone[zone] if other != key_id)
            if left:
                self._of_zone[zone] = left
            else:
                del self._of_zone[zone]

    def _path(self, key_id: str) -> Path:
        return self._directory / (key_id + SUFFIX)


def _read(path: Path) -> Description:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Description)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} is damaged: {error}; restore it from the backup") from None
