"""Make a backup while the daemon runs: copy the committed state of every database into one file.

Each database is copied in one read transaction, so a zone's version, journal and key states are consistent; the daemon
continues to write meanwhile. The file appears under its name when all of it is on disk.
"""

import gzip
import io
import os
import shutil
import tarfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import msgspec

from dnssecd import __version__
from dnssecd.backup.content import Unreadable, read_copy
from dnssecd.backup.manifest import (
    COMMON,
    DIGEST,
    FORMAT,
    MANIFEST,
    KeyEntry,
    Manifest,
    Member,
    StoredKey,
    ZoneEntry,
)
from dnssecd.backup.scratch import IN_WORK, scratch_directory
from dnssecd.config.model import Config
from dnssecd.core.keys.keyset import Key
from dnssecd.daemon.zones.specs import database_path
from dnssecd.store.backup_copy import copy_checked
from dnssecd.store.catalogue import read_catalogue
from dnssecd.store.errors import StoreError
from dnssecd.store.sqlite import sync_directory

COMPRESSION = 1
#: Suffix of an incomplete backup.
INCOMPLETE = ".incomplete"
_PIECE = 1 << 20

#: Called with (done, total, what): first zones, then keys.
Told = Callable[[int, int, str], None]


class Damaged(Exception):
    """A database cannot be backed up; the message has the reason."""


class Writer:
    """Writes members into a new archive; ``scratch`` is a private directory.

    ``target``: the final name of the archive, ``descriptor``: its file. An incomplete archive gets another name, so as
    not to replace a good one.
    """

    def __init__(self, tar: tarfile.TarFile, scratch: Path, now: int, target: Path, descriptor: int) -> None:
        self.target, self.descriptor = target, descriptor
        self._tar, self._scratch, self._now = tar, scratch, now
        self.members: dict[str, Member] = {}

    def share(self, group: int) -> None:
        """Let a group read the archive: that of the daemon, which checks backups. Only root can give it away."""
        os.fchown(self.descriptor, -1, group)
        os.fchmod(self.descriptor, 0o640)

    def incomplete(self) -> None:
        """Mark the archive as incomplete."""
        self.target = self.target.with_name(f"{self.target.name}{INCOMPLETE}")

    def copy(self, path: Path) -> Path:
        """Copy a database and check the copy, which exists until the next call. Raise Damaged."""
        copy = self._scratch / "database"
        copy.unlink(missing_ok=True)
        try:
            copy_checked(path, copy)
        except StoreError as error:
            raise Damaged(str(error)) from error
        return copy

    def pack(self, copy: Path, member: str) -> None:
        """Add a copy, compressed."""
        packed = self._scratch / "packed"
        with (
            copy.open("rb") as source,
            packed.open("wb") as target,
            gzip.GzipFile("", "wb", COMPRESSION, target, mtime=0) as out,
        ):
            shutil.copyfileobj(source, out, _PIECE)
        with packed.open("rb") as stream:
            self._put(member, stream, packed.stat().st_size, copy.stat().st_size)

    def octets(self, member: str, content: bytes) -> None:
        """Add a member with this content."""
        self._put(member, io.BytesIO(content), len(content), len(content))

    def _put(self, member: str, stream: BinaryIO, octets: int, content_octets: int) -> None:
        entry = tarfile.TarInfo(member)
        entry.size, entry.mode, entry.mtime = octets, 0o600, self._now
        hashed = _Hashing(stream)
        self._tar.addfile(entry, hashed)
        self.members[member] = Member(hashed.digest.hexdigest(), octets, content_octets)


class _Hashing:
    """A stream that computes the SHA-256 of the data read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(size)
        self.digest.update(piece)
        return piece


@contextmanager
def archive_file(target: Path, now: int) -> Iterator[Writer]:
    """Provide a new archive, mode 0600; it gets its name only if the block succeeds. Raise OSError.

    The name is ``target``, for an incomplete archive with the suffix ``INCOMPLETE``.
    """
    directory = target.absolute().parent
    with scratch_directory(directory) as (scratch, descriptor):
        with os.fdopen(descriptor, "wb", closefd=False) as out:
            with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
                writer = Writer(tar, scratch, now, target, descriptor)
                yield writer
            out.flush()
            os.fsync(descriptor)
        os.replace(scratch / IN_WORK, writer.target)
    sync_directory(directory)


def write_zones(writer: Writer, config: Config, told: Told) -> tuple[list[ZoneEntry], dict[str, str]]:
    """Add every zone that has a database; return them, and the damaged ones with the reason."""
    paths = {name: database_path(config, name) for name in sorted({*config.zones, *catalogued(config)})}
    there = {name: path for name, path in paths.items() if path.exists()}
    entries, damaged = [], {}
    for number, (name, path) in enumerate(there.items()):
        told(number, len(there), name)
        member = f"zones/{path.name}.gz"
        try:
            copy = writer.copy(path)
            entry = _entry(name, member, copy)
        except Damaged as error:
            damaged[name] = str(error)
        except Unreadable as error:
            damaged[name] = f"{path}: {error}"
        else:
            writer.pack(copy, member)
            entries.append(entry)
    told(len(there), len(there), "")
    return entries, damaged


def write_common(writer: Writer, state_dir: Path) -> dict[str, str]:
    """Add the databases of the daemon; return those that are damaged with the reason."""
    damaged = {}
    for name in COMMON:
        if (state_dir / name).exists():
            try:
                writer.pack(writer.copy(state_dir / name), f"{name}.gz")
            except Damaged as error:
                damaged[name] = str(error)
    return damaged


def finish(
    writer: Writer,
    config: Config,
    host: str,
    now: int,
    zones: list[ZoneEntry],
    damaged: dict[str, str],
    keys: list[StoredKey] | None,
) -> Manifest:
    """Add the manifest. keys: None if they were not requested."""
    manifest = Manifest(
        format=FORMAT,
        version=__version__,
        made_at=now,
        host=host,
        config_path=str(config.path),
        config_sha256=config_digest(config),
        zones=tuple(zones),
        members=dict(writer.members),
        keys=tuple(keys or ()),
        with_keys=keys is not None,
        damaged=damaged,
    )
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    if not manifest.whole:
        writer.incomplete()
    writer.octets(MANIFEST, text)
    writer.octets(DIGEST, sha256(text).hexdigest().encode() + b"\n")
    return manifest


def config_digest(config: Config) -> str:
    """Return the SHA-256 of the configuration file, "" if it cannot be read."""
    try:
        return sha256(config.path.read_bytes()).hexdigest()
    except OSError:
        return ""


def catalogued(config: Config) -> set[str]:
    """Return the zones in the catalogue, configured or not."""
    path = config.server.state_dir / COMMON[0]
    if not path.exists():
        return set()
    try:
        return set(read_catalogue(path).names)
    except StoreError:
        return set()


def _entry(name: str, member: str, copy: Path) -> ZoneEntry:
    version, known, keyset = read_copy(copy)
    keys = tuple(map(_key, keyset.keys)) if keyset is not None else ()
    if known is None:
        return ZoneEntry(name, member, version, keys=keys)
    return ZoneEntry(name, member, version, known.serial, known.published_at, keys)


def _key(key: Key) -> KeyEntry:
    return KeyEntry(
        key.ref,
        key.role.value,
        key.algorithm,
        key.tag,
        b64encode(key.public_key).decode(),
        key.keystore,
        key.goal.value,
        {rec.value: key.record(rec).state.value for rec in key.records},
    )
