"""Put restored databases into the state directory.

Crash rule: after a crash a zone has either the complete old or the complete restored database. The zones are removed
from the catalogue, on disk, before the first database is replaced, so that a start in between reads the databases. The
replaced databases are kept in ``zones/removed``.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from dnssecd.backup.manifest import COMMON
from dnssecd.config.model import Config
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.requests import clock_stepped
from dnssecd.daemon.zones import unconfigured as serving
from dnssecd.daemon.zones.specs import database_path
from dnssecd.pipeline.version import state
from dnssecd.store.aside import set_aside
from dnssecd.store.backup_copy import HistoryEntry, merge_log, prepare_zone, read_documents
from dnssecd.store.catalogue import Catalogue
from dnssecd.store.sqlite import SIDE_FILES, sync_directory

SYNCED_APART_MAX = 50


class Note(Struct, frozen=True):
    """The entry for the history of a restored zone."""

    at: int
    who: str
    detail: str


def prepare(path: Path, keyset: Keyset | None, restored: state.Restored | None, note: Note) -> None:
    """Prepare an unpacked database for use: drop evidence, restart waits, hold the zone if needed.

    The changes are on disk only after :meth:`Placer.put`.
    """
    found = read_documents(path, (state.VERSION,), private=True).documents[state.VERSION]
    version = state.from_document(found, state.VersionState)
    documents = {state.RESTORED: state.to_document(restored) if restored else {}}
    if keyset is not None:
        documents[state.KEYSET] = state.to_document(clock_stepped(keyset, note.at))
    serial = None if version is None else version.serial
    prepare_zone(path, documents, HistoryEntry(note.at, note.who, "restored", serial, note.detail))


class Placer:
    """Puts zones in place, one by one. The caller holds ``state_dir``; files get the owner of that directory."""

    def __init__(self, config: Config, catalogue: Catalogue, now: int) -> None:
        self._config, self._catalogue, self._now = config, catalogue, now
        self._known = catalogue.entries()
        self._serving = catalogue.serving()
        status = config.server.state_dir.stat()
        self._owner = (status.st_uid, status.st_gid)

    def forget(self, zones: Mapping[str, tuple[bool, str | None]]) -> None:
        """Remove zones from the catalogue before the first :meth:`put`. Raise StoreError; nothing is changed then.

        The values: whether the zone was frozen at the time of the backup, and how it was served. Values that are known
        on this host take precedence.
        """
        self._catalogue.put_serving(
            {
                zone: self._here(zone, document)
                for zone, (_, document) in zones.items()
                if document is not None and zone not in self._serving and zone not in self._config.zones
            }
        )
        self._catalogue.forget(
            {
                zone: bool(self._known[zone].frozen) if zone in self._known else frozen
                for zone, (frozen, _) in zones.items()
            }
        )

    def put(self, zone: str, path: Path) -> None:
        """Replace a zone's database by the file at ``path``, on the same file system and synced (:func:`settle`)."""
        self._give(path)
        target = database_path(self._config, zone)
        if target.exists():
            _keep(target, self._now)
        elif any(Path(f"{target}{suffix}").exists() for suffix in SIDE_FILES):
            # The log of a database that was deleted: it must not be applied to the new file.
            set_aside(target, self._now)
        os.replace(path, target)

    def put_common(self, name: str, path: Path) -> None:
        """Put a database of the daemon in place if it does not exist."""
        self._give(path)
        settle([path])
        target = self._config.server.state_dir / name
        for suffix in SIDE_FILES:  # of one that was deleted
            Path(f"{target}{suffix}").unlink(missing_ok=True)
        os.replace(path, target)

    def finish(self) -> None:
        """Sync everything to disk, and give new files to the state directory's owner."""
        state_dir = self._config.server.state_dir
        made = [path for name in COMMON for path in state_dir.glob(f"{name}*")]
        removed = state_dir / "zones" / "removed"
        sync_directory(state_dir / "zones")
        sync_directory(state_dir)
        for path in (state_dir / "lock", state_dir / "zones", *made, removed, *removed.glob("*")):
            self._give(path)

    def _here(self, zone: str, document: str) -> str:
        """Return the document of how the zone was served, with this host's path of its database."""
        found = serving.read(document)
        spec = msgspec.structs.replace(found.spec, database=str(database_path(self._config, zone)))
        return msgspec.json.encode(msgspec.structs.replace(found, spec=spec)).decode()

    def _give(self, path: Path) -> None:
        if os.geteuid() == 0 and path.exists():
            os.chown(path, *self._owner, follow_symlinks=False)


def _keep(database: Path, now: int) -> None:
    """Keep the replaced database. Its write-ahead log is merged first: it must not be applied to the new file."""
    if Path(f"{database}-wal").exists():
        merge_log(database)
    if any(Path(f"{database}{suffix}").exists() for suffix in SIDE_FILES):
        set_aside(database, now)  # damaged: there is nothing complete to keep
        return
    removed = database.parent / "removed"
    removed.mkdir(mode=0o700, exist_ok=True)
    kept = removed / f"{database.name}.{now}"
    kept.unlink(missing_ok=True)
    os.link(database, kept)


def settle(paths: list[Path]) -> None:
    """Sync files to disk before they replace others; thousands of files at once."""
    if len(paths) > SYNCED_APART_MAX:
        os.sync()
        return
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
