"""What the key service does with a request: looks up the key, checks what it is for, keeps account."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from cryptography.exceptions import InvalidSignature

from dnssecd import wire_protocol as wp
from dnssecd.signer import algorithms, audit, private_formats, selftest
from dnssecd.signer.audit import AuditLog
from dnssecd.signer.errors import (
    BadRequest,
    Collision,
    Exists,
    Refused,
    ServiceError,
    UnknownKey,
    Unsupported,
)
from dnssecd.signer.keystore import Keystore
from dnssecd.signer.preimage import BadName, Permit, name_text, proof_preimage
from dnssecd.signer.sealed import Description
from dnssecd.signer.warnings import WarningBook

log = structlog.get_logger()
TIMEOUT_S_DEFAULT = 30.0
TIMEOUT_S_MAX = 600.0
USES_FLUSH_S = 60.0
KEY_OCTETS = 512  # generous for the fields of fixed size and `detail`
REFUSALS_LISTED_MAX = 50


class Service:
    """Answers requests. `lane` names the connection, for fairness between connections."""

    def __init__(
        self,
        stores: dict[str, Keystore],
        audit_log: AuditLog,
        warnings: WarningBook,
        monotonic: Callable[[], float],
    ) -> None:
        self._stores = stores
        self._audit = audit_log
        self._warnings = warnings
        self._monotonic = monotonic
        self._started_at = monotonic()
        self._permits: dict[tuple[bytes, str], tuple[Keystore, Description, Permit]] = {}
        self._uses: Counter[str] = Counter()
        self._refusals: Counter[tuple[str, str, str]] = Counter()
        self._counters: Counter[str] = Counter()
        self._changing = asyncio.Lock()
        self._handlers: dict[type[Any], Callable[[Any, int], Awaitable[wp.Reply]]] = {
            wp.HelloRequest: self._hello,
            wp.StatusRequest: self._status,
            wp.KeysRequest: self._keys,
            wp.GenerateRequest: self._generate,
            wp.ImportRequest: self._import,
            wp.AdoptRequest: self._adopt,
            wp.BindRequest: self._bind,
            wp.ReportRequest: self._report,
            wp.RemoveRequest: self._remove,
            wp.SignRequest: self._sign,
            wp.ProveRequest: self._prove,
            wp.AuditRequest: self._check_audit,
            wp.TestRequest: self._test,
            wp.BenchRequest: self._bench,
        }

    async def answer(self, request: wp.Request, lane: int) -> wp.Reply:
        """Return the reply; failures become an ErrorReply."""
        self._counters[f"requests.{type(request).__name__.removesuffix('Request').lower()}"] += 1
        try:
            handler = self._handlers.get(type(request))
            if handler is None:
                raise Unsupported(f"{type(request).__name__} is not supported")
            return await handler(request, lane)
        except ServiceError as error:
            self._counters[f"errors.{error.code}"] += 1
            return wp.ErrorReply(request.id, error.fault, error.code, str(error), error.retry_in_s)
        except OSError as error:
            self._counters["errors.operator"] += 1
            message = f"{error.filename or 'the key service'}: {error.strerror or error}"
            log.error("request failed", request=type(request).__name__, error=message)
            return wp.ErrorReply(request.id, "operator", "operator", message)

    async def run(self) -> None:
        """Write use counts to the audit log from time to time, until cancelled."""
        while True:
            await asyncio.sleep(USES_FLUSH_S)
            self.flush_uses()

    def flush_uses(self) -> None:
        """Write how often each key was used, and refused again, since the last time."""
        refusals, self._refusals = self._refusals, Counter()
        uses, self._uses = self._uses, Counter()
        try:
            for (key_id, zone, why), count in refusals.items():
                if count > 1:
                    self._audit.append("refused again", key=key_id, zone=zone, why=why, times=count - 1)
            for key_id in list(uses):
                self._audit.append("used", key=key_id, signatures=uses[key_id])
                del uses[key_id]
        except OSError as error:
            self._uses.update(uses)
            self._warnings.add("audit log failing", str(self._audit.path), str(error))
            return
        self._warnings.clear("audit log failing", str(self._audit.path))

    # Requests that change nothing

    async def _hello(self, request: wp.HelloRequest, lane: int) -> wp.Reply:
        if request.version != wp.PROTOCOL_VERSION:
            raise BadRequest(f"protocol version {request.version}, this service speaks {wp.PROTOCOL_VERSION}")
        return wp.HelloReply(request.id, wp.PROTOCOL_VERSION, os.getpid())

    async def _status(self, request: wp.StatusRequest, lane: int) -> wp.Reply:
        return wp.StatusReply(
            request.id,
            os.getpid(),
            self._monotonic() - self._started_at,
            tuple(store.status() for store in self._stores.values()),
            self._warnings.listed(),
            dict(self._counters),
            self._audit.head,
        )

    async def _keys(self, request: wp.KeysRequest, lane: int) -> wp.Reply:
        found = sorted(
            (
                (key.id, store, key)
                for store in self._stores.values()
                for key in (store.registry.of_zone(request.zone) if request.zone else store.registry.all())
                if key.id > request.after
            ),
            key=lambda item: item[0],
        )
        if request.zone:
            await asyncio.gather(*(store.look(key) for _, store, key in found))
        page: list[wp.KeyInfo] = []
        octets = 0
        for _, store, key in found:
            octets += KEY_OCTETS + len(key.dnskey) + sum(len(zone) + 5 for zone in key.zones)
            if page and octets > wp.FRAME_OCTETS_MAX // 2:
                break
            page.append(self._info(store, key))
        return wp.KeysReply(request.id, tuple(page), len(page) < len(found))

    async def _check_audit(self, request: wp.AuditRequest, lane: int) -> wp.Reply:
        self.flush_uses()
        reply = await asyncio.to_thread(audit.check, self._audit.path, request.limit)
        return wp.AuditReply(request.id, reply.ok, reply.detail, reply.count, reply.entries)

    # Signing

    async def _sign(self, request: wp.SignRequest, lane: int) -> wp.Reply:
        store, key, permit = self._permit(request.zone, request.key_id)
        preimages = request.preimages
        if len(preimages) > wp.BATCH_PREIMAGES_MAX:
            raise BadRequest(f"{len(preimages)} preimages in one request; at most {wp.BATCH_PREIMAGES_MAX}")
        check = permit.check
        for preimage in preimages:
            if why := check(preimage):
                self._refuse(key.id, name_text(request.zone), why)
                raise Refused(f"key {key.id} is not for that: {why}")
        signatures = await store.submit(lane, key, preimages, self._deadline(request.timeout_ms))
        self._uses[key.id] += len(signatures)
        self._counters["signatures"] += len(signatures)
        return wp.SignReply(request.id, signatures)

    def _refuse(self, key_id: str, zone: str, why: str) -> None:
        """Count, report and audit; repetitions are written with the use counts, so they cannot fill the disk."""
        self._counters["refusals"] += 1
        case = (key_id, zone, why) if len(self._refusals) < REFUSALS_LISTED_MAX else (key_id, "", "others")
        self._refusals[case] += 1
        if self._refusals[case] == 1:
            self._audit.append("refused", key=case[0], zone=case[1], why=case[2])
        self._warnings.add("sign refused", key_id, f"{zone}: {why}", firing=False)

    def _permit(self, zone: bytes, key_id: str) -> tuple[Keystore, Description, Permit]:
        known = self._permits.get((zone, key_id))
        if known is not None:
            return known
        store, key = self._find(key_id)
        if zone not in key.zones:
            self._refuse(key.id, _zone_text(zone), "not bound to the zone")
            raise UnknownKey(f"key {key_id} is not bound to {_zone_text(zone)}")
        permit = Permit(zone, key.role, key.algorithm, *algorithms.tags(key.dnskey))
        self._permits[zone, key_id] = store, key, permit
        return store, key, permit

    async def _prove(self, request: wp.ProveRequest, lane: int) -> wp.Reply:
        if not wp.NONCE_OCTETS_MIN <= len(request.nonce) <= wp.NONCE_OCTETS_MAX:
            raise BadRequest(f"a nonce has {wp.NONCE_OCTETS_MIN} to {wp.NONCE_OCTETS_MAX} octets")
        store, key, _ = self._permit(request.zone, request.key_id)
        preimage = proof_preimage(request.zone, key.algorithm, algorithms.key_tag(key.dnskey), request.nonce)
        proofs = await store.prove(key, preimage, self._deadline(request.timeout_ms))
        failed = sum(bool(proof.error) for proof in proofs)
        self._audit.append("proved", key=key.id, tokens=len(proofs), failed=failed)
        return wp.ProveReply(request.id, tuple(proofs))

    # Requests that change keys, one at a time

    async def _generate(self, request: wp.GenerateRequest, lane: int) -> wp.Reply:
        zone = _zone_text(request.zone)
        store = self._store(request.store)
        bits = algorithms.check_bits(algorithms.algorithm_of(request.algorithm), request.bits)
        async with self._changing:
            for key in store.registry.of_zone(request.zone):
                if request.idempotency and key.idempotency == request.idempotency:
                    return wp.KeysReply(request.id, (self._info(store, key),))
            taken = self._tags(request.zone)
            key = await store.generate(
                request.zone, request.role, request.algorithm, bits, request.idempotency, taken
            )
            tag = algorithms.key_tag(key.dnskey)
            self._audit.append(
                "generated",
                key=key.id,
                zone=zone,
                role=key.role,
                algorithm=key.algorithm,
                tag=tag,
                store=store.name,
            )
        return wp.KeysReply(request.id, (self._info(store, key),))

    async def _import(self, request: wp.ImportRequest, lane: int) -> wp.Reply:
        zone = _zone_text(request.zone)
        store = self._store(request.store)
        private = private_formats.load(request.private, request.algorithm)
        async with self._changing:
            public = algorithms.dnskey_rdata(0, request.algorithm, private.public_key())[4:]
            for other in self._stores.values():
                if any(known.dnskey[4:] == public for known in other.registry.all()):
                    raise Exists(f"that key is in key store {other.name} already")
            taken = self._tags(request.zone)
            key = await store.take_in(
                request.zone, request.role, request.algorithm, private, request.created, taken
            )
            tag = algorithms.key_tag(key.dnskey)
            self._audit.append("imported", key=key.id, zone=zone, role=key.role, tag=tag, store=store.name)
        return wp.KeysReply(request.id, (self._info(store, key),))

    async def _adopt(self, request: wp.AdoptRequest, lane: int) -> wp.Reply:
        zone = _zone_text(request.zone)
        store = self._store(request.store)
        algorithms.algorithm_of(request.algorithm)
        async with self._changing:
            key = await store.adopt(
                request.zone,
                request.role,
                request.algorithm,
                request.cka_id,
                request.label,
                self._tags(request.zone),
            )
            tag = algorithms.key_tag(key.dnskey)
            self._audit.append("adopted", key=key.id, zone=zone, role=key.role, tag=tag, store=store.name)
        return wp.KeysReply(request.id, (self._info(store, key),))

    async def _bind(self, request: wp.BindRequest, lane: int) -> wp.Reply:
        zone = _zone_text(request.zone)
        async with self._changing:
            store, key = self._find(request.key_id)
            if request.zone not in key.zones:
                if not self._tags(request.zone).isdisjoint(algorithms.tags(key.dnskey)):
                    raise Collision(f"another key of {zone} has the same key tag")
                key = await store.rebind(key, (*key.zones, request.zone))
                self._forget_permits(key.id)
                self._audit.append("bound", key=key.id, zone=zone)
        return wp.KeysReply(request.id, (self._info(store, key),))

    async def _remove(self, request: wp.RemoveRequest, lane: int) -> wp.Reply:
        zone = _zone_text(request.zone)
        async with self._changing:
            store, key = self._find(request.key_id)
            if request.zone not in key.zones:
                raise UnknownKey(f"key {key.id} is not bound to {zone}")
            self.flush_uses()
            rest = tuple(bound for bound in key.zones if bound != request.zone)
            if rest:
                await store.rebind(key, rest)
                self._audit.append("unbound", key=key.id, zone=zone)
            else:
                await store.destroy(key)
                self._audit.append("destroyed", key=key.id, zone=zone, store=store.name)
            self._forget_permits(key.id)
        return wp.DoneReply(request.id, f"unbound from {zone}" if rest else "destroyed")

    async def _report(self, request: wp.ReportRequest, lane: int) -> wp.Reply:
        store, key, _ = self._permit(request.zone, request.key_id)
        try:
            algorithms.verifier(key.dnskey)(request.signature, request.preimage)
        except InvalidSignature:
            done = store.accuse(key, request.preimage, request.signature)
            self._audit.append("wrong signature", key=key.id, done=done, store=store.name)
            return wp.DoneReply(request.id, done)
        raise BadRequest(f"that signature verifies with the public key of {key.id} on record")

    async def _test(self, request: wp.TestRequest, lane: int) -> wp.Reply:
        store = self._store(request.store)
        async with self._changing:
            deadline = self._deadline(request.timeout_ms)
            readmitted = await store.try_evicted(deadline)
            for token in readmitted:
                self._audit.append("token readmitted", token=token, store=store.name)
            detail = await selftest.test(store, request.algorithm, deadline)
            detail += f"; used again: {', '.join(readmitted)}" if readmitted else ""
        return wp.DoneReply(request.id, detail)

    async def _bench(self, request: wp.BenchRequest, lane: int) -> wp.Reply:
        store = self._store(request.store)
        deadline = self._deadline(request.timeout_ms)
        async with self._changing:
            lines = await selftest.bench(store, request, deadline, self._monotonic)
        return wp.BenchReply(request.id, tuple(lines))

    # Helpers

    def _deadline(self, timeout_ms: int) -> float:
        timeout_s = timeout_ms / 1000 if timeout_ms > 0 else TIMEOUT_S_DEFAULT
        return self._monotonic() + min(timeout_s, TIMEOUT_S_MAX)

    def _store(self, name: str) -> Keystore:
        if not name and len(self._stores) == 1:
            return next(iter(self._stores.values()))
        if name not in self._stores:
            have = ", ".join(self._stores) or "none"
            raise BadRequest(f"no key store {name!r} is configured; there are: {have}")
        return self._stores[name]

    def _find(self, key_id: str) -> tuple[Keystore, Description]:
        for store in self._stores.values():
            key = store.registry.get(key_id)
            if key is not None:
                return store, key
        raise UnknownKey(f"no key {key_id[:64]!r} is known")

    def _tags(self, zone: bytes) -> frozenset[int]:
        """All key tags, also with the REVOKE bit, of the zone's keys in every store."""
        keys = (key for store in self._stores.values() for key in store.registry.of_zone(zone))
        return frozenset(itertools.chain.from_iterable(algorithms.tags(key.dnskey) for key in keys))

    def _forget_permits(self, key_id: str) -> None:
        for place in [place for place in self._permits if place[1] == key_id]:
            del self._permits[place]

    def _info(self, store: Keystore, key: Description) -> wp.KeyInfo:
        tag, revoked_tag = algorithms.tags(key.dnskey)
        state, detail = store.state(key)
        return wp.KeyInfo(
            id=key.id,
            store=store.name,
            zones=key.zones,
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


def _zone_text(zone: bytes) -> str:
    try:
        return name_text(zone)
    except BadName as error:
        raise BadRequest(f"zone name: {error}") from None
