"""Commands on keys in key stores, except those that move private keys.

Private keys (import from files, backup) go from the command directly to the key service, not through the
daemon.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

import msgspec

from dnssecd.config.algorithms import ALGORITHMS, algorithm_name
from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.keys import (
    AdoptKey,
    Audit,
    AuditLine,
    CheckAudit,
    GenerateKeys,
    KeysAdded,
    ListStoredKeys,
    StoredKeys,
    describe_key,
)
from dnssecd.daemon.commands.common import zone_of
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.describe import remedy_for
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_protocol import KeyInfo, Role
from dnssecd.pipeline.jobs.spec import KeyWish
from dnssecd.pipeline.version.first_keys import idempotency_of

T = TypeVar("T")

#: A token may take long to make an RSA key; the client gets progress reports meanwhile.
DEADLINE_S = 110.0
COMMAND_S = 3600.0
AUDIT_SHOWN_MAX = 1000
ROLES: dict[str, Role] = {"ksk": "ksk", "zsk": "zsk", "csk": "csk"}


class KeyCommands:
    """The handlers, with a connection to the key service."""

    def __init__(self, zones: Mapping[str, FrontZone], client: AsyncSignerClient) -> None:
        self._zones, self._client = zones, client

    def commands(self) -> list[Command[Any]]:
        """Return the commands."""
        return [
            Command(ListStoredKeys, self.list_stored, timeout=DEADLINE_S),
            Command(GenerateKeys, self.generate, timeout=COMMAND_S),
            Command(AdoptKey, self.adopt, timeout=COMMAND_S),
            Command(CheckAudit, self.check_audit, timeout=DEADLINE_S),
        ]

    async def list_stored(self, call: Call[ListStoredKeys]) -> StoredKeys:
        """Answer ``key.stored``: all keys in the key stores, in use or not."""
        origin = zone_of(self._zones, call.request.zone).origin if call.request.zone else b""
        return StoredKeys(keys=[describe_key(info) for info in await ask_service(self._client.keys(origin))])

    async def generate(self, call: Call[GenerateKeys]) -> KeysAdded:
        """Answer ``key.generate``: make the keys of the policy, or one that is described."""
        zone = zone_of(self._zones, call.request.zone)
        made: list[KeyInfo] = []
        for wish in _list_wishes(zone, call.request):
            await call.progress(len(made), None, f"making a {wish.role} in key store {wish.keystore}")
            first = zone.serial is None and wish in zone.spec.keys
            info = await ask_service(
                self._client.generate(
                    zone.origin,
                    ROLES[wish.role],
                    wish.algorithm,
                    store=wish.keystore,
                    bits=wish.bits,
                    idempotency=idempotency_of(wish) if first else "",
                    share=zone.spec.share if first else "",
                    tags=zone.spec.tag_range,
                )
            )
            made.append(info)
            call.note("key generated", _name_key(info))
        return _report(zone, made)

    async def adopt(self, call: Call[AdoptKey]) -> KeysAdded:
        """Answer ``key.adopt``: bind a key that is already in a token."""
        request = call.request
        zone = zone_of(self._zones, request.zone)
        (wish,) = _list_wishes(zone, request)[:1]
        info = await ask_service(
            self._client.adopt(
                zone.origin,
                ROLES[wish.role],
                wish.algorithm,
                store=wish.keystore,
                cka_id=request.cka_id or "",
                label=request.label or "",
            )
        )
        call.note("key adopted", _name_key(info))
        return _report(zone, [info])

    async def check_audit(self, call: Call[CheckAudit]) -> Audit:
        """Answer ``key.audit``: whether the audit log's chain is intact, and its last entries."""
        reply = await ask_service(self._client.audit(min(call.request.limit, AUDIT_SHOWN_MAX)))
        status = await ask_service(self._client.status())
        return Audit(
            ok=reply.ok,
            detail=reply.detail,
            count=reply.count,
            head=status.audit_head,
            entries=msgspec.convert(reply.entries, list[AuditLine], from_attributes=True),
        )


async def ask_service(question: Awaitable[T]) -> T:
    """Return the answer of the key service; raise Refused with a remedy if it is an error."""
    try:
        return await question
    except SignerError as error:
        raise Refused(str(error), remedy_for(error.code)) from None


def _name_key(info: KeyInfo) -> str:
    return f"{info.role} {info.tag} in key store {info.store}"


def _list_wishes(zone: FrontZone, request: GenerateKeys | AdoptKey) -> list[KeyWish]:
    """Return the keys that a request describes; values that it omits are those of the policy."""
    role, algorithm, bits = request.role, request.algorithm or 0, request.bits or 0
    known = {*ALGORITHMS.values(), *(wish.algorithm for wish in zone.spec.keys)}
    if algorithm and algorithm not in known:
        raise Refused(f"algorithm {algorithm} is not known", f"choose one of {', '.join(ALGORITHMS)}", exit=2)
    if role is None and zone.serial is not None:
        raise Refused(f"{zone.name} already has its keys", "to make another one, name its role: --role ksk")
    wishes = [wish for wish in zone.spec.keys if role in (None, wish.role)]
    if not wishes:
        if not algorithm:
            raise Refused(f"the policy of {zone.name} has no {role}", "give --algorithm too", exit=2)
        wishes = [KeyWish(str(role), algorithm, zone.spec.keystore, bits)]
    return [_change(wish, algorithm, bits, request.keystore or wish.keystore) for wish in wishes]


def _change(wish: KeyWish, algorithm: int, bits: int, store: str) -> KeyWish:
    if not algorithm or algorithm == wish.algorithm:
        return KeyWish(wish.role, wish.algorithm, store, bits or wish.bits)
    return KeyWish(wish.role, algorithm, store, bits)


def _report(zone: FrontZone, infos: list[KeyInfo]) -> KeysAdded:
    uses = dict.fromkeys(_use_of(zone, info) for info in infos)
    return KeysAdded(zone=zone.name, keys=[describe_key(info) for info in infos], message="; ".join(uses))


def _use_of(zone: FrontZone, info: KeyInfo) -> str:
    """Return how a key that was just added will be used."""
    wish = next((wish for wish in zone.spec.keys if wish.role == info.role), None)
    if wish is None:
        return f"not used: the policy of {zone.name} has no {info.role}"
    if info.store != wish.keystore:
        return f'not used: the policy has its {wish.role} in key store "{wish.keystore}"'
    if info.algorithm != wish.algorithm:
        return f"not used: the policy requires algorithm {algorithm_name(wish.algorithm)}"
    if zone.serial is None:
        return f"{zone.name} is signed with it from its first publication"
    return f"not in use yet: the next {wish.role} rollover of {zone.name} begins to use its oldest spare key"
