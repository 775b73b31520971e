"""Bring keys to the nodes that are to hold them, and know which nodes do.

The rows in the database (cluster.shared_keys) may be read and forged by others. So a private key in them is
sealed by a key service for that of one other node, which alone reads it and refuses what no node of the configuration
has sealed (signer.sealing); this daemon passes on what it cannot read. And a node counts as holder of a key only if
the key itself has signed the name of the node.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha256

import msgspec
import structlog

from dnssecd.cluster.errors import ClusterError
from dnssecd.cluster.shared_keys import Row, SharedKeys
from dnssecd.config.model import Config
from dnssecd.core.ceremony.proof import proof_message
from dnssecd.core.keys.keyset import dnskey_rdata, key_tag
from dnssecd.daemon.cluster.link import ClusterLink
from dnssecd.daemon.cluster.stored_keys import read_keys
from dnssecd.daemon.zones.key_holders import KeyToHold
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_client.proof import check_proofs
from dnssecd.keyservice_protocol import KeyInfo, Proof, Role
from dnssecd.ops.cluster_metrics import ClusterMetrics
from dnssecd.store.errors import StoreError
from dnssecd.uninterrupted import to_the_end

LOOK_S = 2.0
#: Rows of a kind in a look, and how many are worked on at the same time.
ROWS_MAX, AT_ONCE = 100, 8

log = structlog.get_logger("dnssecd.cluster")


class Envelope(msgspec.Struct, frozen=True):
    """What a node needs to have a key. sealed: the letter of a key service; b"" for a key in a token that all reach.

    proof: for a key in a token, the sender's. It shows that a key service signs for the zone with it. Who only writes
    rows could otherwise name a key of another zone.
    """

    store: str
    role: Role
    algorithm: int
    public_key: bytes
    sealed: bytes = b""
    proof: bytes = b""


def nonce_of(node: str, key_id: str) -> bytes:
    """Return what a key signs to prove that a node holds it: a proof of one node is none of another."""
    return sha256(b"dnssecd: held by\0%s\0%s" % (node.encode(), key_id.encode())).digest()


class KeyShares:
    """Belongs to the event loop; ``run`` is a task of the node."""

    def __init__(
        self,
        link: ClusterLink,
        config: Callable[[], Config],
        zones: Mapping[str, FrontZone],
        signer: AsyncSignerClient,
        metrics: ClusterMetrics,
    ) -> None:
        self._config, self._zones, self._signer, self._metrics = config, zones, signer, metrics
        self._link = link
        self._node, self._nodes = link.config.node, tuple(link.config.nodes)
        self._rows = SharedKeys(link.database)
        self._free = asyncio.Semaphore(AT_ONCE)
        self._asking = asyncio.Semaphore(AT_ONCE)

    @property
    def tokens(self) -> frozenset[str]:
        """The key stores whose tokens all nodes reach."""
        return self._config().shared_keystores

    @property
    def sealed(self) -> frozenset[str]:
        """The key stores whose keys come sealed."""
        return self._config().sealed_keystores

    async def run(self) -> None:
        """Do what is to be done for keys, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            if not (self.tokens or self.sealed):
                continue
            try:
                while await self.look():
                    pass
            except ClusterError as error:
                log.info("keys of zones are not exchanged now", cause=error.what)

    async def look(self) -> bool:
        """Do what is to be done now; return whether there is more. Raise ClusterError."""
        work = await self._link.run(self._rows.work, ROWS_MAX)
        jobs = [
            *(self._do(row, self._take) for row in work.letters),
            *(self._do(row, self._give) for row in work.asked),
            *(self._do(row, self._remove) for row in work.withdrawn),
        ]
        await asyncio.gather(*jobs)
        return ROWS_MAX in (len(work.letters), len(work.asked), len(work.withdrawn))

    async def _do(self, row: Row, work: Callable[[FrontZone, Row], Awaitable[str]]) -> None:
        """Do the work of a row; a failure is noted in it, and it is tried again later."""
        async with self._free:
            zone = self._zones.get(row.zone)
            if zone is None or zone.gone:
                why = "the configuration does not name the zone"
            else:
                try:
                    why = await work(zone, row)
                except (SignerError, StoreError, OSError) as error:
                    why = str(error)
            if why:
                log.warning("a key is not exchanged", zone=row.zone, key=row.key_id, node=row.node, cause=why)
                self._metrics.keys_refused.inc()
                await self._link.run(self._rows.failed, row, why)

    async def _take(self, zone: FrontZone, row: Row) -> str:
        """Have the key of a letter, and prove that; return why not."""
        try:
            found = msgspec.msgpack.decode(row.letter, type=Envelope)
        except msgspec.DecodeError as error:
            return f"what node {row.sender} wrote is damaged: {error}"
        info = (await self.held(zone)).get(row.key_id)
        if info is None and found.store in self.sealed:
            info = await self._signer.open_letter(zone.origin, found.sealed, store=found.store)
            log.info(
                "key taken from another node", zone=zone.name, key=info.id, tag=info.tag, node=row.sender
            )
        elif info is None and found.store in self.tokens:
            if not is_of_zone(found, row, zone.origin):
                return f"node {row.sender} has not proved that it signs for the zone with the key"
            info = await self._signer.adopt(
                zone.origin,
                found.role,
                found.algorithm,
                store=found.store,
                public_key=found.public_key,
                key_id=row.key_id,
            )
        if info is None:
            return f'key store {found.store!r} of node {row.sender} is not shared here (sharing = "…")'
        if info.id != row.key_id:
            return f"the letter has another key, {info.id}"
        proofs = await self._signer.prove(zone.origin, info.id, info.dnskey, nonce_of(self._node, info.id))
        if not proofs or any(proof.error for proof in proofs):
            return next((proof.error for proof in proofs if proof.error), "no token proved the key")
        proof = msgspec.msgpack.encode(proofs[0])
        await self._link.run(self._rows.proved, zone.name, info.id, proof)
        if zone.cluster is not None:
            zone.cluster.proved_at = float("-inf")
        return ""

    async def held(self, zone: FrontZone) -> dict[str, KeyInfo]:
        """Return the keys of a zone in this node's key service; not those that can come back sealed. SignerError."""
        found = await self._signer.keys(zone.origin)
        return {info.id: info for info in found if info.state != "missing" or info.store not in self.sealed}

    async def _give(self, zone: FrontZone, row: Row) -> str:
        """Write a letter with a key to a node that asks for it; return why not."""
        if row.node not in self._nodes:
            return f"the configuration has no node {row.node}"
        info = (await self.held(zone)).get(row.key_id)
        if info is None:
            return f"the key service of node {self._node} does not hold it"
        await self._write(zone, info, row.node)
        return ""

    async def _write(self, zone: FrontZone, info: KeyInfo, node: str) -> None:
        sealed = proof = b""
        if info.store in self.sealed:
            sealed = await self._signer.seal(zone.origin, info.id, node)
        else:
            nonce = nonce_of(self._node, info.id)
            proofs = await self._signer.prove(zone.origin, info.id, info.dnskey, nonce)
            proof = next((msgspec.msgpack.encode(one) for one in proofs if not one.error), b"")
        letter = msgspec.msgpack.encode(
            Envelope(info.store, info.role, info.algorithm, info.public_key, sealed, proof)
        )
        await self._link.run(self._rows.give, zone.name, info.id, node, letter)

    async def _remove(self, zone: FrontZone, row: Row) -> str:
        """Remove a key that the zone's owner does not use any more; return why not."""
        info = next((one for one in await self._signer.keys(zone.origin) if one.id == row.key_id), None)
        if info is not None and info.store in self.sealed:
            keyset, published = await to_the_end(asyncio.to_thread(read_keys, zone))
            if zone.owned:
                return "this node owns the zone now: its key set decides"
            if info.dnskey in published or (
                keyset is not None and any(key.key_id == info.id for key in keyset.keys)
            ):
                return "the zone uses the key here"
            detail = await self._signer.remove(zone.origin, info.id)
            log.info("key removed", zone=zone.name, key=info.id, detail=detail)
        await self._link.run(self._rows.removed, row)
        return ""

    async def ask(self, zone: FrontZone, keys: Sequence[str]) -> None:
        """Ask the other nodes for keys."""
        try:
            await self._link.run(self._rows.ask, zone.name, keys)
        except ClusterError as error:
            log.info("keys of a zone cannot be asked for now", zone=zone.name, cause=error.what)

    async def holders(self, zone: FrontZone, keys: Sequence[KeyToHold]) -> Mapping[str, tuple[str, ...]]:
        """Return the nodes that proved keys of a zone of this node, itself among them; write to those that have not."""
        if zone.cluster is None:
            return {}
        async with self._asking:
            try:
                return await self._holders(zone, keys)
            except (ClusterError, SignerError, OSError) as error:
                cause = error.what if isinstance(error, ClusterError) else str(error)
                log.info("it is not known which nodes hold a key", zone=zone.name, cause=cause)
                return {}

    async def _holders(self, zone: FrontZone, keys: Sequence[KeyToHold]) -> Mapping[str, tuple[str, ...]]:
        proofs = await self._link.run(self._rows.proofs, zone.name, [key.key_id for key in keys])
        held = await self.held(zone)
        found: dict[str, tuple[str, ...]] = {}
        for key in keys:
            info = held.get(key.key_id)
            if info is None or info.dnskey != key.dnskey or info.state != "available":
                continue
            nodes = [self._node]
            for node in self._nodes:
                proof = proofs.get((key.key_id, node))
                if node == self._node:
                    continue
                if proof is None:
                    await self._write(zone, info, node)
                elif is_proof(proof, node, key):
                    nodes.append(node)
            found[key.key_id] = tuple(sorted(nodes))
        return found

    async def withdraw(self, zone: FrontZone, key_id: str) -> bool:
        """Let the other nodes remove a key that this node is about to remove; return whether that is stored."""
        if zone.cluster is None or not self.sealed:
            return True
        try:
            await self._link.run(self._rows.withdraw, zone.name, key_id, self._nodes)
        except ClusterError as error:
            log.info("a key is not removed yet", zone=zone.name, key=key_id, cause=error.what)
            return False
        return True


def is_of_zone(found: Envelope, row: Row, zone: bytes) -> bool:
    """Return whether the sender of a row has proved that it signs for the zone with the key."""
    flags = 256 if found.role == "zsk" else 257
    try:
        dnskey = dnskey_rdata(flags, found.algorithm, found.public_key)
    except ValueError:
        return False
    return is_proof(found.proof, row.sender, KeyToHold(row.key_id, dnskey), zone)


def is_proof(octets: bytes, node: str, key: KeyToHold, zone: bytes = b"") -> bool:
    """Return whether a row proves that a node holds a key; with ``zone``, also that it signs for that zone with it."""
    try:
        proof = msgspec.msgpack.decode(octets, type=Proof)
    except msgspec.DecodeError:
        return False
    nonce, (_, _, _, algorithm) = nonce_of(node, key.key_id), key.dnskey[:4]
    if zone and proof.preimage != proof_message(zone, algorithm, key_tag(key.dnskey), nonce):
        return False
    return not proof.error and not check_proofs([proof], nonce, key.dnskey)[0].error
