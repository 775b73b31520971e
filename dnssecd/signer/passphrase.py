"""The passphrase of a software key store."""

from __future__ import annotations

import secrets
from pathlib import Path

from dnssecd.signer import files
from dnssecd.signer.errors import OperatorNeeded, Unavailable

FILE_NAME = "passphrase"
ALLOWED_MODE = 0o600


def path_of(passphrase_file: str, directory: Path) -> Path:
    """Return the configured file, or the one beside the keys."""
    return Path(passphrase_file) if passphrase_file else directory / FILE_NAME


def read_passphrase(path: Path) -> bytes:
    """Return the passphrase: the file's content without trailing line ends."""
    try:
        passphrase = path.read_bytes().rstrip(b"\r\n")
    except FileNotFoundError:
        raise Unavailable(f"passphrase file {path} is missing; restore it, the keys need it") from None
    except OSError as error:
        raise OperatorNeeded(f"passphrase file {path} cannot be read: {error.strerror}") from None
    if not passphrase:
        raise OperatorNeeded(f"passphrase file {path} is empty; restore it, the keys need it")
    return passphrase


def make_passphrase(path: Path) -> None:
    """Write a new random passphrase, for a store that has no keys yet."""
    files.write_atomically(path, secrets.token_urlsafe(32).encode() + b"\n", ALLOWED_MODE)
