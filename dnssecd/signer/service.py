"""What the key service does with a request: looks up the key, checks what it is for, keeps account."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog
from cryptography.exceptions import InvalidSignature

from dnssecd import keyservice_protocol as wp
from dnssecd.signer import algorithms, audit, door
from dnssecd.signer.audit import AuditLog
from dnssecd.signer.errors import BadRequest, Busy, Refused, ServiceError, UnknownKey
from dnssecd.signer.key_admin import Custody
from dnssecd.signer.key_file import Description
from dnssecd.signer.keystore import AT_ONCE_MAX, Keystore
from dnssecd.signer.preimage import Permit, name_text, proof_preimage, zone_text
from dnssecd.signer.stores import Stores, key_info
from dnssecd.signer.warnings import WarningBook

log = structlog.get_logger()
TIMEOUT_S_DEFAULT = 30.0
TIMEOUT_S_MAX = 600.0
USES_FLUSH_S = 60.0
KEY_OCTETS = 512  # generous for the fields of fixed size and `detail`
REPEATED_LISTED_MAX = 50
#: Private keys go out, and come in, by root and the service's own user.
KEEPERS_ONLY = (wp.ExportRequest, wp.ImportRequest, wp.RestoreRequest)


class Service:
    """Answers requests. `lane` names the connection, for fairness between connections."""

    def __init__(
        self,
        stores: Iterable[Keystore],
        audit_log: AuditLog,
        warnings: WarningBook,
        monotonic: Callable[[], float],
        validity_s_max: int = wp.VALIDITY_S_MAX,
    ) -> None:
        self._validity_s_max = validity_s_max
        self._stores = Stores(stores)
        self._audit = audit_log
        self._warnings = warnings
        self._monotonic = monotonic
        self._started_at = monotonic()
        self._permits: dict[tuple[bytes, str], tuple[Keystore, Description, Permit]] = {}
        self._uses: Counter[str] = Counter()
        self._repeated: Counter[tuple[str, tuple[tuple[str, str | int], ...]]] = Counter()
        self._trial = asyncio.Lock()
        self._measuring = asyncio.Lock()
        self._checking = asyncio.Lock()
        self._counters: Counter[str] = Counter()
        self._custody = Custody(self._stores, audit_log, self._key_changed)
        self._signing: dict[type[Any], Callable[[Any, int], Awaitable[wp.Reply]]] = {
            wp.SignRequest: self._sign,
            wp.ProveRequest: self._prove,
        }
        self._handlers: dict[type[Any], Callable[[Any], Awaitable[wp.Reply]]] = {
            wp.HelloRequest: self._hello,
            wp.StatusRequest: self._status,
            wp.KeysRequest: self._keys,
            wp.GenerateRequest: self._custody.generate,
            wp.ImportRequest: self._custody.take_in,
            wp.ExportRequest: self._custody.export,
            wp.RestoreRequest: self._custody.restore,
            wp.AdoptRequest: self._custody.adopt,
            wp.RemoveRequest: self._custody.remove,
            wp.ReportRequest: self._report,
            wp.AuditRequest: self._check_audit,
            wp.TestRequest: self._test,
            wp.BenchRequest: self._bench,
        }

    async def answer(self, request: wp.Request, lane: int, *, keeper: bool) -> wp.Reply:
        """Return the reply; failures become an ErrorReply. `keeper`: the peer may have private keys."""
        self._counters[f"requests.{type(request).__name__.removesuffix('Request').lower()}"] += 1
        try:
            if not isinstance(request, wp.SignRequest) or (request.zone, request.key_id) not in self._permits:
                door.check(request)
            if isinstance(request, KEEPERS_ONLY) and not keeper:
                raise Refused("private keys are exchanged with root and the key service's own user only")
            if isinstance(request, wp.BindRequest):
                return await self._custody.bind(request, keeper=keeper)
            if (sign := self._signing.get(type(request))) is not None:
                return await sign(request, lane)
            return await self._handlers[type(request)](request)
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
            self._flush_repeated()
            self._audit.note_head()

    def _often(self, event: str, **fields: str | int) -> None:
        """Write what a client can have happen again and again: the first at once, the others as a number a minute."""
        case = event, tuple(fields.items())
        if case not in self._repeated and len(self._repeated) >= REPEATED_LISTED_MAX:
            case = event, (("others", 1),)
        self._repeated[case] += 1
        if self._repeated[case] == 1:
            self._audit.append(event, **dict(case[1]))

    def _flush_repeated(self) -> None:
        repeated, self._repeated = self._repeated, Counter()
        try:
            for (event, fields), count in repeated.items():
                if count > 1:
                    self._audit.append(f"{event} again", **dict(fields), times=count - 1)
        except OSError as error:
            self._warnings.add("audit log failing", str(self._audit.path), str(error))

    def flush(self) -> None:
        """Write all that is only counted, at the end."""
        self._flush_repeated()
        self.flush_uses()

    def flush_uses(self) -> None:
        """Write how often each key was used since the last time."""
        uses, self._uses = self._uses, Counter()
        try:
            for key_id in list(uses):
                self._audit.append("used", key=key_id, signatures=uses[key_id])
                del uses[key_id]
        except OSError as error:
            self._uses.update(uses)
            self._warnings.add("audit log failing", str(self._audit.path), str(error))
            return
        self._warnings.clear("audit log failing", str(self._audit.path))

    # Requests that change nothing

    async def _hello(self, request: wp.HelloRequest) -> wp.Reply:
        if request.version != wp.PROTOCOL_VERSION:
            raise BadRequest(f"protocol version {request.version}, this service speaks {wp.PROTOCOL_VERSION}")
        return wp.HelloReply(request.id, wp.PROTOCOL_VERSION, os.getpid())

    async def _status(self, request: wp.StatusRequest) -> wp.Reply:
        return wp.StatusReply(
            request.id,
            os.getpid(),
            self._monotonic() - self._started_at,
            tuple(store.status() for store in self._stores),
            self._warnings.listed(),
            dict(self._counters),
            self._audit.head,
        )

    async def _keys(self, request: wp.KeysRequest) -> wp.Reply:
        found = [pair for pair in self._stores.keys(request.zone) if pair[1].id > request.after]
        if request.zone:
            await asyncio.gather(*(store.look(key) for store, key in found))
        page: list[wp.KeyInfo] = []
        octets = 0
        for store, key in found:
            info = key_info(store, key, request.zone)
            octets += KEY_OCTETS + len(key.dnskey) + sum(len(zone) + 5 for zone in info.zones)
            if page and octets > wp.FRAME_OCTETS_MAX // 2:
                break
            page.append(info)
        return wp.KeysReply(request.id, tuple(page), len(page) < len(found))

    async def _check_audit(self, request: wp.AuditRequest) -> wp.Reply:
        self.flush()
        self._audit.look()
        async with self._checking:
            reply = await asyncio.to_thread(audit.check, self._audit.path, request.limit, self._audit.head)
        fault = self._audit.fault  # what was lost before the start does not show in what is left
        good = reply.ok and not fault
        detail = fault if reply.ok and fault else reply.detail
        return wp.AuditReply(request.id, good, detail, reply.count, reply.entries)

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
        self._signed(key.id, len(signatures))
        return wp.SignReply(request.id, signatures)

    def at_once(self, request: wp.Request) -> wp.Reply | None:
        """Return the reply that nobody has to wait for: a few signatures, nothing wrong. None: see :meth:`answer`."""
        if not isinstance(request, wp.SignRequest):
            return None
        known = self._permits.get((request.zone, request.key_id))
        if known is None or len(request.preimages) > AT_ONCE_MAX:
            return None
        store, key, permit = known
        if any(map(permit.check, request.preimages)):
            return None
        signatures = store.sign_at_once(key, request.preimages)
        if signatures is None:
            return None
        self._counters["requests.sign"] += 1
        self._signed(key.id, len(signatures))
        return wp.SignReply(request.id, signatures)

    def _signed(self, key_id: str, number: int) -> None:
        self._uses[key_id] += number
        self._counters["signatures"] += number

    def _refuse(self, key_id: str, zone: str, why: str) -> None:
        """Count, report and audit."""
        self._counters["refusals"] += 1
        self._often("refused", key=key_id, zone=zone, why=why)
        self._warnings.add("sign refused", key_id, f"{zone}: {why}", firing=False)

    def _permit(self, zone: bytes, key_id: str) -> tuple[Keystore, Description, Permit]:
        known = self._permits.get((zone, key_id))
        if known is not None:
            return known
        store, key = self._stores.find(key_id)
        if zone not in key.zones:
            self._refuse(key.id, zone_text(zone), "not bound to the zone")
            raise UnknownKey(f"key {key_id} is not bound to {zone_text(zone)}")
        permit = Permit(zone, key.role, key.algorithm, *algorithms.tags(key.dnskey), self._validity_s_max)
        self._permits[zone, key_id] = store, key, permit
        return store, key, permit

    async def _prove(self, request: wp.ProveRequest, lane: int) -> wp.Reply:
        store, key, _ = self._permit(request.zone, request.key_id)
        preimage = proof_preimage(request.zone, key.algorithm, algorithms.key_tag(key.dnskey), request.nonce)
        proofs = await store.prove(key, preimage, self._deadline(request.timeout_ms))
        failed = sum(bool(proof.error) for proof in proofs)
        self._often("proved", key=key.id, tokens=len(proofs), failed=failed)
        return wp.ProveReply(request.id, tuple(proofs))

    # Requests about stores

    async def _report(self, request: wp.ReportRequest) -> wp.Reply:
        store, key, _ = self._permit(request.zone, request.key_id)
        try:
            algorithms.verifier(key.dnskey)(request.signature, request.preimage)
        except InvalidSignature:
            done = store.accuse(key, request.preimage, request.signature)
            self._often("wrong signature", key=key.id, done=done, store=store.name)
            return wp.DoneReply(request.id, done)
        raise BadRequest(f"that signature verifies with the public key of {key.id} on record")

    async def _test(self, request: wp.TestRequest) -> wp.Reply:
        store = self._stores.named(request.store)
        async with self._trial:
            deadline = self._deadline(request.timeout_ms)
            readmitted = await store.try_evicted(deadline)
            for token in readmitted:
                self._often("token readmitted", token=token, store=store.name)
            self._often("tested", store=store.name, algorithm=request.algorithm)
            detail = await store.trial(request.algorithm, deadline)
            detail += f"; used again: {', '.join(readmitted)}" if readmitted else ""
        return wp.DoneReply(request.id, detail)

    async def _bench(self, request: wp.BenchRequest) -> wp.Reply:
        store = self._stores.named(request.store)
        if self._measuring.locked():
            raise Busy("a measurement is under way; wait for its end", retry_in_s=1.0)
        async with self._measuring:
            self._often("measured", store=store.name, algorithm=request.algorithm)
            line = await store.bench(request, self._deadline(request.timeout_ms))
        return wp.BenchReply(request.id, (line,))

    def _deadline(self, timeout_ms: int) -> float:
        timeout_s = timeout_ms / 1000 if timeout_ms > 0 else TIMEOUT_S_DEFAULT
        return self._monotonic() + min(timeout_s, TIMEOUT_S_MAX)

    def _key_changed(self, key_id: str) -> None:
        self.flush_uses()
        for place in [place for place in self._permits if place[1] == key_id]:
            del self._permits[place]
