"""The key stores by name, and what spans them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from dnssecd.keyservice_protocol import KeyInfo, KeyState
from dnssecd.signer import algorithms
from dnssecd.signer.errors import BadRequest, UnknownKey
from dnssecd.signer.key_file import Description
from dnssecd.signer.keystore import Keystore
from dnssecd.signer.trash import Trashed

SHARERS_SHOWN = 16


class Stores:
    """All key stores of the service."""

    def __init__(self, stores: Iterable[Keystore]) -> None:
        self._stores = {store.name: store for store in stores}

    def __iter__(self) -> Iterator[Keystore]:
        return iter(self._stores.values())

    def named(self, name: str) -> Keystore:
        """Return the store of that name, or the only one when it is empty; BadRequest when there is none."""
        if not name and len(self._stores) == 1:
            return next(iter(self._stores.values()))
        if name not in self._stores:
            have = ", ".join(self._stores) or "none"
            raise BadRequest(f"no key store {name!r} is configured; there are: {have}")
        return self._stores[name]

    def find(self, key_id: str) -> tuple[Keystore, Description]:
        """Return the key of that id and its store; UnknownKey when there is none."""
        for store in self:
            key = store.registry.get(key_id)
            if key is not None:
                return store, key
        raise UnknownKey(f"no key {key_id[:64]!r} is known")

    def knows(self, key_id: str) -> bool:
        """Return whether there is a key of that id, in use or in the trash."""
        registries = [store.registry for store in self]
        return any(one.get(key_id) or one.trash.get(key_id) for one in registries)

    def keys(self, zone: bytes) -> list[tuple[Keystore, Description]]:
        """Return all keys of a zone, or all there are when it is empty, by id."""
        found = [
            (store, key)
            for store in self
            for key in (store.registry.of_zone(zone) if zone else store.registry.all())
        ]
        return sorted(found, key=lambda pair: pair[1].id)

    def tags(self, zone: bytes) -> frozenset[int]:
        """Return all key tags, also with the REVOKE bit, of the zone's keys in all stores and in the trash."""
        removed = (record.key for store in self for record in store.registry.trash.of_zone(zone))
        keys = itertools.chain((key for _, key in self.keys(zone)), removed)
        return frozenset(itertools.chain.from_iterable(algorithms.tags(key.dnskey) for key in keys))

    def trashed(self) -> list[tuple[Keystore, Trashed]]:
        """Return all removed keys, by id."""
        found = [(store, record) for store in self for record in store.registry.trash.all()]
        return sorted(found, key=lambda pair: pair[1].key.id)

    def find_trashed(self, key_id: str) -> tuple[Keystore, Trashed]:
        """Return the removed key of that id and its store; UnknownKey when there is none."""
        for store in self:
            record = store.registry.trash.get(key_id)
            if record is not None:
                return store, record
        raise UnknownKey(f"no key {key_id[:64]!r} is in the trash; `dnssecd key trash list` shows all")

    def listing(self, public_key: bytes) -> tuple[Keystore, Description] | None:
        """Return the key with this public key field that is in use, and its store."""
        keys = ((store, key) for store in self for key in store.registry.all())
        return next((pair for pair in keys if pair[1].dnskey[4:] == public_key), None)

    def holding(self, public_key: bytes) -> str:
        """Return where a key with this public key field is: "key store NAME", "the trash of key store NAME", or ""."""
        if listed := self.listing(public_key):
            return f"key store {listed[0].name}"
        for store, record in self.trashed():
            if record.key.dnskey[4:] == public_key:
                return f"the trash of key store {store.name} (dnssecd key trash restore {record.key.id})"
        return ""


def key_info(store: Keystore, key: Description, zone: bytes = b"") -> KeyInfo:
    """Return what may be known of a key outside the service; for one `zone`, with few others that share it."""
    zones = key.zones
    if zone and len(zones) > SHARERS_SHOWN:
        zones = (zone, *[other for other in zones[:SHARERS_SHOWN] if other != zone])
    state: KeyState
    removed = store.registry.trash.get(key.id) is not None
    state, detail = ("unavailable", "in the trash") if removed else store.state(key)
    return described(key, store.name, zones, state, detail)


def described(
    key: Description, store: str, zones: tuple[bytes, ...], state: KeyState, detail: str
) -> KeyInfo:
    """Return what a key's description says, with what its store knows of it."""
    tag, revoked_tag = algorithms.tags(key.dnskey)
    return KeyInfo(
        id=key.id,
        store=store,
        zones=zones,
        role=key.role,
        algorithm=key.algorithm,
        bits=key.bits,
        flags=key.flags,
        dnskey=key.dnskey,
        tag=tag,
        revoked_tag=revoked_tag,
        created=key.created,
        state=state,
        detail=detail,
    )
