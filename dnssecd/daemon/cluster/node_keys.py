"""Each node has keys of its own (``sharing = "own"``): they are made, announced, and joined into the zone's key set.

A node makes its keys for each zone, with its own key service, and writes their public halves into the database, as
letters of that key service. The owner of the zone takes them into its key set: the planner publishes them and asks the
parent for their DS (core.keys.node_keys). A node whose keys all validators have may take the zone over, and signs with
them from then on. The private halves stay in its key service.
"""

import asyncio
import heapq
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256

import structlog

from dnssecd.clock import Clock
from dnssecd.cluster.errors import ClusterError
from dnssecd.cluster.node_keys import OVERLAP_S, Announced, NodeKeyRows
from dnssecd.config.model import Config
from dnssecd.core.keys.keyset import Keyset, KeysetError, mark_of, used_tags
from dnssecd.core.keys.keystate import Goal, Role
from dnssecd.core.keys.node_keys import (
    HeldKey,
    NodeKey,
    choose_own,
    follow_nodes,
    hand_over,
    leave_nodes,
    unsaved,
    wants_hand_over,
)
from dnssecd.core.keys.types import KeySpec, RolloverPolicy
from dnssecd.daemon.cluster.link import ClusterLink
from dnssecd.daemon.cluster.stored_keys import read_keys
from dnssecd.daemon.rollover.policy import rollover_policy
from dnssecd.daemon.zones.first_keys_ready import NOT_BACKED_UP, in_several_tokens, saved_keys
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.rooms import ClusterRoom
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_client.proof import why_unproven
from dnssecd.keyservice_protocol import KeyInfo, Proof
from dnssecd.ops.cluster_metrics import ClusterMetrics
from dnssecd.ops.events import EventCore
from dnssecd.store.errors import StoreError
from dnssecd.uninterrupted import to_the_end

LOOK_S = 2.0
#: The keys of a zone are looked at when it got another owner, soon after it changed, and at an interval.
CHANGED_S, AGAIN_S = 8.0, 60.0
#: Zones in a look, and at the same time.
ZONES_MAX, AT_ONCE = 50, 8
#: After a failure with a zone it is looked at again after this time; after AGAIN_S if its letters are refused: the
#: sealing keys in the configuration may have been wrong.
RETRY_S = 10.0

log = structlog.get_logger("dnssecd.cluster")


