"""The state documents stored with a version: what they are called, how they are written and read."""

from typing import Any, TypeVar

import msgspec

from dnssecd.core.keys.keyset import Keyset
from dnssecd.migration.foreign import ForeignKey

KEYSET = "keyset"
VERSION = "version"
RESTORED = "restored"
#: Keys of another signer that the zone waits to come over with: {"keys": list of ForeignKey}.
ADOPTION = "adoption"

T = TypeVar("T")


class VersionState(msgspec.Struct, frozen=True, kw_only=True):
    """What a published version is. ``policy`` is the mark of all that, when it changes, has RRsets signed anew.

    ``largest_ttl``, in seconds, is of the content at the last whole load; ``digest`` identifies the input file;
    ``records`` are all RRs of the version.
    """

    serial: int
    input_serial: int
    published_at: int
    policy: str
    largest_ttl: int
    owners: int
    records: int = 0
    digest: str = ""
    signatures: int = 0


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """A zone that came out of a back-up and is not served until a version above all that is public was made.

    ``floor``: the latest serial known of when it was restored; ``standby``: this host takes over from a primary that
    was declared fenced; ``other_keys``: a person accepts that validators have other keys cached. Time in epoch seconds.
    """

    at: int
    who: str
    source: str
    floor: int | None = None
    standby: bool = False
    other_keys: bool = False


def restored_from(document: dict[str, Any] | None) -> Restored | None:
    """Return how a zone was restored, None for one that was not, or has had its next version since."""
    return from_document(document, Restored) if document else None


def to_document(value: object) -> dict[str, Any]:
    """Return a structure as a JSON-able document."""
    document: dict[str, Any] = msgspec.to_builtins(value)
    return document


def from_document(document: dict[str, Any] | None, kind: type[T]) -> T | None:
    """Return the structure a document holds; None stays None."""
    return None if document is None else msgspec.convert(document, kind)


def foreign_keys(document: dict[str, Any] | None) -> tuple[ForeignKey, ...]:
    """Return the keys of another signer that a zone is to come over with; none when it is not waiting for that."""
    return msgspec.convert((document or {}).get("keys", []), tuple[ForeignKey, ...])


def keyset_from(document: dict[str, Any] | None) -> Keyset | None:
    """Return the stored key set."""
    return from_document(document, Keyset)
