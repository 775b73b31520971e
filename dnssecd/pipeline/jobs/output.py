"""The job that writes the served version as a zone file for other programs, as a whole or not at all."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from dnssecd.pipeline.export import export_text
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.store.errors import StoreError
from dnssecd.store.interface import ZoneStore

EVENT = "output-file-failed"
#: Everyone may read it: who can reach it is decided by its directory.
FILE_MODE = 0o644


def write_output(db: ZoneStore, spec: ZoneSpec, path: Path) -> Outcome:
    """Replace *path* by the served version; after a failure it is as before."""
    draft = path.with_name(f".{path.name}.dnssecd")
    serial = None
    try:
        with db.snapshot() as snapshot:
            serial = snapshot.serial
            _write(draft, (text for text, _ in export_text(snapshot, unsigned=False)))
        os.replace(draft, path)
        _sync(path.parent)
    except StoreError as error:
        return _failed(spec, Problem("store-failed", str(error)))
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        cause = f"{path} cannot be written: {error.strerror or error}"
        remedy = "make room, or let the daemon's user write to the directory; dnssecd tries again"
        return _failed(spec, Problem(EVENT, cause, remedy))
    return Outcome(zone=spec.name, result="unchanged", serial=serial)


def _write(path: Path, pieces: Iterable[str]) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with open(descriptor, "w", encoding="ascii") as file:
        os.fchmod(descriptor, FILE_MODE)  # the umask of a worker is 077
        file.writelines(pieces)
        file.flush()
        os.fsync(descriptor)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(spec: ZoneSpec, problem: Problem) -> Outcome:
    return Outcome(zone=spec.name, result="failed", problems=(problem,))
