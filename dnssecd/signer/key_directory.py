"""The directory of a software key store: one encrypted file for each key.

Layout: `DIRECTORY/<key id>.key` (see `key_file`), `DIRECTORY/trash/<key id>.key` of removed keys and, unless
configured elsewhere, `DIRECTORY/passphrase`; in a node of a cluster, `DIRECTORY/sealing` (see `sealing`). A node whose
keys are in tokens of its own has a directory with nothing but the last two.
Directory 0700, files 0600, looked at whenever a key is used; wrong modes are corrected and reported. The
directory may be on a removable medium: then it is never made, and its absence is a state, not a fault.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from dnssecd.keyservice_settings import KeystoreSettings
from dnssecd.signer import algorithms, files, private_formats
from dnssecd.signer import key_file as sealed
from dnssecd.signer.algorithms import PrivateKey
from dnssecd.signer.errors import BadRequest, Exists, MissingKey, OperatorNeeded, ServiceError, Unavailable
from dnssecd.signer.key_file import Description, KeyEncryption, SealedKey
from dnssecd.signer.passphrase import ALLOWED_MODE, make_passphrase, path_of, read_passphrase
from dnssecd.signer.warnings import WarningBook

SUFFIX = ".key"
TRASH = "trash"
_MODES = 0o7777
#: The private sealing key of this node of a cluster: as what, and where.
SEALING, SEALING_FILE = "sealing key", "sealing"


class KeyDirectory:
    """Key files and their passphrase. Changes are made by one thread at a time; the caller sees to that."""

    def __init__(self, settings: KeystoreSettings, warnings: WarningBook) -> None:
        self.path = Path(settings.directory)
        self.removable = settings.removable
        self._own_passphrase = not settings.passphrase_file
        self._passphrase_path = path_of(settings.passphrase_file, self.path)
        self._text, self._passphrase_text = str(self.path), str(self._passphrase_path)
        #: Files that were missed.
        self._gone: set[Path] = set()
        self._warnings = warnings
        self._encryption: KeyEncryption | None = None
        self._kdf: sealed.Kdf | None = None
        self._mark_key = os.urandom(32)
        self._backup: tuple[bytes, KeyEncryption, sealed.Kdf] | None = None

    def prepare(self) -> None:
        """Make the directory, unless its medium must be mounted, and remove what a crash left."""
        if not self.removable:
            files.make_private_directory(self.path)
        if self.present():
            files.remove_temporary(self.path)

    def present(self) -> bool:
        """Return whether the directory is there; it is not if its medium fails, as one does that was pulled out."""
        try:
            return self.path.is_dir()
        except OSError:
            return False

    def must_be_present(self) -> None:
        """Raise Unavailable when the directory is not there."""
        if not self.present():
            raise Unavailable(self.absent_text())

    def absent_text(self) -> str:
        """Return what to do when the directory is not there."""
        what = "mount the medium" if self.removable else "restore it from the backup"
        return f"key directory {self.path} is not there; {what}"

    def forget(self) -> None:
        """Drop the passphrases and the keys derived from them."""
        self._encryption = None
        self.forget_backup()

    def forget_backup(self) -> None:
        """Drop the passphrase of a backup that is over."""
        self._backup = None

    def holds(self, key_id: str) -> bool:
        """Return whether the key's file is there."""
        return self.key_path(key_id).exists()

    def lacks(self, key_id: str) -> bool:
        """Return whether the key's file is proven not to be there: a directory that cannot be read proves nothing."""
        try:
            self.key_path(key_id).lstat()
        except FileNotFoundError:
            return self.present()
        except OSError:
            return False
        return False

    def key_path(self, key_id: str) -> Path:
        """Return where the key's file is."""
        return self.path / (key_id + SUFFIX)

    def _trash_path(self, key_id: str) -> Path:
        return self.path / TRASH / (key_id + SUFFIX)

    def must_be_new(self, key_id: str) -> None:
        """Raise Exists when there is a file of that name, with any content: it is never replaced by another key's."""
        if os.path.lexists(self.key_path(key_id)):
            raise Exists(f"{self.key_path(key_id)} is there already")

    def write(self, key: Description, private: PrivateKey) -> None:
        """Write a key's file durably and see that it reads back."""
        path = self.key_path(key.id)
        files.write_atomically(path, self._sealed(key, private))
        self._must_read_back(key, private)

    def write_new(self, keys: Sequence[tuple[Description, PrivateKey]]) -> None:
        """Write the files of new keys durably, with one sync of the directory, and see that they read back."""
        for key, _ in keys:
            self.must_be_new(key.id)
        files.write_all_atomically(
            {self.key_path(key.id): self._sealed(key, private) for key, private in keys}
        )
        for key, private in keys:
            self._must_read_back(key, private)

    def _sealed(self, key: Description, private: PrivateKey) -> bytes:
        self.must_be_present()
        encryption = self._unlocked(may_make=True)
        if self._kdf is None:
            self._kdf = sealed.new_kdf()
        return sealed.seal(key, _der(private), encryption, self._kdf)

    def _must_read_back(self, key: Description, private: PrivateKey) -> None:
        if self.read(key).public_key() != private.public_key():
            raise ServiceError(
                f"{self.key_path(key.id)} does not read back as it was written; check the disk"
            )

    def read(self, key: Description) -> PrivateKey:
        """Open a key's file; MissingKey, Unavailable or OperatorNeeded says why it cannot be."""
        path = self.key_path(key.id)
        try:
            content = sealed.read(path.read_bytes())
            der = sealed.open_sealed(content, self._unlocked())
        except FileNotFoundError:
            raise MissingKey(f"{path} is gone; restore it from the backup") from None
        except OSError as error:
            raise OperatorNeeded(f"{path} cannot be read: {error.strerror}") from None
        except sealed.CannotOpen as error:
            self.forget()  # the next try reads the passphrase again
            raise OperatorNeeded(f"{path} cannot be opened with {self._passphrase_path}: {error}") from None
        if content.key.id != key.id:
            raise OperatorNeeded(f"{path} is the file of another key; restore it from the backup")
        return _private(der, key, str(path), ours=True)

    def export(self, key: Description, passphrase: bytes) -> bytes:
        """Return a key file's content for the same key under another passphrase."""
        der = _der(self.read(key))
        encryption, kdf = self._backup_encryption(passphrase)
        return sealed.seal(key, der, encryption, kdf)

    def open_exported(self, content: SealedKey, passphrase: bytes) -> PrivateKey:
        """Open what `export` made; BadRequest when the passphrase is another or the content was changed."""
        try:
            der = sealed.open_sealed(content, self._backup_encryption(passphrase)[0])
        except sealed.CannotOpen as error:
            raise BadRequest(f"the exported key cannot be opened: {error}") from None
        return _private(der, content.key, "the exported key")

    def _backup_encryption(self, passphrase: bytes) -> tuple[KeyEncryption, sealed.Kdf]:
        """Return the encryption of a backup, kept from key to key: scrypt takes a tenth of a second each time."""
        mark = hmac.digest(self._mark_key, passphrase, "sha256")
        held = self._backup
        if held is None or not hmac.compare_digest(held[0], mark):
            held = self._backup = mark, KeyEncryption(passphrase), sealed.new_kdf()
        return held[1:]

    def has_sealing_key(self) -> bool:
        """Return whether this directory has the sealing key of the node."""
        return os.path.lexists(self.path / SEALING_FILE)

    def sealing_key(self) -> X25519PrivateKey:
        """Return the sealing key of this node, made if there is none; Unavailable or OperatorNeeded."""
        self.must_be_present()
        path = self.path / SEALING_FILE
        if not self.has_sealing_key():
            encryption = self._unlocked(may_make=True)
            self._kdf = self._kdf or sealed.new_kdf()
            made = X25519PrivateKey.generate().private_bytes_raw()
            files.write_atomically(path, sealed.seal_secret(SEALING, made, encryption, self._kdf))
        try:
            opened = X25519PrivateKey.from_private_bytes(
                sealed.open_secret(SEALING, path.read_bytes(), self._unlocked())
            )
        except OSError as error:
            raise OperatorNeeded(f"{path} cannot be read: {error.strerror}") from None
        except (sealed.CannotOpen, ValueError) as error:
            self.forget()
            raise OperatorNeeded(f"{path} cannot be opened with {self._passphrase_path}: {error}") from None
        self._corrected(((self.path, 0o700), (path, 0o600), (self._passphrase_path, ALLOWED_MODE)))
        return opened

    def private_der(self, key: Description) -> bytes:
        """Return a private key for a letter to another node."""
        return _der(self.read(key))

    def open_letter(self, key: Description, der: bytes) -> PrivateKey:
        """Return the private key of a letter; BadRequest or OperatorNeeded when it is not the one described."""
        return _private(der, key, "the letter")

    def put_away(self, key_id: str) -> None:
        """Move a key's file into the trash, durably; no error when it is there already."""
        self.must_be_present()
        files.make_private_directory(self.path / TRASH)
        if os.path.lexists(self.key_path(key_id)):
            files.move(self.key_path(key_id), self._trash_path(key_id))

    def bring_back(self, key_id: str) -> None:
        """Move a key's file out of the trash, durably; MissingKey when it is gone."""
        self.must_be_present()
        self.must_be_new(key_id)
        try:
            files.move(self._trash_path(key_id), self.key_path(key_id))
        except FileNotFoundError:
            raise MissingKey(f"{self._trash_path(key_id)} is gone; restore the key from the backup") from None

    def list_trash(self) -> list[Description]:
        """Describe the keys in the trash; files that cannot be read are left out."""
        found = []
        for path in self._listed(self.path / TRASH):
            with suppress(OSError, sealed.CannotOpen):
                content = sealed.read(path.read_bytes())
                if content.key.id == path.stem:
                    found.append(content.key)
        return found

    def remove(self, key: Description) -> None:
        """Remove a key's file durably, also from the trash."""
        self.must_be_present()
        files.remove(self.key_path(key.id))
        if os.path.lexists(self._trash_path(key.id)):
            files.remove(self._trash_path(key.id))

    def scan(self) -> list[Description]:
        """Describe all keys there; files that cannot be read are reported, and modes corrected."""
        self._corrected(((self.path, 0o700), *((path, 0o600) for path in self._key_paths())))
        found = []
        for path in self._key_paths():
            try:
                content = sealed.read(path.read_bytes())
                if content.key.id != path.stem:
                    raise sealed.CannotOpen(f"it is the file of key {content.key.id}; rename it back")
            except (OSError, sealed.CannotOpen) as error:
                self._warnings.add("key file unreadable", str(path), str(error))
                continue
            self._warnings.clear("key file unreadable", str(path))
            self._kdf = self._kdf or content.kdf
            found.append(content.key)
        return found

    def check_modes(self, key_id: str) -> None:
        """Correct and report what others might read; report a lost file while memory still has the key.

        Where one mode is wrong, those of all keys are looked at: what changed it may have changed more.
        """
        if not self._gone and self._are_right(key_id):
            return
        paths = ((self.path, 0o700), (self.key_path(key_id), 0o600), (self._passphrase_path, ALLOWED_MODE))
        if self._corrected(paths):
            self._corrected((path, 0o600) for path in self._key_paths())

    def _are_right(self, key_id: str) -> bool:
        """Tell whether there is nothing to correct or to report: it is asked at each use of a key, so in few calls."""
        try:
            directory = os.stat(self._text)
            wrong = (
                directory.st_mode & _MODES & ~0o700
                | os.stat(f"{self._text}/{key_id}{SUFFIX}").st_mode & _MODES & ~0o600
                | os.stat(self._passphrase_text).st_mode & _MODES & ~ALLOWED_MODE
            )
        except OSError:
            return False
        return not wrong and directory.st_uid in (0, os.geteuid())

    def _corrected(self, paths: Iterable[tuple[Path, int]]) -> bool:
        """Correct and report modes beyond those allowed; tell whether there were any."""
        found = False
        for path, allowed in paths:
            try:
                wrong = files.correct_mode(path, allowed)
                if not wrong and path == self.path:
                    wrong = files.foreign_owner(path)
            except OSError as error:
                detail = f"{path}: {error.strerror}; the key is in memory only: restore it before a restart"
                self._warnings.add("key file gone", str(path), detail)
                self._gone.add(path)
                continue
            self._warnings.clear("key file gone", str(path))
            self._gone.discard(path)
            if wrong:
                found = True
                self._warnings.add("key file mode", str(path), wrong, firing=False)
        return found

    def _key_paths(self) -> list[Path]:
        return self._listed(self.path)

    def _listed(self, directory: Path) -> list[Path]:
        """Return the key files in a directory; none if it cannot be read, which is reported."""
        try:
            found = sorted(directory.glob("*" + SUFFIX))
        except OSError as error:
            self._warnings.add("key file unreadable", str(directory), error.strerror or str(error))
            return []
        self._warnings.clear("key file unreadable", str(directory))
        return found

    def _unlocked(self, *, may_make: bool = False) -> KeyEncryption:
        if self._encryption is None:
            if may_make and self._own_passphrase and not self._passphrase_path.exists():
                if self._key_paths():
                    read_passphrase(self._passphrase_path)  # says that it is missing
                make_passphrase(self._passphrase_path)
            self._encryption = KeyEncryption(read_passphrase(self._passphrase_path))
        return self._encryption


def _der(private: PrivateKey) -> bytes:
    return private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _private(der: bytes, key: Description, what: str, *, ours: bool = False) -> PrivateKey:
    """Decode a private key and see that it is the one described. ours: we sealed it, so its numbers were checked."""
    if ours:
        private = cast(PrivateKey, load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True))
    else:
        private = private_formats.load(der, key.algorithm)
    if algorithms.dnskey_rdata(key.flags, key.algorithm, private.public_key()) != key.dnskey:
        raise OperatorNeeded(f"{what} holds another key than it says; restore it from the backup")
    return private
