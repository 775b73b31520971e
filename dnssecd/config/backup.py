"""``[backup]``: where the backups are that the daemon watches."""

from __future__ import annotations

import re

from dnssecd.config.model import DAY, BackupConfig
from dnssecd.config.reader import Section

_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DEFAULT = BackupConfig()


def read_backup(section: Section) -> BackupConfig:
    """Return ``[backup]``. A directory that is missing is a warning: the daemon serves without it."""
    directory = section.optional_path("directory")
    if directory is not None and not directory.is_dir():
        section.warn(
            "directory",
            f"{directory} is not a directory that this user can see",
            f"create it, readable for the daemon: install -d -o root -g dnssecd -m 0750 {directory}",
        )
    if directory is None and (section.has("max_age") or section.has("check_at")):
        section.error("", "directory is missing", 'write directory = "/var/backups/dnssecd"')
    backup = BackupConfig(
        directory=directory,
        max_age=section.duration("max_age", _DEFAULT.max_age, low=60, high=3650 * DAY),
        check_at=_time_of_day(section, "check_at", _DEFAULT.check_at),
    )
    section.finish()
    return backup


def _time_of_day(section: Section, key: str, default: int) -> int:
    """Return the seconds after midnight of a time such as "03:30"."""
    text = section.text(key)
    if not text:
        return default
    match = _TIME_OF_DAY.fullmatch(text)
    if match is None:
        section.error(key, f'"{text}" is not a time of day', f'write {key} = "03:30" (UTC)')
        return default
    return int(match[1]) * 3600 + int(match[2]) * 60
