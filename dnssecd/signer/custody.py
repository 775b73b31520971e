"""Changes of keys: made, taken in, bound, given out, destroyed; one at a time, each in the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dnssecd import wire_protocol as wp
from dnssecd.signer import algorithms, private_formats, sealed, sharing
from dnssecd.signer.audit import AuditLog
from dnssecd.signer.errors import BadRequest, Collision, Exists, UnknownKey
from dnssecd.signer.keystore import Keystore
from dnssecd.signer.preimage import zone_text
from dnssecd.signer.sealed import Description
from dnssecd.signer.stores import Stores, key_info

PASSPHRASE_OCTETS_MIN = 8


class Custody:
    """See the module. `changed(key id)` is called when the zones of a key have changed or it is gone."""

    def __init__(self, stores: Stores, audit_log: AuditLog, changed: Callable[[str], None]) -> None:
        self.lock = asyncio.Lock()
        self._stores = stores
        self._audit = audit_log
        self._changed = changed

    async def generate(self, request: wp.GenerateRequest) -> wp.Reply:
        """Make a key, or return the one made for the same `idempotency` text before."""
        zone_text(request.zone)
        store = self._stores.named(request.store)
        bits = algorithms.check_bits(algorithms.algorithm_of(request.algorithm), request.bits)
        mark = sharing.mark(request.share, request.idempotency) if request.share else request.idempotency
        async with self.lock:
            for key in store.registry.of_zone(request.zone):
                if mark and key.idempotency == mark and key.id not in request.known:
                    return wp.KeysReply(request.id, (key_info(store, key, request.zone),))
            if request.share and (shared := sharing.find(self._stores, store, request, bits)):
                key = await self._bind(store, shared, request.zone)
                return wp.KeysReply(request.id, (key_info(store, key, request.zone),))
            key = await store.generate(
                request.zone,
                request.role,
                request.algorithm,
                bits,
                mark,
                self._stores.tags(request.zone),
            )
            self._note("generated", store, key)
        return wp.KeysReply(request.id, (key_info(store, key, request.zone),))

    async def take_in(self, request: wp.ImportRequest) -> wp.Reply:
        """Take a private key made elsewhere."""
        zone_text(request.zone)
        store = self._stores.named(request.store)
        private = private_formats.load(request.private, request.algorithm)
        async with self.lock:
            self._must_be_new(algorithms.dnskey_rdata(0, request.algorithm, private.public_key())[4:])
            key = await store.take_in(
                request.zone,
                request.role,
                request.algorithm,
                private,
                request.created,
                self._stores.tags(request.zone),
            )
            self._note("imported", store, key)
        return wp.KeysReply(request.id, (key_info(store, key),))

    async def adopt(self, request: wp.AdoptRequest) -> wp.Reply:
        """Bind a key that is in a token already."""
        zone_text(request.zone)
        store = self._stores.named(request.store)
        algorithms.algorithm_of(request.algorithm)
        async with self.lock:
            key = await store.adopt(
                request.zone,
                request.role,
                request.algorithm,
                request.cka_id,
                request.label,
                self._stores.tags(request.zone),
                request.public_key,
            )
            self._note("adopted", store, key)
        return wp.KeysReply(request.id, (key_info(store, key),))

    async def export(self, request: wp.ExportRequest) -> wp.Reply:
        """Give out a private key under another passphrase."""
        if len(request.passphrase) < PASSPHRASE_OCTETS_MIN:
            raise BadRequest(f"a passphrase has at least {PASSPHRASE_OCTETS_MIN} octets")
        store, key = self._stores.find(request.key_id)
        content = await store.export(key, request.passphrase)
        self._note("exported", store, key)
        return wp.ExportReply(request.id, content)

    async def restore(self, request: wp.RestoreRequest) -> wp.Reply:
        """Take an exported key back."""
        store = self._stores.named(request.store)
        try:
            content = sealed.read(request.sealed)
        except sealed.CannotOpen as error:
            raise BadRequest(f"not an exported key: {error}") from None
        key = content.key
        async with self.lock:
            self._must_be_new(key.dnskey[4:])
            for zone in key.zones:
                if not self._stores.tags(zone).isdisjoint(algorithms.tags(key.dnskey)):
                    raise Collision(f"another key of {zone_text(zone)} has the same key tag")
            await store.restore(content, request.passphrase)
            self._note("restored", store, key)
        return wp.KeysReply(request.id, (key_info(store, key),))

    async def bind(self, request: wp.BindRequest) -> wp.Reply:
        """Let a key sign for one more zone."""
        zone = zone_text(request.zone)
        async with self.lock:
            store, key = self._stores.find(request.key_id)
            if request.zone not in key.zones:
                if not self._stores.tags(request.zone).isdisjoint(algorithms.tags(key.dnskey)):
                    raise Collision(f"another key of {zone} has the same key tag")
                key = await self._bind(store, key, request.zone)
        return wp.KeysReply(request.id, (key_info(store, key),))

    async def _bind(self, store: Keystore, key: Description, zone: bytes) -> Description:
        if zone in key.zones:
            return key
        key = await store.rebind(key, (*key.zones, zone))
        self._changed(key.id)
        self._audit.append("bound", key=key.id, zone=zone_text(zone))
        return key

    async def remove(self, request: wp.RemoveRequest) -> wp.Reply:
        """Unbind a key; with its last zone it is destroyed."""
        zone = zone_text(request.zone)
        async with self.lock:
            store, key = self._stores.find(request.key_id)
            if request.zone not in key.zones:
                raise UnknownKey(f"key {key.id} is not bound to {zone}")
            rest = tuple(bound for bound in key.zones if bound != request.zone)
            if rest:
                await store.rebind(key, rest)
                self._audit.append("unbound", key=key.id, zone=zone)
            else:
                await store.destroy(key)
                self._note("destroyed", store, key)
            self._changed(key.id)
        return wp.DoneReply(request.id, f"unbound from {zone}" if rest else "destroyed")

    def _must_be_new(self, public_key: bytes) -> None:
        if holder := self._stores.holding(public_key):
            raise Exists(f"that key is in key store {holder} already")

    def _note(self, event: str, store: Keystore, key: Description) -> None:
        self._audit.append(
            event,
            key=key.id,
            zone=zone_text(key.zones[0]),
            role=key.role,
            algorithm=key.algorithm,
            tag=algorithms.key_tag(key.dnskey),
            store=store.name,
        )
