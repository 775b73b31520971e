"""Changes of keys: made, taken in, bound, given out, removed; one at a time, each with its entry in the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext

from dnssecd import keyservice_protocol as wp
from dnssecd.signer import algorithms, door, private_formats, sharing
from dnssecd.signer import key_file as sealed
from dnssecd.signer.account import ChangeLog
from dnssecd.signer.consent_rules import ConsentRules
from dnssecd.signer.errors import BadRequest, Collision, Exists, Refused, UnknownKey
from dnssecd.signer.key_file import Description
from dnssecd.signer.key_trash import KeyTrash
from dnssecd.signer.keystore import Keystore, Order
from dnssecd.signer.make_keys import make_all
from dnssecd.signer.peers import Peer
from dnssecd.signer.preimage import zone_text
from dnssecd.signer.stores import Stores, key_info


def _outside(wanted: tuple[int, int]) -> frozenset[int]:
    """Return the key tags that a new key may not have."""
    low, high = wanted
    return frozenset(range(low)) | frozenset(range(high + 1, wp.TAGS[1] + 1))


class KeyAdmin:
    """See the module. `changed(key id)` is called when the zones of a key have changed or it is gone."""

    def __init__(
        self,
        stores: Stores,
        changes: ChangeLog,
        rules: ConsentRules,
        trash: KeyTrash,
        lock: asyncio.Lock,
        changed: Callable[[str], None],
    ) -> None:
        self._lock = lock
        self._stores = stores
        self._changes = changes
        self._rules = rules
        self._trash = trash
        self._changed = changed

    async def generate(self, request: wp.GenerateRequest, peer: Peer) -> wp.Reply:
        """Make a key, or return the one made for the same `idempotency` text before."""
        store = self._stores.named(request.store)
        bits = algorithms.check_bits(algorithms.algorithm_of(request.algorithm), request.bits)
        mark = sharing.mark(request.share, request.idempotency) if request.share else request.idempotency
        async with self._lock:
            for key in store.registry.of_zone(request.zone):
                if mark and key.idempotency == mark and key.id not in request.known:
                    return wp.KeysReply(request.id, (key_info(store, key, request.zone),))
            if request.share:
                await self._rules.refresh()
            goes_with = self._rules.may_go_with
            if request.share and (shared := sharing.find(self._stores, store, request, bits, goes_with)):
                key = await self._bind(store, shared, request.zone, peer)
                return wp.KeysReply(request.id, (key_info(store, key, request.zone),))
            with self._changes.change("generated", store, peer.uid) as account:
                key = await store.generate(
                    request.zone,
                    request.role,
                    request.algorithm,
                    bits,
                    mark,
                    self._stores.tags(request.zone) | _outside(request.tags),
                    account,
                )
        return wp.KeysReply(request.id, (key_info(store, key, request.zone),))

    async def make_first(self, request: wp.KeysRequest, peer: Peer) -> tuple[wp.KeyInfo, ...]:
        """Make the keys of a zone that has none; return none for a zone that has."""
        zone = request.zone
        orders = [
            Order(zone, each.role, each.algorithm, self._bits(each.algorithm, each.bits), each.idempotency)
            for each in request.make
        ]
        stores = [self._stores.named(each.store) for each in request.make]
        async with self._lock:
            if self._stores.keys(zone):
                return ()
            taken = self._stores.tags(zone) | _outside(request.tags)
            made: list[tuple[Keystore, Description]] = []
            for store in dict.fromkeys(stores):
                wanted = [order for order, where in zip(orders, stores, strict=True) if where is store]
                keys = await make_all(self._changes, store, wanted, taken, peer.uid)
                made += [(store, key) for key in keys]
                taken = taken.union(*(algorithms.tags(key.dnskey) for key in keys))
        return tuple(key_info(store, key, zone) for store, key in made)

    @staticmethod
    def _bits(algorithm: int, bits: int) -> int:
        return algorithms.check_bits(algorithms.algorithm_of(algorithm), bits)

    async def take_in(self, request: wp.ImportRequest, peer: Peer) -> wp.Reply:
        """Take a private key made elsewhere. It is read in a thread: large RSA numbers take long to check."""
        store = self._stores.named(request.store)
        async with self._lock:
            private = await asyncio.to_thread(private_formats.load, request.private, request.algorithm)
            dnskey = algorithms.dnskey_rdata(
                algorithms.flags_of(request.role), request.algorithm, private.public_key()
            )
            lost = self._lost(store, dnskey)
            if lost is not None and request.zone not in lost.zones:
                raise Exists(f"that key is of {zone_text(lost.zones[0])}; import it there, then bind it")
            name = f"{request.role.upper()} {algorithms.key_tag(dnskey)}"
            with (
                self._rules.for_newcomer("import", request.zone, request.role, dnskey, name, peer),
                self._changes.change("imported", store, peer.uid) as account,
            ):
                if lost is not None:
                    await store.put_back(lost, private, account)
                    return wp.KeysReply(request.id, (key_info(store, lost),))
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

    async def adopt(self, request: wp.AdoptRequest, peer: Peer) -> wp.Reply:
        """Bind a key that is in a token already, and that no key store knows: two may use the same token."""
        store = self._stores.named(request.store)
        algorithms.algorithm_of(request.algorithm)
        name = request.cka_id or request.label or request.public_key.hex()[-32:]
        async with self._lock:
            with ExitStack() as consent, self._changes.change("adopted", store, peer.uid) as account:

                def account_for_new(key: Description) -> None:
                    self._must_be_new(key.dnskey[4:])
                    self._id_must_be_new(key.id)
                    consent.enter_context(
                        self._rules.for_newcomer(
                            "adopt", request.zone, key.role, key.dnskey, f"{store.name} {name}", peer
                        )
                    )
                    account(key)

                key = await store.adopt(request, self._stores.tags(request.zone), account_for_new)
        return wp.KeysReply(request.id, (key_info(store, key),))

    async def export(self, request: wp.ExportRequest, peer: Peer) -> wp.Reply:
        """Give out a private key under another passphrase."""
        store, key = self._stores.find(request.key_id)
        # Of a store that gives out no key there is nothing to consent to: it refuses.
        consent = self._rules.for_key("export", key, peer) if store.gives_out else nullcontext()
        with consent, self._changes.change("exported", store, peer.uid) as account:
            account(key)
            content = await store.export(key, request.passphrase)
        return wp.ExportReply(request.id, content)

    async def restore(self, request: wp.RestoreRequest, peer: Peer) -> wp.Reply:
        """Take an exported key back."""
        store = self._stores.named(request.store)
        try:
            content = sealed.read(request.sealed)
        except sealed.CannotOpen as error:
            raise BadRequest(f"not an exported key: {error}") from None
        key = content.key
        door.check_description(key)
        async with self._lock:
            lost = self._lost(store, key.dnskey)
            if lost is None:
                self._id_must_be_new(key.id)
                for zone in key.zones:
                    self._tags_must_be_free(zone, key)
            with (
                self._rules.for_restored(key, peer),
                self._changes.change("restored", store, peer.uid) as account,
            ):
                await store.restore(content, request.passphrase, account, lost)
        return wp.KeysReply(request.id, (key_info(store, lost or key),))

    async def bind(self, request: wp.BindRequest, peer: Peer) -> wp.Reply:
        """Let a key sign for one more zone.

        A key that was not made to be shared among zones of the same limits is bound by a keeper or an officer only,
        or with the consent of a second person.
        """
        async with self._lock:
            store, key = self._stores.find(request.key_id)
            if request.zone not in key.zones:
                self._tags_must_be_free(request.zone, key)
                await self._rules.refresh()
                consent: AbstractContextManager[None] = nullcontext()
                if not (sharing.is_shared(key) and self._rules.may_go_with(key, request.zone)):
                    consent = self._rules.for_binding(key, request.zone, peer)
                    self._may_share(key, request.zone, peer)
                with consent:
                    key = await self._bind(store, key, request.zone, peer)
        return wp.KeysReply(request.id, (key_info(store, key),))

    def _may_share(self, key: Description, zone: bytes, peer: Peer) -> None:
        if not peer.is_keeper and not peer.is_officer and not self._rules.two_person((*key.zones, zone)):
            raise Refused(
                f"key {key.id} was not made to be shared (share_keys) with {zone_text(zone)}, or the limits of its"
                " zones' policies are others: only root, the key service's own user and key officers may bind it"
            )

    async def _bind(self, store: Keystore, key: Description, zone: bytes, peer: Peer) -> Description:
        if zone in key.zones:
            return key
        with self._changes.change_of_binding("bound", key, zone, peer.uid):
            key = await store.rebind(key, (*key.zones, zone))
        self._changed(key.id)
        return key

    async def remove(self, request: wp.RemoveRequest, peer: Peer) -> wp.Reply:
        """Unbind a key; with its last zone it goes into the trash."""
        zone = zone_text(request.zone)
        async with self._lock:
            store, key = self._stores.find(request.key_id)
            if request.zone not in key.zones:
                raise UnknownKey(f"key {key.id} is not bound to {zone}")
            rest = tuple(bound for bound in key.zones if bound != request.zone)
            if not rest:
                return await self._trash.remove(request.id, store, key, peer)
            with self._changes.change_of_binding("unbound", key, request.zone, peer.uid):
                await store.rebind(key, rest)
            self._changed(key.id)
        return wp.DoneReply(request.id, f"unbound from {zone}")

    def _lost(self, store: Keystore, dnskey: bytes) -> Description | None:
        """Return the key that a copy may take the place of: listed, and its private part proven to be gone.

        None for a key that is new; Exists for any other.
        """
        listed = self._stores.listing(dnskey[4:])
        if listed is None or listed[1].dnskey != dnskey or not listed[0].has_lost(listed[1]):
            self._must_be_new(dnskey[4:])
            return None
        holder, key = listed
        if holder is not store:
            raise Exists(
                f"that key is in the list of key store {holder.name}, which has lost it; restore it there "
                f"(--keystore {holder.name})"
            )
        return key

    def _must_be_new(self, public_key: bytes) -> None:
        if holder := self._stores.holding(public_key):
            raise Exists(f"that key is in {holder} already")

    def _id_must_be_new(self, key_id: str) -> None:
        """Raise Exists for the id of a key that is in use, or in the trash, in any store."""
        if self._stores.knows(key_id):
            raise Exists(f"another key has the id {key_id}; no key takes the place of another")

    def _tags_must_be_free(self, zone: bytes, key: Description) -> None:
        if not self._stores.tags(zone).isdisjoint(algorithms.tags(key.dnskey)):
            raise Collision(f"another key of {zone_text(zone)} has the same key tag")
