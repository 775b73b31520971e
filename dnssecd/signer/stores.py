"""The key stores by name, and what spans them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.signer import algorithms
from dnssecd.signer.errors import BadRequest, UnknownKey
from dnssecd.signer.key_file import Description
from dnssecd.signer.keystore import Keystore

SHARERS_SHOWN = 16


class Stores:
    """All key stores of the service."""

    def __init__(self, stores: Iterable[Keystore]) -> None:
        self._stores = {store.name: store for store in stores}

    def __iter__(self) -> Iterator[Keystore]:
        return iter(self._stores.values())

    def named(self, name: str) -> Keystore:
        """The store of that name, or the only one when it is empty; BadRequest when there is none."""
        if not name and len(self._stores) == 1:
            return next(iter(self._stores.values()))
        if name not in self._stores:
            have = ", ".join(self._stores) or "none"
            raise BadRequest(f"no key store {name!r} is configured; there are: {have}")
        return self._stores[name]

    def find(self, key_id: str) -> tuple[Keystore, Description]:
        """The key of that id and its store; UnknownKey when there is none."""
        for store in self:
            key = store.registry.get(key_id)
            if key is not None:
                return store, key
        raise UnknownKey(f"no key {key_id[:64]!r} is known")

    def keys(self, zone: bytes) -> list[tuple[Keystore, Description]]:
        """All keys of a zone, or all there are when it is empty, by id."""
        found = [
            (store, key)
            for store in self
            for key in (store.registry.of_zone(zone) if zone else store.registry.all())
        ]
        return sorted(found, key=lambda pair: pair[1].id)

    def tags(self, zone: bytes) -> frozenset[int]:
        """All key tags, also with the REVOKE bit, of the zone's keys in every store."""
        tags = (algorithms.tags(key.dnskey) for _, key in self.keys(zone))
        return frozenset(itertools.chain.from_iterable(tags))

    def holding(self, public_key: bytes) -> str:
        """Name of the store that has a key with this public key field, or ""."""
        for store, key in self.keys(b""):
            if key.dnskey[4:] == public_key:
                return store.name
        return ""


def key_info(store: Keystore, key: Description, zone: bytes = b"") -> KeyInfo:
    """What may be known of a key outside the service; who asks for one `zone` hears of few others that share it."""
    zones = key.zones
    if zone and len(zones) > SHARERS_SHOWN:
        zones = (zone, *[other for other in zones[:SHARERS_SHOWN] if other != zone])
    tag, revoked_tag = algorithms.tags(key.dnskey)
    state, detail = store.state(key)
    return KeyInfo(
        id=key.id,
        store=store.name,
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
