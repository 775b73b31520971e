"""The state documents stored with a version: their names, and how to write and read them."""

from typing import Any, TypeVar

import msgspec

from dnssecd.core.keys.keyset import Keyset
from dnssecd.migration.foreign import ForeignKey
from dnssecd.pipeline.version.kept import Kept

KEYSET = "keyset"
VERSION = "version"
RESTORED = "restored"
#: Keys of another signer, imported before the zone's adoption: {"keys": list of ForeignKey}.
ADOPTION = "adoption"

#: DNSKEY RRs at the apex of the input, with ``foreign_keys = "input"``: {"dnskeys": list of RDATA in hex}.
FOREIGN = "foreign"

#: ``VersionState.policy`` of a version that came signed and is served as it is.
PASSED = "verify-only"

T = TypeVar("T")


class VersionState(msgspec.Struct, frozen=True, kw_only=True):
    """Data of a published version. ``policy`` is the mark of all settings whose change causes new signatures.

    ``largest_ttl``, in seconds, is of the content at the last whole load; ``digest`` identifies the input file;
    ``records`` are all RRs of the version. ``zonemd_checked``: of a passed version, its ZONEMD was verified.
    ``checked_keys``: of a passed version, the mark of the keys by which its signatures were verified.
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
    zonemd_checked: bool = False
    checked_keys: str = ""


def keys_used(version: dict[str, Any] | None, keyset: Keyset | None) -> Keyset | None:
    """Return the key set that a stored version (its document) was signed with; None if another signer signed it."""
    return None if version is not None and version.get("policy") == PASSED else keyset


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """A zone restored from a backup; it is not served until it has a version with a serial after all public ones.

    ``floor``: the latest known serial when it was restored; ``standby``: this host takes over from a primary
    that was declared fenced; ``other_keys``: an operator accepts that validators have other keys cached. Time
    in epoch seconds.
    """

    at: int
    who: str
    source: str
    floor: int | None = None
    standby: bool = False
    other_keys: bool = False


def restored_from(document: dict[str, Any] | None) -> Restored | None:
    """Return how a zone was restored; None if it was not, or has a newer version since."""
    return from_document(document, Restored) if document else None


def to_document(value: object) -> dict[str, Any]:
    """Return a structure as a document, as it is read from the store: equal documents are equal structures."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return document


def from_document(document: dict[str, Any] | None, kind: type[T]) -> T | None:
    """Return the structure in a document; None stays None."""
    return None if document is None else msgspec.convert(document, kind)


def foreign_keys(document: dict[str, Any] | None) -> tuple[ForeignKey, ...]:
    """Return another signer's keys for the adoption of a zone; none if it does not wait for adoption."""
    return msgspec.convert((document or {}).get("keys", []), tuple[ForeignKey, ...])


def input_keys(document: dict[str, Any] | None) -> tuple[bytes, ...] | None:
    """Return the DNSKEY RDATA of the input; None if they were not asked for."""
    return None if document is None else tuple(bytes.fromhex(text) for text in document.get("dnskeys", ()))


def _made_keyset(document: dict[str, Any]) -> Keyset:
    return msgspec.convert(document, Keyset)


_keysets = Kept(_made_keyset)


def keyset_from(document: dict[str, Any] | None) -> Keyset | None:
    """Return the stored key set: of one document, which must not be changed, the same object each time."""
    return None if document is None else _keysets(document)
