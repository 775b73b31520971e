"""The trash of all key stores: removed keys are kept for a time, restored, or destroyed.

The time is the policy's `destroy_after`, as the key service itself has read it, by its own clock. When that clock
jumps, nothing is destroyed for a day: a wrong clock does not destroy keys.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime

from dnssecd import keyservice_protocol as wp
from dnssecd.signer.account import ChangeLog
from dnssecd.signer.consent import Consents
from dnssecd.signer.consent_rules import ConsentRules, describe_act
from dnssecd.signer.errors import Busy, ServiceError
from dnssecd.signer.key_file import Description
from dnssecd.signer.keystore import Keystore
from dnssecd.signer.limits import Limits
from dnssecd.signer.now import Now
from dnssecd.signer.peers import Peer
from dnssecd.signer.steady_clock import SteadyClock
from dnssecd.signer.stores import Stores, key_info
from dnssecd.signer.trash import RECORDS_MAX, Trashed
from dnssecd.signer.warnings import WarningBook

#: The most that is destroyed in one round, and that consent is asked for: other work waits for its end.
ROUND_MAX = 100
PAGE_KEYS = 1000


class KeyTrash:
    """See the module. `lock` is held by those who change keys; `changed(key id)` is called for keys that are gone."""

    def __init__(
        self,
        stores: Stores,
        changes: ChangeLog,
        limits: Limits,
        rules: ConsentRules,
        consents: Consents,
        warnings: WarningBook,
        lock: asyncio.Lock,
        now: Now,
        clock: SteadyClock,
        changed: Callable[[str], None],
    ) -> None:
        self._stores, self._changes, self._limits = stores, changes, limits
        self._rules, self._consents, self._warnings = rules, consents, warnings
        self._lock = lock
        self._now = now
        self._clock = clock
        self._changed = changed
        self._tried_last = (0, "")

    async def remove(self, request_id: int, store: Keystore, key: Description, peer: Peer) -> wp.Reply:
        """Put a key into the trash; destroy it at once where its policy has no trash. The lock is held."""
        wait_s = self._limits.of_zones(key.zones).destroy_after_s
        if wait_s == 0:
            with self._rules.for_key("destroy", key, peer):
                return wp.DoneReply(request_id, await self._destroy(store, key, peer.uid))
        trash = store.registry.trash
        if len(trash) >= RECORDS_MAX:
            raise Busy(f"{len(trash)} keys are in the trash of key store {store.name} already")
        removed_at = int(self._now())
        with self._changes.change("removed", store, peer.uid) as account:
            account(key)
            trash.put(Trashed(key, removed_at, peer.uid))
            try:
                await store.put_away(key)
            except BaseException:
                trash.drop(key.id)
                raise
        self._changed(key.id)
        until = removed_at + wait_s
        detail = f"in the trash until {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC, then destroyed"
        return wp.TrashedReply(request_id, detail, destroyed_at=until)

    async def list_keys(self, request: wp.TrashRequest, peer: Peer) -> wp.Reply:
        """List what is in the trash."""
        found = [pair for pair in self._stores.trashed() if pair[1].key.id > request.after]
        page = tuple(self._describe(store, record) for store, record in found[:PAGE_KEYS])
        return wp.TrashReply(request.id, page, len(page) < len(found))

    def _describe(self, store: Keystore, record: Trashed) -> wp.TrashedKey:
        return wp.TrashedKey(
            key=key_info(store, record.key, record.key.zones[0]),
            removed_at=record.removed_at,
            removed_by=record.removed_by,
            destroyed_at=self._due_at(record),
            two_person=self._rules.two_person(record.key.zones),
        )

    def _due_at(self, record: Trashed) -> int:
        return record.removed_at + self._limits.of_zones(record.key.zones).destroy_after_s

    async def recover(self, request: wp.RecoverRequest, peer: Peer) -> wp.Reply:
        """Take a key out of the trash."""
        async with self._lock:
            store, record = self._stores.find_trashed(request.key_id)
            key = record.key
            with (
                self._rules.for_key("recover", key, peer),
                self._changes.change("recovered", store, peer.uid) as account,
            ):
                account(key)
                await store.bring_back(key)
                store.registry.trash.drop(key.id)
            self._consents.settle("destroy", key.id)
            self._changed(key.id)
        return wp.KeysReply(request.id, (key_info(store, key),))

    async def destroy(self, request: wp.DestroyRequest, peer: Peer) -> wp.Reply:
        """Destroy a key that is in the trash, before its time."""
        async with self._lock:
            store, record = self._stores.find_trashed(request.key_id)
            with self._rules.for_key("destroy", record.key, peer):
                done = await self._destroy(store, record.key, peer.uid)
        return wp.DoneReply(request.id, done)

    async def empty(self) -> None:
        """Destroy the keys whose time is over; where two persons are needed, ask for consent and wait."""
        if not self._clock.is_steady():
            return
        now = self._now()
        due = [pair for pair in self._stores.trashed() if self._due_at(pair[1]) <= now]
        for store, record in self._next_of(due):
            self._tried_last = _place(record)
            async with self._lock:
                if store.registry.trash.get(record.key.id) != record:
                    continue  # restored, or destroyed, while this waited
                try:
                    await self._destroy_due(store, record)
                    self._warnings.clear("key not destroyed", record.key.id)
                except (ServiceError, OSError) as error:
                    detail = f"its time in the trash is over, but it cannot be destroyed: {error}"
                    self._warnings.add("key not destroyed", record.key.id, detail)

    def _next_of(self, due: list[tuple[Keystore, Trashed]]) -> list[tuple[Keystore, Trashed]]:
        """Return the keys of one round, the oldest first: those that must wait do not hold up the others."""
        due.sort(key=lambda pair: _place(pair[1]))
        start = bisect_right(due, self._tried_last, key=lambda pair: _place(pair[1]))
        return [*due[start:], *due[:start]][:ROUND_MAX]

    async def _destroy_due(self, store: Keystore, record: Trashed) -> None:
        """Destroy a key whose time is over, in the name of the user who removed it."""
        key, by = record.key, record.removed_by
        if self._rules.two_person(key.zones) and not self._consents.has("destroy", key.id, by):
            self._consents.ask("destroy", key.id, describe_act("destroy", key), by)
            return
        await self._destroy(store, key, by)

    async def _destroy(self, store: Keystore, key: Description, by: int) -> str:
        with self._changes.change("destroyed", store, by) as account:
            account(key)
            done = await store.destroy(key)
            store.registry.trash.drop(key.id)
        self._consents.settle("destroy", key.id)
        self._changed(key.id)
        return done


def _place(record: Trashed) -> tuple[int, str]:
    return record.removed_at, record.key.id
