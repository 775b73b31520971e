"""Changes of keys: made, taken in, bound, given out, destroyed; one at a time.

Each change is in the audit log before it is made, so that no key comes, goes or is given out without an entry, also
on a full disk. A change that fails after its entry is followed by an entry `undone`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from dnssecd import keyservice_protocol as wp
from dnssecd.signer import algorithms, door, private_formats, sharing
from dnssecd.signer import key_file as sealed
from dnssecd.signer.audit import AuditLog
from dnssecd.signer.errors import BadRequest, Collision, Exists, Refused, UnknownKey
from dnssecd.signer.key_file import Description
from dnssecd.signer.keystore import Account, Keystore
from dnssecd.signer.preimage import zone_text
from dnssecd.signer.stores import Stores, key_info


class Custody:
    """See the module. `changed(key id)` is called when the zones of a key have changed or it is gone."""

    def __init__(self, stores: Stores, audit_log: AuditLog, changed: Callable[[str], None]) -> None:
        self.lock = asyncio.Lock()
        self._stores = stores
        self._audit = audit_log
        self._changed = changed

    async def generate(self, request: wp.GenerateRequest) -> wp.Reply:
        """Make a key, or return the one made for the same `idempotency` text before."""
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
            with self._accounted("generated", store) as account:
                key = await store.generate(
                    request.zone,
                    request.role,
                    request.algorithm,
                    bits,
                    mark,
                    self._stores.tags(request.zone),
                    account,
                )
        return wp.KeysReply(request.id, (key_info(store, key, request.zone),))

    async def take_in(self, request: wp.ImportRequest) -> wp.Reply:
        """Take a private key made elsewhere. It is read in a thread: large RSA numbers take long to check."""
        store = self._stores.named(request.store)
        async with self.lock:
            private = await asyncio.to_thread(private_formats.load, request.private, request.algorithm)
            self._must_be_new(algorithms.dnskey_rdata(0, request.algorithm, private.public_key())[4:])
            with self._accounted("imported", store) as account:
                key = await store.take_in(
                    request.zone,
                    request.role,
                    request.algorithm,
                    private,
                    request.created,
                    self._stores.tags(request.zone),
                    account,
                )
        return wp.KeysReply(request.id, (key_info(store, key),))

    async def adopt(self, request: wp.AdoptRequest) -> wp.Reply:
        """Bind a key that is in a token already, and that no key store knows: two may use the same token."""
        store = self._stores.named(request.store)
        algorithms.algorithm_of(request.algorithm)
        async with self.lock:
            with self._accounted("adopted", store) as account:

                def account_for_new(key: Description) -> None:
                    self._must_be_new(key.dnskey[4:])
                    account(key)

                key = await store.adopt(
                    request.zone,
                    request.role,
                    request.algorithm,
                    request.cka_id,
                    request.label,
                    self._stores.tags(request.zone),
                    request.public_key,
                    account_for_new,
                )
        return wp.KeysReply(request.id, (key_info(store, key),))

    async def export(self, request: wp.ExportRequest) -> wp.Reply:
        """Give out a private key under another passphrase."""
        store, key = self._stores.find(request.key_id)
        with self._accounted("exported", store) as account:
            account(key)
            content = await store.export(key, request.passphrase)
        return wp.ExportReply(request.id, content)

    async def restore(self, request: wp.RestoreRequest) -> wp.Reply:
        """Take an exported key back."""
        store = self._stores.named(request.store)
        try:
            content = sealed.read(request.sealed)
        except sealed.CannotOpen as error:
            raise BadRequest(f"not an exported key: {error}") from None
        key = content.key
        door.check_description(key)
        async with self.lock:
            self._must_be_new(key.dnskey[4:])
            if any(one.registry.get(key.id) is not None for one in self._stores):
                raise Exists(f"another key has the id {key.id}; no key takes the place of another")
            for zone in key.zones:
                if not self._stores.tags(zone).isdisjoint(algorithms.tags(key.dnskey)):
                    raise Collision(f"another key of {zone_text(zone)} has the same key tag")
            with self._accounted("restored", store) as account:
                await store.restore(content, request.passphrase, account)
        return wp.KeysReply(request.id, (key_info(store, key),))

    async def bind(self, request: wp.BindRequest, *, keeper: bool) -> wp.Reply:
        """Let a key sign for one more zone. Only a keeper may so share a key that was not made to be shared."""
        zone = zone_text(request.zone)
        async with self.lock:
            store, key = self._stores.find(request.key_id)
            if request.zone not in key.zones:
                if not keeper and not sharing.is_shared(key):
                    raise Refused(
                        f"key {key.id} was not made to be shared (share_keys): only root and the key service's own"
                        f" user may bind it to {zone}"
                    )
                if not self._stores.tags(request.zone).isdisjoint(algorithms.tags(key.dnskey)):
                    raise Collision(f"another key of {zone} has the same key tag")
                key = await self._bind(store, key, request.zone)
        return wp.KeysReply(request.id, (key_info(store, key),))

    async def _bind(self, store: Keystore, key: Description, zone: bytes) -> Description:
        if zone in key.zones:
            return key
        key = await self._rebound(store, key, (*key.zones, zone), "bound", zone)
        self._changed(key.id)
        return key

    async def _rebound(
        self, store: Keystore, key: Description, zones: tuple[bytes, ...], event: str, zone: bytes
    ) -> Description:
        self._audit.append(event, key=key.id, zone=zone_text(zone))
        with self._undone_on_failure(lambda: key.id):
            return await store.rebind(key, zones)

    async def remove(self, request: wp.RemoveRequest) -> wp.Reply:
        """Unbind a key; with its last zone it is destroyed."""
        zone = zone_text(request.zone)
        async with self.lock:
            store, key = self._stores.find(request.key_id)
            if request.zone not in key.zones:
                raise UnknownKey(f"key {key.id} is not bound to {zone}")
            rest = tuple(bound for bound in key.zones if bound != request.zone)
            if rest:
                await self._rebound(store, key, rest, "unbound", request.zone)
            else:
                with self._accounted("destroyed", store) as account:
                    account(key)
                    await store.destroy(key)
            self._changed(key.id)
        return wp.DoneReply(request.id, f"unbound from {zone}" if rest else "destroyed")

    def _must_be_new(self, public_key: bytes) -> None:
        if holder := self._stores.holding(public_key):
            raise Exists(f"that key is in key store {holder} already")

    @contextmanager
    def _accounted(self, event: str, store: Keystore) -> Iterator[Account]:
        """Give out the function that writes the entry of a change; a failure after that is written too."""
        written: list[str] = []

        def account(key: Description) -> None:
            self._note(event, store, key)
            written.append(key.id)

        with self._undone_on_failure(lambda: written[-1] if written else ""):
            yield account

    @contextmanager
    def _undone_on_failure(self, key_id: Callable[[], str]) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if changed := key_id():
                with suppress(
                    OSError
                ):  # on a full disk the entry before stays alone: too much is told, not too little
                    self._audit.append("undone", key=changed, why=type(error).__name__)
            raise

    def _note(self, event: str, store: Keystore, key: Description) -> None:
        """Write the entry; a key that is still to be made in a token has no tag."""
        tag = {"tag": algorithms.key_tag(key.dnskey)} if key.dnskey else {}
        self._audit.append(
            event if key.dnskey else f"to be {event}",
            key=key.id,
            zone=zone_text(key.zones[0]),
            role=key.role,
            algorithm=key.algorithm,
            store=store.name,
            **tag,
        )
