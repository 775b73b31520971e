"""The ceremony machine: KSKs in its own key store, and a file for each zone of what was signed. There is no daemon."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dnssecd.cli.common import Bad
from dnssecd.config.ceremony import CeremonyConfig, load_ceremony
from dnssecd.config.model import SoftwareKeystore
from dnssecd.config.signer_settings import keystore_settings
from dnssecd.core.ceremony.checks import Limits, Previous
from dnssecd.core.dns.names import text_to_wire, wire_to_text
from dnssecd.core.keys.keyset import SigningKey
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_client.launch import OWN_CHILD, launched_signer
from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.keyservice_settings import KeyLimits, LimitSettings, SignerSettings

DEADLINE_S = 600.0
SPAN_S_MAX = (1 << 31) - 1
SOCKET_PARENT_OCTETS_MAX = 70


class ZoneRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the ceremony machine keeps of a zone.

    ``current``, ``coming``: ids of the KSKs that sign, and of those that are to replace them. The rest is of the last
    ceremony: number and hash of its request, hash of its response, ZSKs (DNSKEY RDATA), its end (epoch s).
    """

    current: tuple[str, ...] = ()
    coming: tuple[str, ...] = ()
    number: int = 0
    request: str = ""
    response: str = ""
    zsks: tuple[bytes, ...] = ()
    until: int = 0

    def previous(self, zone: bytes) -> Previous | None:
        """Return the last ceremony for the checks; None before the first."""
        if not self.response:
            return None
        return Previous(zone, self.number, self.request, self.response, frozenset(self.zsks), self.until)


@dataclass(frozen=True)
class Place:
    """A ceremony machine at work."""

    config: CeremonyConfig
    signer: SignerClient

    def record(self, zone: bytes) -> ZoneRecord:
        """Return what is kept of a zone."""
        path = self._path(zone)
        try:
            return msgspec.json.decode(path.read_bytes(), type=ZoneRecord)
        except FileNotFoundError:
            return ZoneRecord()
        except (OSError, msgspec.DecodeError) as error:
            raise Bad(f"{path} cannot be read: {error}", "restore it from the machine's backup") from None

    def keep(self, zone: bytes, record: ZoneRecord) -> None:
        """Write what is kept of a zone: complete or not at all."""
        path = self._path(zone)
        try:
            write_whole(path, json.dumps(msgspec.to_builtins(record), indent=1) + "\n", 0o600)
        except OSError as error:
            raise Bad(f"{path} cannot be written: {error.strerror}", "see disk and permissions") from None

    def ksks(self, zone: bytes) -> dict[str, KeyInfo]:
        """Return the KSKs of a zone in the key store, by id."""
        return {info.id: info for info in self.signer.keys(zone) if info.role == "ksk"}

    def _path(self, zone: bytes) -> Path:
        name = "".join(c if c.isalnum() or c in "-_." else f"%{ord(c):02x}" for c in wire_to_text(zone))
        return self.config.state / f"{name}json"


def signing_key(info: KeyInfo) -> SigningKey:
    """Return a key as signing knows it."""
    return SigningKey(info.id, info.algorithm, info.flags, info.tag, info.public_key, info.store)


def write_whole(path: Path, text: str, mode: int) -> None:
    """Write a file with its final mode, and put it in place when it is complete. Raise OSError."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(temporary, flags, mode), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def configured(path: Path, keystore: Path | None, passphrase_file: Path | None) -> CeremonyConfig:
    """Return the configuration at *path*; with *keystore* that of a software store there, with the default limits."""
    if keystore is None:
        return load_ceremony(path)
    directory = keystore.absolute()
    store = SoftwareKeystore("vault", directory, passphrase_file and passphrase_file.absolute(), False, False)
    return CeremonyConfig(directory / "ceremony", store, Limits())


@contextmanager
def at_work(config: CeremonyConfig) -> Iterator[Place]:
    """Run the key service of the ceremony machine for the length of the block; its errors become Bad."""
    try:
        config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _socket_directory() as scratch:
            settings = SignerSettings(
                socket=str(Path(scratch) / "signer.sock"),
                state_dir=str(config.state / "signer"),
                keystores=keystore_settings([config.keystore]),
                limits=LimitSettings(default=KeyLimits(validity_s_max=SPAN_S_MAX)),
            )
            with (
                launched_signer(settings, quiet=True),
                SignerClient(settings.socket, DEADLINE_S, owners=OWN_CHILD) as client,
            ):
                yield Place(config, client)
    except SignerError as error:
        raise Bad(str(error), "repair the key store; nothing was signed") from None
    except OSError as error:
        raise Bad(f"{error.filename or config.state}: {error.strerror}", "see [ceremony] state") from None


def _socket_directory() -> tempfile.TemporaryDirectory[str]:
    """Return a private directory whose path leaves room for a Unix socket's."""
    parent: str | None = None
    if len(os.fsencode(tempfile.gettempdir())) > SOCKET_PARENT_OCTETS_MAX:
        parent = "/tmp"  # noqa: S108  (the directory has mode 0700 and a random name)
    return tempfile.TemporaryDirectory(prefix="dnssecd-ceremony-", dir=parent)


def make_ksk(place: Place, zone: str, algorithm: int, bits: int) -> tuple[KeyInfo, str]:
    """Make a KSK; return it and its part: the first is current, one made later is to replace it."""
    origin = text_to_wire(zone)
    record = place.record(origin)
    if record.coming:
        raise Bad(
            f"a KSK is waiting to replace the one of {zone} already",
            "end that rollover first: dnssecd ksr retire ZONE --key-tag N",
        )
    info = place.signer.generate(origin, "ksk", algorithm, store=place.config.keystore.name, bits=bits)
    if record.current:
        place.keep(origin, msgspec.structs.replace(record, coming=(info.id,)))
        return info, "coming"
    place.keep(origin, msgspec.structs.replace(record, current=(info.id,)))
    return info, "current"


def retire_ksk(place: Place, zone: str, tag: int, *, destroy: bool) -> str:
    """Take a KSK out of use at the ceremonies to come; return what was done."""
    origin = text_to_wire(zone)
    record, found = place.record(origin), place.ksks(origin)
    chosen = [
        info for info in found.values() if info.tag == tag and info.id in (*record.current, *record.coming)
    ]
    if not chosen:
        raise Bad(f"no KSK of {zone} in use has the key tag {tag}", "dnssecd ksr keys ZONE lists them")
    gone = chosen[0].id
    current = tuple(key for key in record.current if key != gone)
    coming = tuple(key for key in record.coming if key != gone)
    if not current and not coming:
        raise Bad(f"{tag} is the only KSK of {zone}", "make its successor first: dnssecd ksr keygen ZONE")
    record = msgspec.structs.replace(record, current=current or coming, coming=coming if current else ())
    place.keep(origin, record)
    if not destroy:
        return f"KSK {tag} of {zone} signs no more; its private key is still in the key store"
    return f"KSK {tag} of {zone} signs no more; {place.signer.remove(origin, gone)}"
