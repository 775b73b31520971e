"""Signing: looks up the key, checks what it is for and how long the signature is valid, counts every use."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import repeat

from cryptography.exceptions import InvalidSignature

from dnssecd import keyservice_protocol as wp
from dnssecd.signer import algorithms
from dnssecd.signer.deadlines import Deadline
from dnssecd.signer.errors import BadRequest, Busy, Refused, UnknownKey
from dnssecd.signer.key_file import Description
from dnssecd.signer.keystore import AT_ONCE_MAX, Keystore
from dnssecd.signer.limits import Limits
from dnssecd.signer.now import Now
from dnssecd.signer.preimage import Permit, name_text, proof_preimage, zone_text
from dnssecd.signer.stores import Stores
from dnssecd.signer.use_counts import UseCounts
from dnssecd.signer.warnings import WarningBook

#: Preimages of this many octets are checked before other requests get their turn.
IN_TURN_OCTETS = 64 * 1024
#: How often they are checked, if key or limits change meanwhile.
CHECKS_MAX = 4
#: Zones and keys whose checks are kept, the oldest go first: a KiB for each zone. They are made again in some 20 us.
PERMITS_MAX = 1024


class Signing:
    """See the module. `counters` are those of the service's status."""

    def __init__(
        self,
        stores: Stores,
        limits: Limits,
        uses: UseCounts,
        warnings: WarningBook,
        counters: Counter[str],
        deadline: Deadline,
        now: Now,
    ) -> None:
        self._stores, self._limits, self._uses, self._warnings = stores, limits, uses, warnings
        self._counters = counters
        self._deadline = deadline
        self._now = now
        self._permits: dict[tuple[bytes, str], tuple[Keystore, Description, Permit]] = {}
        self._limits_seen = limits.generation
        #: Held while a large request is checked: one at a time.
        self._turn = asyncio.Lock()

    def is_known(self, request: wp.SignRequest) -> bool:
        """Return whether zone and key of a request have been checked before."""
        return (request.zone, request.key_id) in self._permits

    def forget(self, key_id: str) -> None:
        """Look a key up again: its zones have changed, or it is gone."""
        for place in [place for place in self._permits if place[1] == key_id]:
            del self._permits[place]

    async def sign(self, request: wp.SignRequest, lane: int) -> wp.Reply:
        """Sign all preimages of a request, or none."""
        store, key, permit = self._permit(request.zone, request.key_id)
        preimages = request.preimages
        if len(preimages) > wp.BATCH_PREIMAGES_MAX:
            raise BadRequest(f"{len(preimages)} preimages in one request; at most {wp.BATCH_PREIMAGES_MAX}")
        if sum(map(len, preimages)) > IN_TURN_OCTETS:
            async with self._turn:
                store, key = await self._check_in_turns(request)
        elif any(map(permit.check, preimages, repeat(int(self._now())))):
            await self._limits.refresh()  # a new configuration may have a higher ceiling
            store, key, permit = self._permit(request.zone, request.key_id)
            self._must_be_allowed(request, permit)
        signatures = await store.submit(lane, key, preimages, self._deadline(request.timeout_ms))
        self._count(key.id, len(signatures))
        return wp.SignReply(request.id, signatures)

    async def _check_in_turns(self, request: wp.SignRequest) -> tuple[Keystore, Description]:
        """Check a large request; others are answered in between. Return the store and the key. Raise ServiceError."""
        refreshed = False
        for _ in range(CHECKS_MAX):
            store, key, permit = self._permit(request.zone, request.key_id)
            why = await self._why_not(permit, request.preimages)
            if why and not refreshed:
                await self._limits.refresh()  # a new configuration may have a higher ceiling
                refreshed = True
            elif permit is self._permit(request.zone, request.key_id)[2]:  # key and limits are still the same
                if why:
                    raise self._refusal(request, why)
                return store, key
        raise Busy(f"key {request.key_id}, or what it may sign, changes all the time", retry_in_s=1.0)

    async def _why_not(self, permit: Permit, preimages: list[bytes]) -> str:
        octets = 0
        for preimage in preimages:
            if why := permit.check(preimage, int(self._now())):
                return why
            octets += len(preimage)
            if octets > IN_TURN_OCTETS:
                octets = 0
                await asyncio.sleep(0)
        return ""

    def _must_be_allowed(self, request: wp.SignRequest, permit: Permit) -> None:
        now = int(self._now())
        for preimage in request.preimages:
            if why := permit.check(preimage, now):
                raise self._refusal(request, why)

    def _refusal(self, request: wp.SignRequest, why: str) -> Refused:
        self._refuse(request.key_id, name_text(request.zone), why)
        return Refused(f"key {request.key_id} is not for that: {why}")

    def sign_at_once(self, request: wp.Request) -> wp.Reply | None:
        """Return the reply that can be given at once: a few signatures, nothing wrong. None: see :meth:`sign`."""
        if not isinstance(request, wp.SignRequest) or self._limits_seen != self._limits.generation:
            return None
        known = self._permits.get((request.zone, request.key_id))
        if known is None or len(request.preimages) > AT_ONCE_MAX:
            return None
        store, key, permit = known
        if any(map(permit.check, request.preimages, repeat(int(self._now())))):
            return None
        signatures = store.sign_at_once(key, request.preimages)
        if signatures is None:
            return None
        self._counters["requests.sign"] += 1
        self._count(key.id, len(signatures))
        return wp.SignReply(request.id, signatures)

    async def prove(self, request: wp.ProveRequest, lane: int) -> wp.ProveReply:
        """Have every token that should hold a key sign a nonce."""
        store, key, _ = self._permit(request.zone, request.key_id)
        preimage = proof_preimage(request.zone, key.algorithm, algorithms.key_tag(key.dnskey), request.nonce)
        proofs = await store.prove(key, preimage, self._deadline(request.timeout_ms))
        failed = sum(bool(proof.error) for proof in proofs)
        self._uses.note("proved", key=key.id, tokens=len(proofs), failed=failed)
        return wp.ProveReply(request.id, tuple(proofs))

    async def take_report(self, request: wp.ReportRequest, lane: int) -> wp.Reply:
        """Find out which token made a signature that does not verify."""
        store, key, _ = self._permit(request.zone, request.key_id)
        try:
            algorithms.verifier(key.dnskey)(request.signature, request.preimage)
        except InvalidSignature:
            done = store.accuse(key, request.preimage, request.signature)
            self._uses.note("wrong signature", key=key.id, done=done.detail, store=store.name)
            return wp.DoneReply(request.id, done.detail, done.evicted)
        raise BadRequest(f"that signature verifies with the public key of {key.id} on record")

    def _permit(self, zone: bytes, key_id: str) -> tuple[Keystore, Description, Permit]:
        if self._limits_seen != self._limits.generation:
            self._limits_seen = self._limits.generation
            self._permits.clear()
        known = self._permits.get((zone, key_id))
        if known is not None:
            return known
        store, key = self._stores.find(key_id)
        if zone not in key.zones:
            self._refuse(key.id, zone_text(zone), "not bound to the zone")
            raise UnknownKey(f"key {key_id} is not bound to {zone_text(zone)}")
        ceiling = self._limits.of_zone(zone).validity_s_max
        permit = Permit(zone, key.role, key.algorithm, *algorithms.tags(key.dnskey), ceiling)
        if len(self._permits) >= PERMITS_MAX:
            del self._permits[next(iter(self._permits))]
        self._permits[zone, key_id] = store, key, permit
        return store, key, permit

    def _count(self, key_id: str, number: int) -> None:
        self._uses.note_signatures(key_id, number)
        self._counters["signatures"] += number

    def _refuse(self, key_id: str, zone: str, why: str) -> None:
        """Count, report and audit."""
        self._counters["refusals"] += 1
        self._uses.note("refused", key=key_id, zone=zone, why=why)
        self._warnings.add("sign refused", key_id, f"{zone}: {why}", firing=False)
