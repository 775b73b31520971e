"""Read schema, version and key set of a zone's database; every fault is one type of error."""

from pathlib import Path

import msgspec

from dnssecd.core.keys.keyset import Keyset
from dnssecd.pipeline.version import state
from dnssecd.store.backup_copy import read_documents
from dnssecd.store.errors import StoreError


class Unreadable(Exception):
    """The file is not a zone database, or its content cannot be decoded; the message has the reason."""


def read_copy(path: Path) -> tuple[int, state.VersionState | None, Keyset | None]:
    """Return schema, version and key set of a copy that no other process uses; None: absent. Raise Unreadable.

    A version that another signer signed has no key set.
    """
    return _read(path, private=True)


def stored(path: Path) -> tuple[int | None, Keyset | None]:
    """Return serial and key set of a zone's database. Raise Unreadable."""
    _, version, keyset = _read(path, private=False)
    return (None if version is None else version.serial), keyset


def _read(path: Path, *, private: bool) -> tuple[int, state.VersionState | None, Keyset | None]:
    try:
        schema, found = read_documents(path, (state.VERSION, state.KEYSET), private=private)
        version = state.from_document(found[state.VERSION], state.VersionState)
        return schema, version, state.keys_used(found[state.VERSION], state.keyset_from(found[state.KEYSET]))
    except (StoreError, ValueError, TypeError, msgspec.MsgspecError) as error:
        raise Unreadable(str(error)) from error
