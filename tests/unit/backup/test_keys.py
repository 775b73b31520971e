"""Keys of restored zones: found by what they are, and never taken for others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from dnssecd.backup.keys import KeyFinder
from dnssecd.backup.manifest import StoredKey
from dnssecd.config.model import SoftwareKeystore
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys.keyset import Key
from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.replacing import replace
from tests.unit.core_parent.keysets import key, keyset

Z = "example.com."
WANTED, OTHER = key(1), key(2)


def info(of: Key, key_id: str) -> KeyInfo:
    zones = (text_to_wire(Z),)
    return KeyInfo(
        key_id, "local", zones, of.role.value, of.algorithm, 0, of.flags, of.rdata, of.tag, of.tag, 0
    )


class Client:
    """A key service that takes in what it is told to."""

    def __init__(self, brings: Key, listed: tuple[KeyInfo, ...] = ()) -> None:
        self.brings, self.listed = brings, listed

    def keys(self, zone: bytes) -> list[KeyInfo]:
        return list(self.listed)

    def restore_key(self, sealed: bytes, passphrase: bytes, store: str) -> KeyInfo:
        return info(self.brings, "new")


def finder(brings: Key, *listed: KeyInfo, secret: bytes | None = b"passphrase") -> KeyFinder:
    stored = StoredKey(WANTED.key_id, (Z,), "ksk", 13, WANTED.tag, "local", "keys/1.key")
    archive = SimpleNamespace(
        manifest=SimpleNamespace(keys=(stored,)), octets=lambda member, octets_max: b"sealed"
    )
    config = SimpleNamespace(keystores={"local": SoftwareKeystore.__new__(SoftwareKeystore)})
    return KeyFinder(cast(Any, Client(brings, listed)), cast(Any, archive), cast(Any, config), secret)


def test_the_imported_key_is_the_key_wanted() -> None:
    looking = finder(WANTED)
    found = looking.find(Z, keyset(WANTED), bring=True)
    assert (found.missing, found.keyset.keys[0].key_id, looking.brought) == ((), "new", 1)


def test_a_key_that_is_listed_without_its_file_is_put_back() -> None:
    lost = replace(info(WANTED, "listed"), state="missing")
    looking = finder(WANTED, lost)
    found = looking.find(Z, keyset(WANTED), bring=True)
    assert (found.missing, found.keyset.keys[0].key_id, looking.brought) == ((), "new", 1)
    for other in (finder(WANTED, lost, secret=None), finder(WANTED, info(WANTED, "listed"))):
        found = other.find(Z, keyset(WANTED), bring=True)
        assert (found.missing, found.keyset.keys[0].key_id, other.brought) == ((), "listed", 0)
    looking = finder(WANTED, lost)
    looking.find(Z, keyset(WANTED), bring=False)
    assert looking.brought == 0


def test_another_key_under_its_name_is_not_taken_for_it() -> None:
    looking = finder(OTHER)
    found = looking.find(Z, keyset(WANTED), bring=True)
    assert len(found.missing) == 1
    assert f"key {WANTED.tag} (ksk): another key was imported for it: {OTHER.tag}" in found.missing[0]
    assert looking.brought == 1, "it is in the key store all the same"
