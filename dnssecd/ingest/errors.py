"""Errors in a zone file: each states the file, the line, the cause and what to do."""

from collections.abc import Sequence


def one_line(text: str) -> str:
    """Return a message without control characters: a file name in $INCLUDE must not start a new line in it."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


class RecordError(ValueError):
    """One record or directive is wrong; the reader adds the place. ``remedy`` says what to write instead."""

    def __init__(self, cause: str, remedy: str = "", *, fatal: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        #: Whether nothing after it can be read.
        self.fatal = fatal


class ZoneFileError(Exception):
    """One fault in a zone file; ``line`` is where the record begins, 0 for the file as a whole."""

    def __init__(self, file: str, line: int, cause: str, remedy: str = "") -> None:
        super().__init__(file, line, cause, remedy)
        self.file = file
        self.line = line
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return one_line(f"{place}: {self.cause}" + (f"; {self.remedy}" if self.remedy else ""))


class ZoneFileErrors(Exception):
    """All faults found in a zone file (as many as the limit allows); the file is not used."""

    def __init__(self, errors: Sequence[ZoneFileError], *, more: bool = False) -> None:
        super().__init__(errors)
        self.errors = list(errors)
        #: Whether reading stopped at the limit of errors.
        self.more = more

    def __str__(self) -> str:
        lines = [str(error) for error in self.errors]
        return "\n".join(
            [*lines, "too many errors; the rest of the file was not read"] if self.more else lines
        )


class FileChanged(ZoneFileErrors):
    """The file was written while it was read, or ends in the middle of a line: read it again shortly."""
