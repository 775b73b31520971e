"""Keys that go sealed between the key services of a cluster's nodes (see `sealing`), each with its audit entry.

No consent of a second person is asked for: the configuration, which the daemon cannot change, names the nodes that may
have the keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from dnssecd import keyservice_protocol as wp
from dnssecd.keyservice_settings import sealing_key_octets, sealing_key_text
from dnssecd.signer import algorithms, door
from dnssecd.signer.account import ChangeLog
from dnssecd.signer.errors import BadRequest, Collision, Exists, OperatorNeeded, Refused, UnknownKey
from dnssecd.signer.key_file import Description
from dnssecd.signer.keystore import Keystore
from dnssecd.signer.limits import Limits
from dnssecd.signer.peers import Peer
from dnssecd.signer.preimage import zone_text
from dnssecd.signer.sealing import BadLetter, SealingNode
from dnssecd.signer.software import SoftwareStore
from dnssecd.signer.stores import Stores, described, key_info

#: In place of a private key: the letter announces the public half of a key that stays where it is.
PUBLIC_ONLY = b""


class SealedKeys:
    """See the module. `changed(key id)` is called when the zones of a key have changed."""

    def __init__(
        self,
        limits: Limits,
        stores: Stores,
        changes: ChangeLog,
        lock: asyncio.Lock,
        changed: Callable[[str], None],
    ) -> None:
        self._limits, self._stores, self._changes = limits, stores, changes
        self._lock, self._changed = lock, changed
        self._sealed = {one.name: one for one in stores if isinstance(one, SoftwareStore) and one.sealed}
        self._own = {one.name: one for one in stores if one.own}
        self._node: SealingNode | None = None
        self._generation = limits.generation

    async def show(self, request: wp.SealingKeyRequest) -> wp.Reply:
        """Return the public sealing key of this node; it is made if there is none."""
        node = await self._this_node()
        return wp.DoneReply(request.id, sealing_key_text(node.public))

    async def seal(self, request: wp.SealRequest, peer: Peer) -> wp.Reply:
        """Seal a key for another node: its public half alone, if each node has keys of its own."""
        async with self._lock:
            node = await self._pinned_node()
            if request.node == node.name or request.node not in node.nodes:
                raise Refused(
                    f"the configuration has no sealing_key of another node {request.node[:64]!r}: "
                    "nothing is sealed for it"
                )
            holder, key = self._stores.find(request.key_id)
            if request.zone not in key.zones:
                raise UnknownKey(f"key {key.id} is not bound to {zone_text(request.zone)}")
            sealed, told = self._sealed.get(holder.name), msgspec.structs.replace(key, zones=(request.zone,))
            if holder.name in self._own:  # where the key is in a token does not concern the other node
                told = msgspec.structs.replace(told, cka_id="", label="", idempotency="")
            elif sealed is None:
                raise Refused(
                    f'key {key.id} is in a key store without sharing = "sealed": it goes to no other node'
                )
            what = "sealed for" if sealed else "announced to"
            with self._changes.change(f"{what} node {request.node}", holder, peer.uid) as account:
                account(key)
                private = await sealed.for_letter(key) if sealed else PUBLIC_ONLY
                try:
                    letter = node.seal(request.node, told, private)
                except BadLetter as error:
                    raise OperatorNeeded(f"the sealing_key of node {request.node}: {error}") from None
        return wp.SealReply(request.id, letter)

    async def open(self, request: wp.OpenRequest, peer: Peer) -> wp.Reply:
        """Take a key in that another node has sealed for this one; only read it if that node keeps it for itself."""
        async with self._lock:
            node = await self._pinned_node()
            try:
                letter, private = node.open(request.letter)
            except BadLetter as error:
                raise BadRequest(f"the letter is refused: {error}") from None
            key = letter.key
            door.check_description(key)
            if key.zones != (request.zone,):
                raise BadRequest(f"the letter is refused: its key is not for {zone_text(request.zone)}")
            own = self._own.get(self._stores.named(request.store).name)
            if (private == PUBLIC_ONLY) is not (own is not None):
                raise BadRequest(
                    f"the letter is refused: the nodes do not share key store {request.store!r} in the same way"
                )
            if own is not None:
                # Of a key that only its node has: ``detail`` names that node.
                info = described(key, own.name, key.zones, "unavailable", letter.sender)
                return wp.KeysReply(request.id, (info,))
            store = self._sealed.get(self._stores.named(request.store).name)
            if store is None:
                raise Refused(
                    f'key store {request.store!r} has no sharing = "sealed": it takes no keys of other nodes'
                )
            known = self._known(store, key)
            if known is None:
                self._must_be_new(key)
            if (
                known is None or store.state(known)[0] == "missing"
            ):  # its file is gone: it comes back as it was
                with self._changes.change(f"taken from node {letter.sender}", store, peer.uid) as account:
                    await store.from_letter(known or key, private, account)
            key = await self._bind(store, known or key, request.zone, peer)
        return wp.KeysReply(request.id, (key_info(store, key, request.zone),))

    def _known(self, store: SoftwareStore, key: Description) -> Description | None:
        """Return the key if it is here already; Exists for another key under its id."""
        if not self._stores.knows(key.id):
            return None
        holder, known = self._stores.find(key.id)  # UnknownKey: it is in the trash, for a person to decide
        if known.dnskey != key.dnskey or holder is not store:
            raise Exists(f"another key has the id {key.id}; no key takes the place of another")
        return known

    async def _bind(self, store: SoftwareStore, key: Description, zone: bytes, peer: Peer) -> Description:
        if zone in key.zones:
            return key
        if not self._stores.tags(zone).isdisjoint(algorithms.tags(key.dnskey)):
            raise Collision(f"another key of {zone_text(zone)} has the same key tag")
        with self._changes.change_of_binding("bound", key, zone, peer.uid):
            bound = await store.rebind(key, (*key.zones, zone))
        self._changed(key.id)
        return bound

    def _must_be_new(self, key: Description) -> None:
        if holder := self._stores.holding(key.dnskey[4:]):
            raise Exists(f"that key is in {holder} already, under another id")
        (zone,) = key.zones
        if not self._stores.tags(zone).isdisjoint(algorithms.tags(key.dnskey)):
            raise Collision(f"another key of {zone_text(zone)} has the same key tag")

    async def _this_node(self) -> SealingNode:
        """Return this node as the configuration says now: a node that was taken out gets and gives no more keys."""
        await self._limits.refresh()
        if self._node is None or self._generation != self._limits.generation:
            settings, self._generation = self._limits.sealing, self._limits.generation
            self._node = None
            stores: tuple[Keystore, ...] = (*self._sealed.values(), *self._own.values())
            if not settings.node or not stores:
                raise Refused(
                    'this host has no [cluster], or no key store with sharing = "sealed" or "own": it seals no keys'
                )
            store = next((one for one in stores if one.has_sealing_key()), next(iter(stores)))
            keys = {name: sealing_key_octets(text) for name, text in settings.keys.items()}
            self._node = SealingNode(settings.node, await store.sealing_key(), keys)
        return self._node

    async def _pinned_node(self) -> SealingNode:
        """Return this node if the configuration has its key; the others would refuse what it seals else."""
        node = await self._this_node()
        pinned = node.nodes.get(node.name)
        if pinned is None:
            raise OperatorNeeded(
                f"[cluster.nodes.{node.name}] has no sealing_key: write "
                f'sealing_key = "{sealing_key_text(node.public)}" there, on all nodes'
            )
        if pinned != node.public:
            raise OperatorNeeded(
                f"the sealing key of this node is {sealing_key_text(node.public)}, and [cluster.nodes.{node.name}] has "
                "another: if the key store is a new one, change it there, on all nodes"
            )
        return node
