"""What the key service does with a request: checks it and who asks, has it carried out, makes errors replies."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Any

import msgspec
import structlog

from dnssecd import keyservice_protocol as wp
from dnssecd.keyservice_settings import LimitSettings
from dnssecd.signer import audit, door
from dnssecd.signer.account import ChangeLog
from dnssecd.signer.audit import AuditLog
from dnssecd.signer.consent import Consents
from dnssecd.signer.consent_rules import ConsentRules
from dnssecd.signer.deadlines import deadline_by
from dnssecd.signer.errors import BadRequest, Refused, ServiceError
from dnssecd.signer.key_admin import KeyAdmin
from dnssecd.signer.key_trash import KeyTrash
from dnssecd.signer.keystore import Keystore
from dnssecd.signer.limits import Limits, Reread, never_changes
from dnssecd.signer.now import Now
from dnssecd.signer.peers import Peer, refusal_for
from dnssecd.signer.sealed_keys import SealedKeys
from dnssecd.signer.signing import Signing
from dnssecd.signer.steady_clock import SteadyClock
from dnssecd.signer.store_trials import StoreTrials
from dnssecd.signer.stores import Stores, key_info
from dnssecd.signer.use_counts import UseCounts
from dnssecd.signer.warnings import WarningBook

log = structlog.get_logger()
USES_FLUSH_S = 60.0
#: The file beside the audit log that has the time that was trusted last.
CLOCK_NOTE = "clock"
#: Keys that are listed before other requests get their turn.
IN_TURN = 200
KEY_OCTETS = 512  # generous for the fields of fixed size and `detail`


class Service:
    """Answers requests. `lane` names the connection, for fairness between connections."""

    def __init__(
        self,
        stores: Iterable[Keystore],
        audit_log: AuditLog,
        warnings: WarningBook,
        monotonic: Callable[[], float],
        now: Now,
        limits: LimitSettings,
        consents: Consents,
        reread: Reread = never_changes,
    ) -> None:
        self._now = now
        self.limits = Limits(limits, reread, audit_log, warnings)
        self._stores = Stores(stores)
        self._audit = audit_log
        self._warnings = warnings
        self._monotonic = monotonic
        self._started_at = monotonic()
        self._uses = UseCounts(audit_log, warnings)
        self._reread = asyncio.Event()
        self._checking = asyncio.Lock()
        self._turn_of_daemon = asyncio.Lock()
        self._counters: Counter[str] = Counter()
        self._consents = consents
        deadline = deadline_by(monotonic)
        self._signing = Signing(
            self._stores, self.limits, self._uses, warnings, self._counters, deadline, now
        )
        self.at_once = self._signing.sign_at_once
        self._trash, self._changes, sealed = self._keys_admin()
        changes = self._changes
        trials = StoreTrials(self._stores, self._uses, deadline)
        self._signers: dict[type[Any], Callable[[Any, int], Awaitable[wp.Reply]]] = {
            wp.SignRequest: self._signing.sign,
            wp.ProveRequest: self._signing.prove,
            wp.ReportRequest: self._signing.take_report,
        }
        self._changing: dict[type[Any], Callable[[Any, Peer], Awaitable[wp.Reply]]] = {
            wp.GenerateRequest: changes.generate,
            wp.ImportRequest: changes.take_in,
            wp.ExportRequest: changes.export,
            wp.RestoreRequest: changes.restore,
            wp.AdoptRequest: changes.adopt,
            wp.SealRequest: sealed.seal,
            wp.OpenRequest: sealed.open,
            wp.BindRequest: changes.bind,
            wp.RemoveRequest: changes.remove,
            wp.TrashRequest: self._trash.list_keys,
            wp.RecoverRequest: self._trash.recover,
            wp.DestroyRequest: self._trash.destroy,
            wp.ConsentRequest: self._decide_consent,
        }
        self._handlers: dict[type[Any], Callable[[Any], Awaitable[wp.Reply]]] = {
            wp.HelloRequest: self._hello,
            wp.StatusRequest: self._status,
            wp.SealingKeyRequest: sealed.show,
            wp.KeysRequest: self._keys,
            wp.ConsentsRequest: self._list_consents,
            wp.AuditRequest: self._check_audit,
            wp.TestRequest: trials.test,
            wp.BenchRequest: trials.measure,
        }

    def _keys_admin(self) -> tuple[KeyTrash, KeyAdmin, SealedKeys]:
        """Return what changes keys; one lock for all of it."""
        lock, changes = asyncio.Lock(), ChangeLog(self._audit)
        rules = ConsentRules(self._consents, self.limits)
        trash = KeyTrash(
            self._stores,
            changes,
            self.limits,
            rules,
            self._consents,
            self._warnings,
            lock,
            self._now,
            SteadyClock(self._now, self._monotonic, self._audit.path.with_name(CLOCK_NOTE)),
            self._key_changed,
        )
        admin = KeyAdmin(self._stores, changes, rules, trash, lock, self._key_changed)
        return trash, admin, SealedKeys(self.limits, self._stores, changes, lock, self._key_changed)

    async def answer(self, request: wp.Request, lane: int, peer: Peer) -> wp.Reply:
        """Return the reply; failures become an ErrorReply. `peer`: who asks."""
        self._counters[f"requests.{type(request).__name__.removesuffix('Request').lower()}"] += 1
        try:
            if not isinstance(request, wp.SignRequest) or not self._signing.is_known(request):
                door.check(request)
            if why := refusal_for(peer, type(request)):
                self._uses.note("refused", request=type(request).__name__, by=peer.uid, why=why)
                raise Refused(why)
            if isinstance(request, wp.KeysRequest) and request.make:
                return await self._keys_or_new(request, lane, peer)
            if (sign := self._signers.get(type(request))) is not None:
                return await sign(request, lane)
            if (change := self._changing.get(type(request))) is not None:
                async with self._turn_of(peer):
                    reply = await change(request, peer)
                return await self._with_proofs(request, reply, lane)
            return await self._handlers[type(request)](request)
        except ServiceError as error:
            self._counters[f"errors.{error.code}"] += 1
            return wp.ErrorReply(request.id, error.fault, error.code, str(error), error.retry_in_s)
        except OSError as error:
            self._counters["errors.operator"] += 1
            message = f"{error.filename or 'the key service'}: {error.strerror or error}"
            log.error("request failed", request=type(request).__name__, error=message)
            return wp.ErrorReply(request.id, "operator", "operator", message)

    async def _with_proofs(self, request: wp.Request, reply: wp.Reply, lane: int) -> wp.Reply:
        """Add the proofs that a request for a key asks for, as if they had been asked for next."""
        if not isinstance(request, wp.GenerateRequest) or not request.nonce:
            return reply
        assert isinstance(reply, wp.KeysReply)
        proving = wp.ProveRequest(
            request.id, request.zone, reply.keys[0].id, request.nonce, request.timeout_ms
        )
        proved = await self._signing.prove(proving, lane)
        return msgspec.structs.replace(reply, proofs=proved.proofs)

    async def run(self) -> None:
        """Do what is due from time to time, until cancelled: counts, limits, the trash."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(USES_FLUSH_S):
                    await self._reread.wait()
            self._reread.clear()
            for chore in (self.limits.refresh, self._trash.empty, self._write_counts):
                try:
                    await chore()
                except Exception:  # our own fault: the other chores are done all the same
                    self._counters["errors.internal"] += 1
                    log.exception("a chore of the key service failed by our own fault")

    async def _write_counts(self) -> None:
        await self._uses.flush_in_turns()
        self._audit.note_head()

    def note_refused_peer(self, uid: int) -> None:
        """Count a user who may not connect, in the audit log: it can try as often as it likes."""
        with suppress(OSError):  # reported when the counts cannot be written either
            self._uses.note("peer refused", by=uid)

    def flush(self) -> None:
        """Write all that is only counted, at the end."""
        self._uses.flush()

    def _turn_of(self, peer: Peer) -> AbstractAsyncContextManager[None]:
        """Let the daemon change keys one at a time, so that people wait for one of its changes, not for hundreds."""
        return nullcontext() if peer.is_keeper or peer.is_officer else self._turn_of_daemon

    def limits_may_have_changed(self) -> None:
        """Have the configuration read again soon, if its file has changed."""
        self._reread.set()

    def _key_changed(self, key_id: str) -> None:
        self._uses.flush_uses_of(key_id)
        self._signing.forget(key_id)

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

    async def _keys_or_new(self, request: wp.KeysRequest, lane: int, peer: Peer) -> wp.Reply:
        """Return the keys of a zone; of one that has none, new ones with their proofs."""
        if why := refusal_for(peer, wp.GenerateRequest):
            self._uses.note("refused", request="GenerateRequest", by=peer.uid, why=why)
            raise Refused(why)
        if not request.zone or not request.nonce:
            raise BadRequest("new keys are for a zone, and proven by a nonce")
        async with self._turn_of(peer):
            keys = await self._changes.make_first(request, peer)
        if not keys:
            return await self._keys(request)
        made = []
        for key in keys:
            proving = wp.ProveRequest(request.id, request.zone, key.id, request.nonce)
            made.append((await self._signing.prove(proving, lane)).proofs)
        return wp.KeysReply(request.id, keys, made=tuple(made))

    async def _keys_of_zones(self, request: wp.KeysRequest) -> wp.Reply:
        """Return the keys of several zones, if they fit into one reply."""
        found = [
            [(store, key, zone) for store, key in self._stores.keys(zone)]
            for zone in (request.zone, *request.also)
        ]
        await asyncio.gather(*(store.look(key) for keys in found for store, key, _ in keys))
        infos = tuple(key_info(store, key, zone) for keys in found for store, key, zone in keys)
        if sum(map(_octets, infos)) > wp.FRAME_OCTETS_MAX // 2:
            return wp.KeysReply(request.id, ())
        return wp.KeysReply(request.id, infos, counts=tuple(map(len, found)))

    async def _keys(self, request: wp.KeysRequest) -> wp.Reply:
        if request.also:
            return await self._keys_of_zones(request)
        found = [pair for pair in self._stores.keys(request.zone) if pair[1].id > request.after]
        if request.zone:
            await asyncio.gather(*(store.look(key) for store, key in found))
        page: list[wp.KeyInfo] = []
        octets = 0
        for number, (store, key) in enumerate(found, 1):
            if number % IN_TURN == 0:
                await asyncio.sleep(0)  # other requests get their turn
            info = key_info(store, key, request.zone)
            octets += _octets(info)
            if page and octets > wp.FRAME_OCTETS_MAX // 2:
                break
            page.append(info)
        return wp.KeysReply(request.id, tuple(page), len(page) < len(found))

    async def _check_audit(self, request: wp.AuditRequest) -> wp.Reply:
        await self._uses.flush_in_turns()
        self._audit.look()
        async with self._checking:
            reply = await asyncio.to_thread(audit.check, self._audit.path, request.limit, self._audit.head)
        fault = self._audit.fault  # what was lost before the start does not show in what is left
        good = reply.ok and not fault
        detail = fault if reply.ok and fault else reply.detail
        return wp.AuditReply(request.id, good, detail, reply.count, reply.entries)

    async def _list_consents(self, request: wp.ConsentsRequest) -> wp.Reply:
        return wp.ConsentsReply(request.id, self._consents.all())

    async def _decide_consent(self, request: wp.ConsentRequest, peer: Peer) -> wp.Reply:
        decide = self._consents.give if request.give else self._consents.refuse
        one = decide(request.consent_id, peer)
        return wp.DoneReply(request.id, one.detail)


def _octets(info: wp.KeyInfo) -> int:
    """Return about how many octets a key takes in a reply."""
    return KEY_OCTETS + len(info.dnskey) + sum(len(zone) + 5 for zone in info.zones)
