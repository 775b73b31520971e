"""Several keys that are made together: durable by one sync of the audit log and one of the directory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from dnssecd.signer import algorithms
from dnssecd.signer.account import ChangeLog
from dnssecd.signer.key_file import Description
from dnssecd.signer.keystore import AccountAll, Keystore, Order


@runtime_checkable
class MakesTogether(Protocol):
    """A key store that makes several keys in one go."""

    async def generate_all(
        self, orders: Sequence[Order], taken: frozenset[int], account: AccountAll
    ) -> list[Description]:
        """Make keys whose tags differ from one another and are not in `taken`, in the order of `orders`."""


async def make_all(
    changes: ChangeLog, store: Keystore, orders: Sequence[Order], taken: frozenset[int], by: int
) -> list[Description]:
    """Make keys, in the order of `orders`: together if the store can, else one after another."""
    if isinstance(store, MakesTogether):
        with changes.changes("generated", store, by) as account_all:
            return await store.generate_all(orders, taken, account_all)
    keys: list[Description] = []
    for each in orders:
        with changes.change("generated", store, by) as account:
            key = await store.generate(
                each.zone, each.role, each.algorithm, each.bits, each.idempotency, taken, account
            )
        taken |= set(algorithms.tags(key.dnskey))
        keys.append(key)
    return keys
