"""The user of the key service. Clients check it, so that another process cannot take its place."""

from __future__ import annotations

import pwd
import stat
from pathlib import Path

from dnssecd.config.model import Config, SoftwareKeystore


def signer_owners(config: Config) -> frozenset[int] | None:
    """Return the user ids that the key service may have besides root; None if unknown.

    `[signer] user` sets it. Without it: the owners of the key directories, else the owner of the socket's directory if
    no other user may write there. A service that the daemon starts has the user of the daemon's state directory.
    Raise KeyError for a user that this host does not have.
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
    }  # root owns files that the service did not create
    owners = frozenset(uid for uid in found if uid is not None)
    return owners or _owner_of_place(config.signer.socket.parent)


def _uid(user: str) -> int:
    return int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid


def _owner(path: Path) -> int | None:
    """Return the owner of a path, or of the closest parent directory that is accessible; None if the path is absent."""
    for place in (path, *path.parents):
        try:
            return place.stat().st_uid
        except PermissionError:
            continue
        except OSError:
            return None
    return None


def _owner_of_place(directory: Path) -> frozenset[int] | None:
    """Return the owner of a directory if no other user may write to it."""
    try:
        info = directory.stat()
    except OSError:
        return None
    exclusive = not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return frozenset({info.st_uid}) if exclusive else None