class NodeKeys:
    """Belongs to the event loop; ``run`` is a task of the node."""

    def __init__(
        self,
        link: ClusterLink,
        config: Callable[[], Config],
        zones: Mapping[str, FrontZone],
        signer: AsyncSignerClient,
        events: EventCore,
        clock: Clock,
        mailbox: Mailbox,
        metrics: ClusterMetrics,
    ) -> None:
        self._link, self._config, self._zones, self._signer = link, config, zones, signer
        self._events, self._clock, self._mailbox, self._metrics = events, clock, mailbox, metrics
        self.node = link.config.node
        self._rows = NodeKeyRows(link.database)
        self._free = asyncio.Semaphore(AT_ONCE)
        #: Monotonic time of the last look that read all announcements, None: there was none.
        self._read_at: float | None = None

    @property
    def stores(self) -> frozenset[str]:
        """The key stores that each node has for itself."""
        return self._config().own_keystores

    def concerns(self, zone: FrontZone) -> bool:
        """Tell whether each node has keys of its own for a zone."""
        stores = self.stores
        return bool(stores) and any(wish.keystore in stores for wish in zone.spec.keys)

    async def run(self) -> None:
        """Make and announce keys, and read what other nodes announce, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            if not self.stores:
                continue
            try:
                await self._read_news()
                await self._announce_some()
            except ClusterError as error:
                log.info("keys of nodes are not exchanged now", cause=error.what)

    # What the other nodes announce

    async def _read_news(self) -> None:
        """Read announcements for the zones that this node owns. Raise ClusterError.

        A look reads what was announced since the last one that succeeded: looks fail while the database is away, and
        with thousands of zones one takes minutes.
        """
        now = self._clock.monotonic()
        age_s = LOOK_S if self._read_at is None else now - self._read_at
        new = set(await self._link.run(self._rows.newer, age_s + OVERLAP_S))
        wanted = [
            zone
            for zone in self._zones.values()
            if zone.cluster is not None
            and zone.cluster.owned
            and (zone.name in new or _is_to_hear(zone.cluster, now))
            and self.concerns(zone)
        ]
        for first in range(0, len(wanted), ZONES_MAX):
            some = wanted[first : first + ZONES_MAX]
            epochs = {zone: zone.cluster.epoch for zone in some if zone.cluster is not None}
            rows = await self._link.run(self._rows.of_zones, [zone.name for zone in some])
            await asyncio.gather(*(self._read_row(row) for row in rows))
            for zone, epoch in epochs.items():
                if zone.cluster is not None:
                    zone.cluster.heard_epoch = epoch
        self._read_at = now

    async def _read_row(self, row: Announced) -> None:
        zone = self._zones.get(row.zone)
        if zone is None or zone.cluster is None or row.node == self.node:
            return
        if row.node not in self._link.config.nodes:
            return  # a program that writes rows can name any number of nodes: they cost no memory and no request
        mark = sha256(b"\0".join(row.letters)).digest()
        if zone.cluster.heard.get(row.node) == mark:
            return
        failed, again_at = zone.cluster.unheard.get(row.node, (b"", 0.0))
        if failed == mark and self._clock.monotonic() < again_at:
            return
        async with self._free:
            try:
                infos = [await self._open(zone, letter) for letter in row.letters]
            except SignerError as error:
                self._metrics.keys_refused.inc()
                log.warning("keys of a node are not taken", zone=zone.name, node=row.node, cause=str(error))
                wait_s = RETRY_S if error.temporary else AGAIN_S
                zone.cluster.unheard[row.node] = mark, self._clock.monotonic() + wait_s
                return
        zone.cluster.unheard.pop(row.node, None)
        if any(info.detail != row.node for info in infos):
            self._metrics.keys_refused.inc()
            log.warning(
                "keys of a node are refused", zone=zone.name, node=row.node, cause="another node sent them"
            )
            zone.cluster.heard[row.node] = mark
            return
        zone.cluster.heard[row.node] = mark
        zone.cluster.announced[row.node] = tuple(NodeKey(Role(info.role), info.dnskey) for info in infos)
        self._mailbox.finished.send(zone)  # the planner takes them

    async def _open(self, zone: FrontZone, letter: bytes) -> KeyInfo:
        store = next(wish.keystore for wish in zone.spec.keys if wish.keystore in self.stores)
        return await self._signer.open_letter(zone.origin, letter, store=store)

    def follow(self, zone: FrontZone, keyset: Keyset, now: int) -> tuple[Keyset, list[str]]:
        """Return the key set of a zone of this node with the keys of the others, and why some cannot join."""
        if zone.cluster is None:
            return keyset, []
        if not self.concerns(zone):  # the nodes share their keys again, or always did
            return leave_nodes(keyset, now) if keyset.node else keyset, []
        return follow_nodes(keyset, self.node, zone.cluster.announced, self._link.config.nodes, now)

    # What this node announces

    async def _announce_some(self) -> None:
        now = self._clock.monotonic()
        due = [
            (zone.cluster.announced_at, number, zone, zone.cluster)
            for number, zone in enumerate(self._zones.values())
            if zone.cluster is not None
            and zone.cluster.applied is not None
            and zone.cluster.announced_at < now - _pause_s(zone.cluster)
            and self.concerns(zone)
        ]
        chosen = heapq.nsmallest(ZONES_MAX, due)
        await asyncio.gather(*(self._announce(zone, room) for _, _, zone, room in chosen))

    async def _announce(self, zone: FrontZone, room: ClusterRoom) -> None:
        """Make the keys that this node needs for a zone, and announce them. Raise ClusterError."""
        room.announced_at, room.announced_of = self._clock.monotonic(), (room.applied or 0, room.owned)
        async with self._free:
            try:
                wanted = await self._wanted(zone)
                if wanted is not None:
                    await self._write(zone, wanted)
            except (SignerError, StoreError, OSError) as error:
                room.announced_at += RETRY_S - AGAIN_S
                log.warning("keys of this node are not announced", zone=zone.name, cause=str(error))

    async def _write(self, zone: FrontZone, wanted: list[KeyInfo]) -> None:
        written = await self._link.run(self._rows.marks, zone.name)
        for name, node in self._link.config.nodes.items():
            if name == self.node or not node.sealing_key:
                continue
            text = " ".join((self._link.config.nodes[self.node].sealing_key, node.sealing_key))
            text += " " + " ".join(sorted(info.id for info in wanted))
            mark = sha256(text.encode()).hexdigest()
            if written.get(name) != mark:
                letters = [await self._signer.seal(zone.origin, info.id, name) for info in wanted]
                await self._link.run(self._rows.announce, zone.name, name, letters, mark)
                log.info(
                    "keys announced", zone=zone.name, node=name, tags=sorted(info.tag for info in wanted)
                )

    async def _wanted(self, zone: FrontZone) -> list[KeyInfo] | None:
        """Return the keys of this node that the zone is to have; None: it is not known now."""
        keyset, published = await to_the_end(asyncio.to_thread(read_keys, zone))
        if keyset is None or zone.gone or not keyset.signed:
            return None
        infos = [info for info in await self._signer.keys(zone.origin) if info.store in self.stores]
        held = {info.dnskey: info for info in infos if info.state == "available"}
        if zone.owned:
            if wants_hand_over(keyset, self.node):
                return None
            ours = [
                key
                for key in keyset.keys
                if not key.foreign and not key.revoked and key.goal is not Goal.ABSENT
            ]
            return [held[key.rdata] for key in ours if key.rdata in held]
        if keyset.node in ("", self.node):
            return None  # what is stored is of the time before another node owned the zone
        policy = rollover_policy(self._config(), zone.config, self._clock.now())
        wanted = await self._of_follower(zone, keyset, policy, held, infos)
        await self._remove_old(zone, keyset, published, infos)
        return wanted

    async def _of_follower(
        self,
        zone: FrontZone,
        keyset: Keyset,
        policy: RolloverPolicy,
        held: Mapping[bytes, KeyInfo],
        infos: list[KeyInfo],
    ) -> list[KeyInfo]:
        now = int(self._clock.now())
        mine = {rdata: _held(info) for rdata, info in held.items()}
        specs = [spec for spec in policy.specs if spec.keystore in self.stores]
        choice = choose_own(keyset, self.node, specs, mine, now)
        wanted = [held[rdata] for rdata in sorted(choice.rdatas)]
        for spec in choice.lacking:
            new = await self._new(zone, keyset, spec, held, infos, given=policy.given)
            wanted += [new] if new is not None else []
        return await self._backed_up(zone, keyset, wanted, required=policy.require_backup)

    async def _backed_up(
        self, zone: FrontZone, keyset: Keyset, wanted: list[KeyInfo], *, required: bool
    ) -> list[KeyInfo]:
        """Return the keys that need no backup first; raise the event for each of the others."""
        waiting: frozenset[bytes] = frozenset()
        if required:
            saved = await to_the_end(asyncio.to_thread(saved_keys, zone))
            waiting = unsaved(keyset, {info.dnskey: info.id for info in wanted}, saved)
            waiting -= {
                info.dnskey
                for info in wanted
                if info.dnskey in waiting and await in_several_tokens(zone, self._signer, info)
            }
        lacking = {f"key {info.tag}": info for info in wanted if info.dnskey in waiting}
        for subject, info in lacking.items():
            cause = (
                f"{info.role} {info.tag} in key store {info.store} of node {self.node} has no confirmed backup: the "
                "node does not announce it"
            )
            self._events.raise_event(NOT_BACKED_UP, zone.name, cause, subject=subject)
        for event in self._events.firing(zone.name):
            if event.name == NOT_BACKED_UP and event.subject and event.subject not in lacking:
                self._events.resolve(NOT_BACKED_UP, zone.name, event.subject)
        return [info for info in wanted if info.dnskey not in waiting]

    async def _new(
        self,
        zone: FrontZone,
        keyset: Keyset,
        spec: KeySpec,
        held: Mapping[bytes, KeyInfo],
        infos: list[KeyInfo],
        *,
        given: bool,
    ) -> KeyInfo | None:
        """Return a key that the zone does not have yet, made if there is none; None: an operator makes the keys."""
        alike = [info for info in infos if info.role == spec.role.value and info.algorithm == spec.algorithm]
        alike.sort(key=lambda info: (info.created, info.id))
        joined, used = {key.rdata for key in keyset.keys}, used_tags(keyset)
        for info in reversed(alike):
            fresh = info.dnskey in held and info.dnskey not in joined and info.store == spec.keystore
            clash = used.intersection((info.tag, info.revoked_tag))
            if fresh and not clash and not _is_past(keyset, info) and spec.bits in (0, info.bits):
                return _proven(info, await self._signer.prove(zone.origin, info.id, info.dnskey))
            if info.state == "unproven" and info.store == spec.keystore:
                raise SignerError(f"key {info.tag} may be in its token, which has not shown it yet")
        if given:
            return None
        after = alike[-1].id if alike else "none"
        made, proofs = await self._signer.generate_proven(
            zone.origin,
            spec.role.value,
            spec.algorithm,
            store=spec.keystore,
            bits=spec.bits,
            idempotency=f"node {spec.role.value} {spec.algorithm} {spec.keystore} after {after}",
            tags=zone.spec.tag_range,
        )
        log.info("key of this node made", zone=zone.name, role=made.role, tag=made.tag)
        return _proven(made, proofs)

    async def _remove_old(
        self, zone: FrontZone, keyset: Keyset, published: frozenset[bytes], infos: list[KeyInfo]
    ) -> None:
        """Remove the keys of this node that left the zone."""
        used = published | {key.rdata for key in keyset.keys}
        for info in infos:
            if _is_past(keyset, info) and info.dnskey not in used and info.state == "available":
                try:
                    detail = await self._signer.remove(zone.origin, info.id)
                except SignerError as error:  # it is tried again: no announcement waits for it
                    log.warning("key not removed", zone=zone.name, key=info.id, cause=str(error))
                else:
                    log.info("key removed", zone=zone.name, key=info.id, detail=detail)

    # Taking a zone over

    async def hand_over(self, zone: FrontZone, keyset: Keyset) -> Keyset | None:
        """Return the key set with which this node signs a zone that it took over; None: it signs already.

        Raise KeysetError, SignerError.
        """
        if not wants_hand_over(keyset, self.node):
            return None
        return hand_over(keyset, self.node, await self.held(zone), int(self._clock.now()))

    async def held(self, zone: FrontZone) -> dict[bytes, HeldKey]:
        """Return the keys of this node, by DNSKEY RDATA. Raise SignerError."""
        return {
            info.dnskey: _held(info)
            for info in await self._signer.keys(zone.origin)
            if info.state == "available" and info.store in self.stores
        }

    def handed_over(self, zone: FrontZone) -> None:
        """Begin the work that waited until this node signs the zone."""
        if zone.cluster is not None and zone.cluster.signed_elsewhere:
            zone.cluster.signed_elsewhere = False
            log.info("this node signs the zone with its own keys", zone=zone.name)
            self._mailbox.wanted.send(zone, "resign" if zone.orphan else "load")

    async def why_not(self, zone: FrontZone, keyset: Keyset) -> str:
        """Return why this node cannot take a zone over with its own keys, "" if it can. Raise SignerError."""
        try:
            after = hand_over(keyset, self.node, await self.held(zone), int(self._clock.now()))
        except KeysetError as error:
            return str(error)
        for key in after.keys:
            if not key.foreign and (key.krrsig.visible or key.zrrsig.visible):
                proofs = await self._signer.prove(zone.origin, key.key_id, key.rdata)
                if why := why_unproven(proofs):  # one of several tokens with the same keys may be away
                    return f"key {key.tag} cannot be proved by this node's key service: {why}"
        return ""


def _is_to_hear(room: ClusterRoom, now: float) -> bool:
    """Tell whether all announcements for a zone are to be read: it is newly owned, or some could not be opened."""
    return room.heard_epoch != room.epoch or any(again_at <= now for _, again_at in room.unheard.values())


def _pause_s(room: ClusterRoom) -> float:
    if room.announced_of is None or room.announced_of[1] != room.owned:
        return 0.0
    return CHANGED_S if room.announced_of[0] != room.applied else AGAIN_S


def _proven(info: KeyInfo, proofs: Iterable[Proof]) -> KeyInfo:
    """Return a key that all tokens of its store hold. Raise SignerError."""
    for proof in proofs:
        if proof.error:
            where = f" in token {proof.token}" if proof.token else ""
            raise SignerError(f"key {info.tag} ({info.id}) cannot be proved{where}: {proof.error}")
    return info


def _is_past(keyset: Keyset, info: KeyInfo) -> bool:
    return mark_of(info.algorithm, info.public_key) in keyset.past


def _held(info: KeyInfo) -> HeldKey:
    return HeldKey(info.id, info.store, info.bits)
