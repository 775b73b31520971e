"""The PIN: read from its file, tried once.

A PIN the token has refused is never sent again, not even after a restart: a salted scrypt hash of it is
kept, and only another PIN in the file is tried. So no retrying of ours ever locks a token.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from dnssecd.signer import files
from dnssecd.signer.errors import OperatorNeeded
from dnssecd.signer.warnings import WarningBook

SALT_OCTETS = 16


class Pin:
    """The PIN in `path`; `refused_path` remembers the one that was refused."""

    def __init__(self, path: Path, refused_path: Path, warnings: WarningBook) -> None:
        self._path = path
        self._refused_path = refused_path
        self._warnings = warnings

    def read(self) -> str:
        """Return the PIN; OperatorNeeded when there is none, or it is the one that was refused."""
        try:
            wrong = files.correct_mode(self._path, 0o600)
            pin = self._path.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise OperatorNeeded(f"PIN file {self._path} cannot be read: {why}") from None
        if wrong:
            self._warnings.add("PIN file mode", str(self._path), wrong, firing=False)
        if not pin:
            raise OperatorNeeded(f"PIN file {self._path} is empty")
        if self._was_refused(pin):
            raise OperatorNeeded(
                f"the token refused the PIN in {self._path}; it is not tried again. Put the right PIN there"
            )
        return pin

    def refused(self, pin: str) -> None:
        """Remember durably that the token refused `pin`."""
        salt = os.urandom(SALT_OCTETS)
        files.make_private_directory(self._refused_path.parent)
        files.write_atomically(self._refused_path, salt + _hash(pin, salt))

    def accepted(self) -> None:
        """Forget what was refused before."""
        if self._refused_path.exists():
            files.remove(self._refused_path)

    def _was_refused(self, pin: str) -> bool:
        try:
            stored = self._refused_path.read_bytes()
        except FileNotFoundError:
            return False
        salt, digest = stored[:SALT_OCTETS], stored[SALT_OCTETS:]
        return hmac.compare_digest(digest, _hash(pin, salt))


def _hash(pin: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=2**14, r=8, p=1).derive(pin.encode())
