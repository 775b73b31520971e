"""Files with zone content: mode 0600 from the start, and either complete or absent."""

from __future__ import annotations

import os
from types import TracebackType

from dnssecd.cli.common import Bad


class PrivateFile:
    """A new file next to *path* that replaces it on success. Raises Bad when it cannot be written."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._temporary = f"{path}.{os.getpid()}.tmp"

    def __enter__(self) -> PrivateFile:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = open(os.open(self._temporary, flags, 0o600), "w", encoding="utf-8")
        except OSError as error:
            raise self._bad(error) from None
        return self

    def write(self, text: str) -> None:
        """Append *text*. Raise Bad when it cannot be written."""
        try:
            self._file.write(text)
        except OSError as error:
            raise self._bad(error) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._file:
                if kind is None:
                    self._file.flush()
                    os.fsync(self._file.fileno())
            if kind is None:
                os.replace(self._temporary, self._path)
                return
        except OSError as fault:
            os.unlink(self._temporary)
            raise self._bad(fault) from None
        os.unlink(self._temporary)

    def _bad(self, error: OSError) -> Bad:
        return Bad(f"{self._path} cannot be written ({error.strerror})", "choose another file with -o")
