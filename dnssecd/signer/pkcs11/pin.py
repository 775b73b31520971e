"""The PIN: read from its file, sent once.

After a C_Login that failed for any cause but a known temporary one, the PIN is not sent again, also not after a
restart: a salted scrypt hash of it is kept, and only another PIN in the file is tried. So dnssecd locks no token.
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
DIGEST_OCTETS = 32


class Pin:
    """How to log in: `login` is "pin" (the PIN in `path`), "protected" (a PIN pad) or "none".

    `refused_path` remembers the PIN that is not sent again: salt, digest, and why where that is not plain.
    """

    def __init__(self, login: str, path: Path, refused_path: Path, warnings: WarningBook) -> None:
        self.login = login
        self._path = path
        self._refused_path = refused_path
        self._warnings = warnings
        self._unwritten = b""  # what is to be remembered, and could not be written yet

    def read(self) -> str:
        """Return the PIN, "" where none is needed; OperatorNeeded when there is none, or it must not be sent again."""
        if self.login == "none":
            return ""
        pin = self._in_file() if self.login == "pin" else ""
        if (why := self._refusal(pin)) is not None:
            raise OperatorNeeded(self._held_text(why))
        return pin

    def refused(self, why: str = "") -> None:
        """Remember durably not to send the PIN again: the token refused it or, with `why`, may have counted it."""
        pin, salt = self._in_file() if self.login == "pin" else "", os.urandom(SALT_OCTETS)
        self._unwritten = salt + _hash(pin, salt) + why.encode()
        self._write()

    def _write(self) -> None:
        """Store what is to be remembered. On a full disk memory has it until there is room."""
        try:
            files.make_private_directory(self._refused_path.parent)
            files.write_atomically(self._refused_path, self._unwritten)
        except OSError as error:
            detail = f"which PIN was refused cannot be stored, do not restart the key service: {error}"
            self._warnings.add("PIN refusal not stored", str(self._path), detail)
            return
        self._unwritten = b""
        self._warnings.clear("PIN refusal not stored", str(self._path))

    def accepted(self) -> None:
        """Forget which PIN was refused."""
        self._forget_unwritten()
        if self._refused_path.exists():
            files.remove(self._refused_path)

    def release(self) -> None:
        """Allow another try, for an operator. A PIN that the token has plainly refused is still not sent."""
        if self._unwritten[SALT_OCTETS + DIGEST_OCTETS :]:
            self._forget_unwritten()
        try:
            why = self._refused_path.read_bytes()[SALT_OCTETS + DIGEST_OCTETS :]
        except FileNotFoundError:
            return
        if why:
            files.remove(self._refused_path)

    def _forget_unwritten(self) -> None:
        self._unwritten = b""
        self._warnings.clear("PIN refusal not stored", str(self._path))

    def _in_file(self) -> str:
        try:
            wrong = files.correct_mode(self._path, 0o600)
            pin = self._path.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise OperatorNeeded(f"PIN file {self._path} cannot be read: {why}") from None
        if wrong:
            self._warnings.add("PIN file mode", str(self._path), wrong, firing=False)
        if not pin:
            raise OperatorNeeded(
                f'PIN file {self._path} is empty. If the token needs no login, write login = "none"'
            )
        return pin

    def _refusal(self, pin: str) -> str | None:
        """Why `pin` must not be sent, "" where the token refused it; None where it may."""
        stored = self._unwritten
        if stored:
            self._write()
        else:
            try:
                stored = self._refused_path.read_bytes()
            except FileNotFoundError:
                return None
        salt, digest = stored[:SALT_OCTETS], stored[SALT_OCTETS : SALT_OCTETS + DIGEST_OCTETS]
        if not hmac.compare_digest(digest, _hash(pin, salt)):
            return None
        return stored[SALT_OCTETS + DIGEST_OCTETS :].decode("utf-8", "replace")

    def _held_text(self, why: str) -> str:
        if not why:
            return (
                f"the token refused the PIN in {self._path}; it is not tried again. Put the right PIN there"
            )
        what = "the login" if self.login == "protected" else f"the PIN in {self._path}"
        return (
            f"{why}; {what} is not tried again, because the token may count it as a wrong one."
            " Find the cause, then run: dnssecd keystore test"
        )


def _hash(pin: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=DIGEST_OCTETS, n=2**14, r=8, p=1).derive(pin.encode())
