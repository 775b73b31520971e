"""The Unix groups of ``[roles]`` as numbers. A group is a name or a number; an unknown one is an error of the host."""

from __future__ import annotations

import grp

from dnssecd.config.errors import ConfigError, ConfigErrors
from dnssecd.config.model import Config


def group_id(name: str | None) -> int | None:
    """Return the number of a group, None for None. Raise KeyError for a group that this host does not have."""
    if name is None or name.isdigit():
        return None if name is None else int(name)
    return grp.getgrnam(name).gr_gid


def check_groups(config: Config) -> None:
    """Raise ConfigErrors for groups that this host does not have: the daemon would not start."""
    errors = []
    for key in ("viewer", "operator", "key_officer"):
        name = getattr(config.roles, key)
        try:
            group_id(name)
        except KeyError:
            what = f"this host has no group {name}"
            remedy = f"make it (groupadd {name}), or name another group"
            errors.append(ConfigError(str(config.path), 0, f"roles.{key}", what, remedy))
    if errors:
        raise ConfigErrors(errors)
