"""The limits of keys in a configuration file, read again when the file has changed."""

from __future__ import annotations

import os
from pathlib import Path

from dnssecd.config.errors import ConfigErrors
from dnssecd.config.load import load
from dnssecd.config.signer_settings import limit_settings
from dnssecd.keyservice_settings import LimitSettings


class LimitsFile:
    """Notices changes of the file at *path* from its construction on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._look()

    def read_if_changed(self) -> LimitSettings | None:
        """Return the limits if the file was changed since it was read last, else None.

        Raise ValueError for a file with an error. It is read again when it is changed.
        """
        found = self._look()
        if found == self._seen:
            return None
        self._seen = found
        try:
            return limit_settings(load(self._path, read_secrets=False))
        except ConfigErrors as error:
            raise ValueError(f"{error.errors[0]} (dnssecd check-config lists all errors)") from None

    def _look(self) -> tuple[int, ...]:
        try:
            status = os.stat(self._path)
        except OSError:
            return ()
        return status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns
