"""Files with enforced modes, written atomically.

Crash rule: a file is written beside its place under a temporary name, synced, renamed over it, and the
directory is synced; after a crash there is the old file or the new one, and perhaps a temporary one, which
is removed at the next start.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

TEMPORARY = ".tmp-"


def make_private_directory(path: Path) -> None:
    """Create `path` and its parents with mode 0700 where they are missing."""
    for part in [*reversed(path.parents), path]:
        if not part.exists():
            part.mkdir(mode=0o700, exist_ok=True)


def correct_mode(path: Path, allowed: int) -> str:
    """Take away mode bits beyond `allowed`; return "" or what was wrong. OSError when the path is not there."""
    if _is_credential(path):
        return ""
    info = path.stat()
    mode = stat.S_IMODE(info.st_mode)
    wrong = mode & ~allowed
    if not wrong:
        return ""
    told = f"{path} had mode {mode:04o}, allowed is {allowed:04o}"
    try:
        path.chmod(mode & allowed)
    except OSError as error:
        return f"{told}; it could not be corrected: {error.strerror}"
    return f"{told}; corrected: find out who changed it and who could read it meanwhile"


def foreign_owner(path: Path) -> str:
    """Return "" when a path is ours or root's, else who owns it, which is who can replace what is in it."""
    owner = path.stat().st_uid
    if owner in (0, os.geteuid()):
        return ""
    return f"{path} belongs to user {owner}, who can replace what is in it; chown it to user {os.geteuid()}"


def may_own(path: Path) -> bool:
    """Whether this process may keep its state in a directory: it is its own, or root's business."""
    return os.geteuid() == 0 or path.stat().st_uid == os.geteuid()


def _is_credential(path: Path) -> bool:
    """Return whether systemd guards a path by ACL and a read-only mount: its mode bits show the ACL's mask."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(directory) and path.is_relative_to(directory or "/")


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file with its final mode; see the module's crash rule."""
    temporary = path.with_name(TEMPORARY + path.name)
    try:
        _write_synced(temporary, content, mode)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _write_synced(temporary: Path, content: bytes, mode: int) -> None:
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_all_atomically(contents: Mapping[Path, bytes], mode: int = 0o600) -> None:
    """Write new files of one directory, as `write_atomically` does; the directory is synced once, after all of them.

    After a crash each file is there as a whole or not at all. After an error none is.
    """
    temporary = {path: path.with_name(TEMPORARY + path.name) for path in contents}
    placed: list[Path] = []
    try:
        for path, content in contents.items():
            _write_synced(temporary[path], content, mode)
        for path in contents:
            temporary[path].rename(path)
            placed.append(path)
    except BaseException:
        for path in (*temporary.values(), *placed):
            path.unlink(missing_ok=True)
        raise
    for directory in {path.parent for path in contents}:
        sync_directory(directory)


def sync_directory(path: Path) -> None:
    """Make renames and removals in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move(path: Path, to: Path) -> None:
    """Move a file to another directory of the file system, durably; FileNotFoundError when it is gone."""
    path.rename(to)
    sync_directory(to.parent)
    sync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove a file durably; no error when it is gone already."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def remove_temporary(directory: Path) -> None:
    """Remove what a crash left behind."""
    for path in directory.glob(TEMPORARY + "*"):
        path.unlink(missing_ok=True)
