"""Commands on keys in key stores for which no private key passes through the daemon.

What carries private keys (import from files, back-up) goes from the command to the key service directly.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

import msgspec

from dnssecd.config.algorithms import ALGORITHMS
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

#: A token may need long to make an RSA key; the client gets progress reports meanwhile.
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
        """Answer ``key.stored``: what the key stores hold, in use or not."""
        origin = zone_of(self._zones, call.request.zone).origin if call.request.zone else b""
        return StoredKeys(keys=[describe_key(info) for info in await ask_service(self._client.keys(origin))])

    async def generate(self, call: Call[GenerateKeys]) -> KeysAdded:
        """Answer ``key.generate``: the keys the policy asks for, or one that is described."""
        zone = zone_of(self._zones, call.request.zone)
        store = call.request.keystore or zone.spec.keystore
        made: list[KeyInfo] = []
        for wish in _list_wishes(zone, call.request):
            await call.progress(len(made), None, f"making a {wish.role} in key store {store}")
            first = zone.serial is None and store == zone.spec.keystore and wish in zone.spec.keys
            info = await ask_service(
                self._client.generate(
                    zone.origin,
                    ROLES[wish.role],
                    wish.algorithm,
                    store=store,
                    bits=wish.bits,
                    idempotency=idempotency_of(wish) if first else "",
                    share=zone.spec.share if first else "",
                )
            )
            made.append(info)
            call.note("key generated", _name_key(info))
        return _report(zone, made)

    async def adopt(self, call: Call[AdoptKey]) -> KeysAdded:
        """Answer ``key.adopt``: bind a key that is in a token already."""
        request = call.request
        zone = zone_of(self._zones, request.zone)
        (wish,) = _list_wishes(zone, request)[:1]
        info = await ask_service(
            self._client.adopt(
                zone.origin,
                ROLES[wish.role],
                wish.algorithm,
                store=request.keystore or zone.spec.keystore,
                cka_id=request.cka_id or "",
                label=request.label or "",
            )
        )
        call.note("key adopted", _name_key(info))
        return _report(zone, [info])

    async def check_audit(self, call: Call[CheckAudit]) -> Audit:
        """Answer ``key.audit``: whether the audit log's chain holds, and its last entries."""
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
    """Return what the key service answers; Refused with a remedy when that is an error."""
    try:
        return await question
    except SignerError as error:
        raise Refused(str(error), remedy_for(error.code)) from None


def _name_key(info: KeyInfo) -> str:
    return f"{info.role} {info.tag} in key store {info.store}"


def _list_wishes(zone: FrontZone, request: GenerateKeys | AdoptKey) -> list[KeyWish]:
    """Return the keys that a request describes; what it leaves open is as in the policy."""
    role, algorithm, bits = request.role, request.algorithm or 0, request.bits or 0
    if algorithm and algorithm not in ALGORITHMS.values():
        raise Refused(f"algorithm {algorithm} is not known", f"choose of {', '.join(ALGORITHMS)}", exit=2)
    if role is None and zone.serial is not None:
        raise Refused(f"{zone.name} has its keys already", "to make another one, name its role: --role ksk")
    wishes = [wish for wish in zone.spec.keys if role in (None, wish.role)]
    if not wishes:
        if not algorithm:
            raise Refused(f"the policy of {zone.name} has no {role}", "give --algorithm too", exit=2)
        wishes = [KeyWish(str(role), algorithm, bits)]
    return [_change(wish, algorithm, bits) for wish in wishes]


def _change(wish: KeyWish, algorithm: int, bits: int) -> KeyWish:
    if not algorithm or algorithm == wish.algorithm:
        return KeyWish(wish.role, wish.algorithm, bits or wish.bits)
    return KeyWish(wish.role, algorithm, bits)


def _report(zone: FrontZone, infos: list[KeyInfo]) -> KeysAdded:
    if zone.serial is None:
        message = f"{zone.name} is signed with it when it is published first"
    else:
        message = f"not in use: {zone.name} goes on with the keys it has until a roll-over"
    return KeysAdded(zone=zone.name, keys=[describe_key(info) for info in infos], message=message)
