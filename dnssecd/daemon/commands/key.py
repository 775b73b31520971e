"""Commands on keys and key stores that need no private key to pass through here (shapes: dnssecd.control.server).

What carries private keys (import from files, back-up) goes from the command to the key service directly.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, TypeVar, get_args

import msgspec

from dnssecd.config.algorithms import ALGORITHMS, algorithm_name
from dnssecd.control.server import Call, Command, Refused
from dnssecd.daemon.commands.common import zone_of
from dnssecd.daemon.rollover.signing_capacity import sustained
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.describe import key_dict, remedy_for
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_protocol import BenchLine, BenchRequest, KeyInfo, Role, StoreStatus
from dnssecd.pipeline.jobs.spec import KeyWish
from dnssecd.pipeline.version.first_keys import idempotency_of

T = TypeVar("T")

#: Tokens may take their time to make an RSA key; the command's client hears of progress meanwhile.
DEADLINE_S = 110.0
COMMAND_S = 3600.0
BENCH_BATCHES = (1, 8, 64, 256)
BENCH_BATCH = 64
BENCH_SECONDS = 1.0
BENCH_SECONDS_MAX = 60.0
DEFAULT_ALGORITHM = 13
AUDIT_SHOWN_MAX = 1000


class KeyCommands:
    """The handlers, with a connection to the key service at ``socket`` of their own."""

    def __init__(self, zones: Mapping[str, FrontZone], socket: str) -> None:
        self._zones = zones
        self._client = AsyncSignerClient(socket, DEADLINE_S)

    def table(self) -> dict[str, Command]:
        """Return the commands."""
        return {
            "key.stored": Command(self.stored, timeout=DEADLINE_S),
            "key.generate": Command(self.generate, changes=True, timeout=COMMAND_S),
            "key.adopt": Command(self.adopt, changes=True, timeout=COMMAND_S),
            "key.audit": Command(self.audit, timeout=DEADLINE_S),
            "keystore.list": Command(self.stores, timeout=DEADLINE_S),
            "keystore.test": Command(self.test, changes=True, timeout=COMMAND_S),
            "keystore.bench": Command(self.bench, changes=True, timeout=COMMAND_S),
        }

    async def close(self) -> None:
        """Close the connection to the key service."""
        await self._client.aclose()

    # Keys

    async def stored(self, call: Call) -> object:
        """Answer ``key.stored``: what the key stores hold, in use or not."""
        zone = zone_of(self._zones, call).origin if call.optional_text("zone") else b""
        return {"keys": [key_dict(info) for info in await _asked(self._client.keys(zone))]}

    async def generate(self, call: Call) -> object:
        """Answer ``key.generate``: the keys the policy asks for, or one that is described."""
        zone = zone_of(self._zones, call)
        store = call.optional_text("keystore") or zone.spec.keystore
        made: list[KeyInfo] = []
        for wish in _wishes(zone, call):
            await call.progress(len(made), None, f"making a {wish.role} in key store {store}")
            first = zone.serial is None and store == zone.spec.keystore and wish in zone.spec.keys
            info = await _asked(
                self._client.generate(
                    zone.origin,
                    _role(wish.role),
                    wish.algorithm,
                    store=store,
                    bits=wish.bits,
                    idempotency=idempotency_of(wish) if first else "",
                    share=zone.spec.share if first else "",
                )
            )
            made.append(info)
            call.note("key generated", _described(info))
        return {"zone": zone.name, "keys": [key_dict(info) for info in made], "message": _next_step(zone)}

    async def adopt(self, call: Call) -> object:
        """Answer ``key.adopt``: bind a key that is in a token already."""
        zone = zone_of(self._zones, call)
        (wish,) = _wishes(zone, call)[:1]
        info = await _asked(
            self._client.adopt(
                zone.origin,
                _role(wish.role),
                wish.algorithm,
                store=call.optional_text("keystore") or zone.spec.keystore,
                cka_id=call.optional_text("cka_id") or "",
                label=call.optional_text("label") or "",
            )
        )
        call.note("key adopted", _described(info))
        return {"zone": zone.name, "keys": [key_dict(info)], "message": _next_step(zone)}

    async def audit(self, call: Call) -> object:
        """Answer ``key.audit``: whether the audit log's chain holds, and its last entries."""
        reply = await _asked(self._client.audit(min(int(call.number("limit", 100)), AUDIT_SHOWN_MAX)))
        status = await _asked(self._client.status())
        entries = [msgspec.structs.asdict(entry) for entry in reply.entries]
        return {
            "ok": reply.ok,
            "detail": reply.detail,
            "count": reply.count,
            "head": status.audit_head,
            "entries": entries,
        }

    # Key stores

    async def stores(self, call: Call) -> object:
        """Answer ``keystore.list``."""
        status = await _asked(self._client.status())
        warnings = [msgspec.structs.asdict(warning) for warning in status.warnings if warning.firing]
        return {"stores": [msgspec.to_builtins(store) for store in status.stores], "warnings": warnings}

    async def test(self, call: Call) -> object:
        """Answer ``keystore.test``: each store with each algorithm that zones want of it."""
        results: list[dict[str, Any]] = []
        for store in await self._chosen(call):
            for algorithm in self._algorithms(call, store.name):
                name = algorithm_name(algorithm)
                await call.progress(len(results), None, f"testing key store {store.name} with {name}")
                results.append(
                    {"keystore": store.name, "algorithm": name, **await self._test(store, algorithm)}
                )
        return {"ok": all(result["ok"] for result in results), "results": results}

    async def _test(self, store: StoreStatus, algorithm: int) -> dict[str, Any]:
        try:
            return {"ok": True, "detail": await self._client.test_store(store.name, algorithm)}
        except SignerError as error:
            return {"ok": False, "detail": str(error)}

    async def bench(self, call: Call) -> object:
        """Answer ``keystore.bench``: signatures a second by sessions and batch size, token by token."""
        seconds = min(max(call.number("seconds", BENCH_SECONDS), 0.1), BENCH_SECONDS_MAX)
        measured: list[dict[str, Any]] = []
        for store in await self._chosen(call):
            algorithm = self._algorithms(call, store.name)[0]
            for token, sessions, batch in _steps(store):
                what = f"{store.name} {token}".strip()
                await call.progress(len(measured), None, f"{what}: {sessions} sessions, batches of {batch}")
                request = BenchRequest(
                    0,
                    store=store.name,
                    algorithm=algorithm,
                    signatures=1_000_000,
                    batch=batch,
                    timeout_ms=int(DEADLINE_S * 1000),
                    sessions=sessions,
                    token=token,
                    seconds=seconds,
                )
                lines = await _asked(self._client.bench_store(request))
                measured += [_measured(store.name, algorithm, line) for line in lines]
        best = max((line["per_second"] for line in measured), default=0.0)
        return {"lines": measured, "sustains": sustained(best)}

    async def _chosen(self, call: Call) -> list[StoreStatus]:
        """The store named, or all."""
        stores = (await _asked(self._client.status())).stores
        wanted = call.optional_text("keystore")
        chosen = [store for store in stores if wanted in (None, store.name)]
        if not chosen:
            have = ", ".join(store.name for store in stores)
            raise Refused(f"there is no key store {wanted}", f"there are: {have}")
        return chosen

    def _algorithms(self, call: Call, store: str) -> list[int]:
        """The algorithm named, or those that zones want of the store."""
        if call.args.get("algorithm") is not None:
            return [int(call.number("algorithm", DEFAULT_ALGORITHM))]
        wishes = (
            wish for zone in self._zones.values() if zone.spec.keystore == store for wish in zone.spec.keys
        )
        return sorted({wish.algorithm for wish in wishes}) or [DEFAULT_ALGORITHM]


