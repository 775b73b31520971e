"""Read a file that a person names: no more of it than a file of its kind can have."""

from pathlib import Path


class TooLarge(Exception):
    """The file has more octets than are read."""


def read_at_most(path: Path, octets_max: int) -> bytes:
    """Return the content of a file. Raise OSError, or TooLarge if it has more than ``octets_max`` octets."""
    with path.open("rb") as file:
        content = file.read(octets_max + 1)
    if len(content) > octets_max:
        raise TooLarge
    return content
