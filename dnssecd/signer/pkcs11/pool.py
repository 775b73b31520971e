"""The sessions of one token: opened, set to work, and replaced when they fail or have become stale."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from dnssecd.keyservice_protocol import TokenStatus
from dnssecd.keyservice_settings import TokenSettings
from dnssecd.signer.errors import Unavailable
from dnssecd.signer.key_file import Description
from dnssecd.signer.pkcs11 import messages as m
from dnssecd.signer.pkcs11.commands import CommandQueue
from dnssecd.signer.pkcs11.health import TokenHealth
from dnssecd.signer.pkcs11.link import CallFailed, WorkerLost
from dnssecd.signer.pkcs11.opening import PIN_REFUSED, SessionOpener
from dnssecd.signer.pkcs11.pin import Pin
from dnssecd.signer.pkcs11.session import Session, StaleSession
from dnssecd.signer.pkcs11.sightings import KeySightings
from dnssecd.signer.pkcs11.work import SessionWork
from dnssecd.signer.queue import FairQueue
from dnssecd.signer.registry import Registry
from dnssecd.signer.warnings import WarningBook

log = structlog.get_logger()
T = TypeVar("T")
#: Signing, too; SoftHSM and openCryptoki set it by default.
SIGN_RECOVER = "CKA_SIGN_RECOVER"


class TokenPool:
    """See the module. Pieces come from the store's queue, shared with the pools of its other tokens.

    `may_take(pool, key id)` tells whether this token is to do it now, `key_of` the key of an id; `worse()` is
    called after every change for the worse, so that no request waits in vain. `leaving`: keys that are being destroyed;
    `key_extras`: attributes of the key made last that let it do more than sign.
    """

    def __init__(
        self,
        settings: TokenSettings,
        queue: FairQueue,
        registry: Registry,
        pin: Pin,
        health: TokenHealth,
        warnings: WarningBook,
        *,
        may_take: Callable[[TokenPool, str], bool],
        key_of: Callable[[str], Description | None],
        worse: Callable[[], None],
    ) -> None:
        self.name = settings.name
        self.quirks = frozenset(settings.quirks)
        self.health = health
        self.recipes: dict[int, int] = {}
        self.key_extras: tuple[str, ...] = ()
        self.leaving: set[str] = set()
        self._settings = settings
        self._queue = queue
        self._registry = registry
        self._warnings = warnings
        self._monotonic = asyncio.get_running_loop().time
        self.sightings = KeySightings(self._monotonic)
        self._commands = CommandQueue(settings.name, self._monotonic, queue.poke)
        self._opener = SessionOpener(
            settings, pin, health, warnings, check=self._health_check, changed=queue.wait
        )
        self._work = SessionWork(
            settings,
            queue,
            self._commands,
            registry,
            health,
            self.sightings,
            warnings,
            may_take=lambda key_id: may_take(self, key_id),
            key_of=key_of,
            worse=worse,
        )
        self.find, self.at_work, self.recent = self._work.find, self._work.at_work, self._work.recent
        self._slots: list[asyncio.Task[None]] = []
        self._made_again = False

    # State

    def forget(self, key_id: str) -> None:
        """Forget a key that is no more."""
        self.sightings.forget(key_id)
        self.at_work.pop(key_id, None)
        self._warnings.clear("key not in token", f"{key_id} {self.name}")

    def may_make_again(self, error: WorkerLost) -> bool:
        """Whether a key that could not be made is to be tried once more, in a fresh session.

        A refused template leaves some modules in disorder: what they would take in a fresh session fails in this one.
        """
        again = error.call == "C_GenerateKeyPair" and not self._made_again
        self._made_again = again
        self.health.gauges.errors[error.kind] += again
        return again

    def note_made(self, key: Description, made: m.Generated) -> None:
        """Remember how a key was made in this token, and that older sessions may not see it."""
        self.recipes[key.algorithm] = made.recipe
        self._made_again = False
        self.sightings.note_seen(key.id)
        self.key_extras = tuple(one for one in made.more if one != SIGN_RECOVER)
        more = ", ".join(made.more)
        log.info("key made in token", token=self.name, key=key.id, recipe=made.recipe, can_also=more)

    def status(self) -> TokenStatus:
        """For monitoring."""
        health, gauges = self.health, self.health.gauges
        return TokenStatus(
            name=self.name,
            state=health.state,
            detail="" if health.state == "ok" else health.why,
            sessions_open=health.sessions,
            sessions_busy=self._work.busy,
            queue=len(self._commands),
            breaker=health.breaker.state,
            retry_in_s=health.breaker.wait_s(),
            signatures=gauges.signatures,
            calls=gauges.calls,
            latency_sum_s=gauges.latency_sum_s,
            latency_buckets=gauges.buckets(),
            errors=dict(gauges.errors),
            workers_replaced=gauges.replaced,
            workers_renewed=gauges.renewed,
            login_failures=gauges.login_failures,
            flags=health.info.flags,
            token_sessions=health.info.sessions,
            token_sessions_max=health.info.sessions_max,
            memory_free=health.info.memory_free,
            memory_total=health.info.memory_total,
        )

    # Life

    def start(self) -> None:
        """Start opening sessions."""
        self.health.load()
        loop = asyncio.get_running_loop()
        self._slots = [loop.create_task(self._slot()) for _ in range(self._settings.sessions)]

    async def stop(self) -> None:
        """End the workers."""
        for slot in self._slots:
            slot.cancel()
        await asyncio.gather(*self._slots, return_exceptions=True)
        self._commands.fail_all(Unavailable("the key service is stopping"))

    async def command(
        self, run: Callable[[Session], Awaitable[T]], deadline: float, *, fresh: bool = False
    ) -> T:
        """Do something in any session of this token, or in one opened from now on (`fresh`).

        ServiceError when that is not possible in time.
        """
        if not self.health.hopeful and not self.health.on_trial:
            raise self.health.unavailable()
        return await self._commands.run(run, deadline, fresh=fresh, why_late=lambda: self.health.why)

    async def try_again(self, check: Callable[[Session], Awaitable[None]], deadline: float) -> None:
        """Put an evicted token through `check`; it is used again when that raises nothing."""
        self.health.on_trial = True
        self._queue.poke()
        try:
            await self.command(check, deadline)
            self.health.readmit()
        finally:
            self.health.on_trial = False
            self._queue.poke()

    def try_login_again(self) -> None:
        """Try the login once more, because an operator asks for it."""
        self._opener.try_login_again()

    def release(self) -> None:
        """Commands that no session can do any more are answered now."""
        if not self.health.hopeful and not self.health.on_trial:
            self._commands.fail_all(self.health.unavailable())

    # Sessions

    async def _slot(self) -> None:
        """Keep one session open and at work until cancelled."""
        while True:
            session = await self._opener.open()
            session.link.when_dead(self._queue.poke)
            lost: WorkerLost | CallFailed | None = None
            try:
                await self._work.work(session)
            except StaleSession:
                self.health.gauges.renewed += 1
            except (WorkerLost, CallFailed) as error:
                lost = error
            except Exception as error:  # our own fault; the other sessions and the service live on
                log.exception("session failed by our own fault", token=self.name)
                lost = WorkerLost("internal", repr(error))
            finally:
                self.health.closed()
                await session.link.kill()
            if lost is not None:
                self._lost(lost)

    def _lost(self, error: WorkerLost | CallFailed) -> None:
        self.health.gauges.replaced += 1
        if isinstance(error, WorkerLost) and error.kind in PIN_REFUSED:
            self._opener.refuse_pin(error)
        self.health.lost(error)

    async def _health_check(self, session: Session) -> None:
        """Before a session is used: a signature with one of its keys must verify."""
        if not self.health.sessions:
            self.sightings.start_again()  # another session generation: look again
        for key in [key for key in self._registry.all() if key.id not in self.leaving][:3]:
            if not await self.find(key, session):
                self.health.breaker.succeeded()
                return
        if not len(self._registry):
            self.health.breaker.succeeded()