def _described(info: KeyInfo) -> str:
    return f"{info.role} {info.tag} in key store {info.store}"


async def _asked(asking: Awaitable[T]) -> T:
    """What the key service answered; Refused with a remedy when that is an error."""
    try:
        return await asking
    except SignerError as error:
        raise Refused(str(error), remedy_for(error.code)) from None


def _wishes(zone: FrontZone, call: Call) -> list[KeyWish]:
    """The keys the call describes; what it leaves open is as in the policy."""
    role, algorithm = call.optional_text("role"), int(call.number("algorithm", 0))
    bits = int(call.number("bits", 0))
    if role is not None and role not in get_args(Role):
        raise Refused(f'"{role}" is no role of a key', "choose ksk, zsk or csk", exit=2)
    if algorithm and algorithm not in ALGORITHMS.values():
        raise Refused(f"algorithm {algorithm} is not known", f"choose of {', '.join(ALGORITHMS)}", exit=2)
    if role is None and zone.serial is not None:
        raise Refused(
            f"{zone.name} has its keys already", "to make another all the same name its role: --role ksk"
        )
    wishes = [wish for wish in zone.spec.keys if role in (None, wish.role)]
    if not wishes:
        if not algorithm:
            raise Refused(f"the policy of {zone.name} has no {role}", "give --algorithm too", exit=2)
        wishes = [KeyWish(str(role), algorithm, bits)]
    return [_changed(wish, algorithm, bits) for wish in wishes]


def _changed(wish: KeyWish, algorithm: int, bits: int) -> KeyWish:
    if not algorithm or algorithm == wish.algorithm:
        return KeyWish(wish.role, wish.algorithm, bits or wish.bits)
    return KeyWish(wish.role, algorithm, bits)


def _role(text: str) -> Role:
    for role in get_args(Role):
        if role == text:
            found: Role = role
            return found
    raise AssertionError(f"{text} is no role")


def _next_step(zone: FrontZone) -> str:
    if zone.serial is None:
        return f"{zone.name} is signed with it when it is published first"
    return f"not in use: {zone.name} goes on with the keys it has until a roll-over"


def _steps(store: StoreStatus) -> Iterable[tuple[str, int, int]]:
    """What is measured of a store: (token, sessions, batch)."""
    if not store.tokens:
        yield from (("", 0, batch) for batch in BENCH_BATCHES)
        return
    for token in store.tokens:
        most = token.sessions_open
        fewer = [2**power for power in range(9) if 2**power < most]
        yield from ((token.name, sessions, BENCH_BATCH) for sessions in fewer)
        yield from ((token.name, most, batch) for batch in BENCH_BATCHES if most)


def _measured(store: str, algorithm: int, line: BenchLine) -> dict[str, Any]:
    return {"keystore": store, "algorithm": algorithm_name(algorithm), **msgspec.structs.asdict(line)}
