"""The configuration: ``config.diff``, ``config.reload``."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, field

from dnssecd.control.messages.base import Answer, Request, Zone


class ConfigChanges(Answer, frozen=True, kw_only=True):
    """How the file differs from the configuration in force."""

    changes: list[str]


class DiffConfig(Request[ConfigChanges], frozen=True, kw_only=True):
    """Compare the configuration file with the configuration in force."""

    command: ClassVar[str] = "config.diff"


class ConfigReloaded(Answer, frozen=True, kw_only=True):
    """What was applied."""

    changed: bool
    added: Annotated[list[Zone], Meta(description="zones that were added")]
    removed: Annotated[list[Zone], Meta(description="zones that were removed")]
    zones_changed: Annotated[list[Zone], Meta(description="zones with other settings")]
    changes: list[str]
    warnings: list[str]


class ReloadConfig(Request[ConfigReloaded], frozen=True, kw_only=True):
    """Apply the configuration file as a whole, or not at all. A refusal has all errors in ``detail``."""

    command: ClassVar[str] = "config.reload"
    changes: ClassVar[bool] = True

    remove: Annotated[list[Zone], Meta(description="zones that may be removed")] = field(default_factory=list)
    ds_is_gone: Annotated[bool, Meta(description="do not look for their DS at the parent")] = False
