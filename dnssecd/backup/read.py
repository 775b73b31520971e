"""Read a backup: members are used only after their SHA-256 is checked; other members are not unpacked."""

import gzip
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import msgspec

from dnssecd.backup.manifest import DIGEST, FORMAT, MANIFEST, MANIFEST_OCTETS_MAX, Manifest, Member
from dnssecd.core.dns.names import text_to_wire
from dnssecd.store.backup_copy import check_unpacked, read_origin
from dnssecd.store.errors import StoreError
from dnssecd.store.sqlite import create_file

_PIECE = 1 << 20
#: Deflate expands one octet to at most this number of octets (zlib's technical notes).
DEFLATE_RATIO_MAX = 1032
#: Exceptions of tarfile for files that are not archives, or were built to confuse it.
_BAD_TAR = (tarfile.TarError, ValueError, OverflowError, LookupError, EOFError)


class BadArchive(Exception):
    """The file is not a backup, or a part of it was changed; the message has the reason."""


class Archive:
    """A backup that is open for reading."""

    def __init__(self, tar: tarfile.TarFile, path: Path) -> None:
        self._tar, self._path = tar, path
        self._entries = _entries(tar, path)
        content = self._small(MANIFEST, MANIFEST_OCTETS_MAX)
        if self._small(DIGEST, 1000).strip() != sha256(content).hexdigest().encode():
            raise BadArchive(f"{path}: the manifest was changed or damaged")
        try:
            self.manifest = msgspec.json.decode(content, type=Manifest)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadArchive(f"{path}: the manifest cannot be read: {error}") from None
        if self.manifest.format != FORMAT:
            raise BadArchive(f"{path} is of format {self.manifest.format!r}; this dnssecd reads {FORMAT!r}")
        _check_names(path, [entry.zone for entry in self.manifest.zones])

    def octets(self, name: str, octets_max: int = 1 << 20) -> bytes:
        """Return a small member's content, checked."""
        known = self._known(name)
        content = self._small(name, octets_max)
        if sha256(content).hexdigest() != known.sha256:
            raise BadArchive(f"{self._path}: {name} was changed or damaged")
        return content

    def check(self, name: str) -> None:
        """Check a member against the manifest."""
        known = self._known(name)
        digest = sha256()
        for piece in self._pieces(name):
            digest.update(piece)
        if digest.hexdigest() != known.sha256:
            raise BadArchive(f"{self._path}: {name} was changed or damaged")

    def unpack(self, name: str, target: Path) -> None:
        """Check a compressed member and unpack it to a new file, mode 0600.

        The size in the manifest is checked against the compressed size and the free disk space.
        """
        known = self._known(name)
        octets_max = min(known.content_octets, self._entries[name].size * DEFLATE_RATIO_MAX)
        free = shutil.disk_usage(target.parent).free
        if octets_max > free:
            raise BadArchive(
                f"{self._path}: {name} needs {octets_max:,} bytes, but only {free:,} are free in {target.parent}"
            )
        self.check(name)
        stream = self._tar.extractfile(self._entries[name])
        assert stream is not None
        create_file(target)
        written = 0
        try:
            with gzip.GzipFile("", "rb", fileobj=stream) as source, target.open("wb") as out:
                while piece := source.read(_PIECE):
                    written += len(piece)
                    if written > octets_max:
                        raise BadArchive(
                            f"{self._path}: {name} unpacks to more than its size in the manifest"
                        )
                    out.write(piece)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BadArchive(f"{self._path}: {name} cannot be unpacked: {error}") from None

    def _known(self, name: str) -> Member:
        known = self.manifest.members.get(name)
        if known is None or name not in self._entries:
            raise BadArchive(f"{self._path}: {name} is missing")
        if known.octets != self._entries[name].size:
            raise BadArchive(f"{self._path}: {name} does not have the size in the manifest")
        return known

    def _small(self, name: str, octets_max: int) -> bytes:
        if name not in self._entries:
            raise BadArchive(f"{self._path} is not a complete backup: {name} is missing")
        if self._entries[name].size > octets_max:
            raise BadArchive(f"{self._path}: {name} is too large")
        return b"".join(self._pieces(name))

    def _pieces(self, name: str) -> Iterator[bytes]:
        stream = self._tar.extractfile(self._entries[name])
        assert stream is not None
        try:
            with stream:
                while piece := stream.read(_PIECE):
                    yield piece
        except tarfile.TarError as error:
            raise BadArchive(f"{self._path} is truncated or damaged: {error}") from None


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open a backup and check its manifest. Raise BadArchive, OSError."""
    with path.open("rb") as file:
        try:
            tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 (closed below)
        except _BAD_TAR as error:
            raise BadArchive(f"{path} is not a backup: {error}") from None
        with tar:
            yield Archive(tar, path)


def _entries(tar: tarfile.TarFile, path: Path) -> dict[str, tarfile.TarInfo]:
    found: dict[str, tarfile.TarInfo] = {}
    try:
        for entry in tar:
            if not entry.isreg() or entry.name in found:
                raise BadArchive(f"{path}: {entry.name!r} is not a member that dnssecd writes")
            found[entry.name] = entry
    except _BAD_TAR as error:
        raise BadArchive(f"{path} is truncated or damaged: {error}") from None
    return found


def _check_names(path: Path, zones: list[str]) -> None:
    """Check that each zone is listed once, in dnssecd's form of names. Raise BadArchive."""
    seen: set[bytes] = set()
    for zone in zones:
        try:
            wire = text_to_wire(zone)
        except ValueError:
            wire = b""
        if not wire or wire in seen or zone != zone.lower() or not zone.endswith("."):
            raise BadArchive(
                f"{path}: the manifest has the zone {zone[:300]!r}, a form that dnssecd does not write"
            )
        seen.add(wire)


def check_origin(path: Path, zone: str) -> None:
    """Check that a database belongs to the zone. Raise BadArchive."""
    try:
        origin = read_origin(path)
    except StoreError as error:
        raise BadArchive(f"{zone} in the backup is damaged: {error}") from None
    if origin not in (None, text_to_wire(zone)):
        raise BadArchive(f"the database of {zone} in the backup belongs to another zone")


def check_database(path: Path, migrations: tuple[str, ...], application_id: int, what: str) -> None:
    """Check that an unpacked file is a complete dnssecd database with only its tables. Raise BadArchive."""
    try:
        check_unpacked(path, migrations, application_id, what)
    except StoreError as error:
        raise BadArchive(str(error)) from None
