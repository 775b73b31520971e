"""Which user the key service is, so that clients can tell it from another process in its place."""

from __future__ import annotations

import pwd
import stat
from pathlib import Path

from dnssecd.config.model import Config, SoftwareKeystore


def signer_owners(config: Config) -> frozenset[int] | None:
    """Return the user ids that the key service may have beside root's; None when that cannot be told.

    `[signer] user` says it. Without it: the owners of the key directories, else of the socket's directory where no
    other user may write. A service that the daemon starts has the user of the daemon's state directory.
    KeyError for a user that this host does not have.
    """
    if config.signer.user:
        return frozenset({_uid(config.signer.user)})
    if config.signer.socket is None:
        owner = _owner(config.server.state_dir)
        return None if owner is None else frozenset({owner})
    stores = [store for store in config.keystores.values() if isinstance(store, SoftwareKeystore)]
    found = {_owner(store.directory) for store in stores} - {
        None,
        0,
    }  # root owns what was not made by the service
    owners = frozenset(uid for uid in found if uid is not None)
    return owners or _owner_of_place(config.signer.socket.parent)


def _uid(user: str) -> int:
    return int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid


def _owner(path: Path) -> int | None:
    """The owner of a path, or of the nearest directory above it that may be looked at; None when it is not there."""
    for place in (path, *path.parents):
        try:
            return place.stat().st_uid
        except PermissionError:
            continue
        except OSError:
            return None
    return None


def _owner_of_place(directory: Path) -> frozenset[int] | None:
    """The owner of a directory that it alone may write to."""
    try:
        info = directory.stat()
    except OSError:
        return None
    exclusive = not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return frozenset({info.st_uid}) if exclusive else None
