"""The files with a zone's trust anchors: ``DIRECTORY/ZONE/anchors.*``, each with its signature in ``*.p7s``.

Each file is replaced as a whole. A file and its signature are two files: a client that fetches both while they change
may find that they do not belong together, and fetches them again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dnssecd.config.model import SmimeConfig
from dnssecd.core.parent.anchor_forms import FILES
from dnssecd.store.catalogue import database_name

if TYPE_CHECKING:
    from dnssecd.config.mail_certificates import Signer

SIGNATURE = ".p7s"
#: A web server reads them.
FILE_MODE, DIRECTORY_MODE = 0o644, 0o755
#: No file is larger.
OCTETS_MAX = 1 << 20


class CannotSign(Exception):
    """The certificate or key of ``[anchors]`` cannot be used; the text names the file and says why."""


def directory_name(zone: str) -> str:
    """Return the name of a zone's directory: the quoted zone name without its final dot."""
    return database_name(zone).removesuffix(".sqlite")


def sign_files(files: Mapping[str, bytes], signing: SmimeConfig, now: float) -> dict[str, bytes]:
    """Return the signature (DER) of each file by the name of the file; none without a certificate. Raise CannotSign."""
    signer = _signer(signing, now)
    if signer is None:
        return {}
    from dnssecd.ops.cms import sign_detached

    return {name: sign_detached(content, signer) for name, content in files.items()}


def write_files(directory: Path, files: Mapping[str, bytes], signing: SmimeConfig, now: float) -> bool:
    """Bring a zone's directory up to date; return whether any content changed. Raise OSError or CannotSign.

    The directory above it must exist. A signature is renewed when its file or the certificate changes.
    """
    signer = _signer(signing, now)
    with suppress(FileExistsError):
        directory.mkdir()
        directory.chmod(DIRECTORY_MODE)
    changed = False
    for name in FILES:
        path, content = directory / name, files.get(name)
        proof = directory / (name + SIGNATURE)
        if content is None:
            changed = _remove(path) or changed
        elif read_file(path) != content:
            _replace(path, content)
            changed = True
            _remove(proof)
        if content is None or signer is None:
            _remove(proof)
        else:
            _sign(proof, content, signer)
    return changed


def read_file(path: Path) -> bytes | None:
    """Return the content of a file; None if it cannot be read, or is larger than such files are."""
    try:
        with path.open("rb") as file:
            content = file.read(OCTETS_MAX + 1)
    except OSError:
        return None
    return content if len(content) <= OCTETS_MAX else None


def _signer(signing: SmimeConfig, now: float) -> Signer | None:
    if signing.certificate is None:
        return None
    from dnssecd.config.mail_certificates import Unusable, read_signer

    try:
        return read_signer(signing, None, now)
    except Unusable as error:
        raise CannotSign(str(error)) from None


def _sign(proof: Path, content: bytes, signer: Signer) -> None:
    from dnssecd.ops.cms import is_by, sign_detached

    present = read_file(proof)
    if present is None or not is_by(present, signer):
        _replace(proof, sign_detached(content, signer))


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.dnssecd")
    draft.unlink(missing_ok=True)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(draft, flags, FILE_MODE), "wb") as file:
            os.fchmod(file.fileno(), FILE_MODE)  # the umask is 077
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
