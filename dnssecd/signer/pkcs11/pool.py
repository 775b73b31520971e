"""The sessions of one token: worker processes that are opened, watched, and replaced when they hang or die."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from dnssecd.keyservice_protocol import TokenSettings, TokenStatus
from dnssecd.signer.errors import Late, OperatorNeeded, ServiceError, Unavailable
from dnssecd.signer.key_file import Description
from dnssecd.signer.pkcs11 import messages as m
from dnssecd.signer.pkcs11.health import TokenHealth
from dnssecd.signer.pkcs11.link import CallFailed, WorkerLink, WorkerLost
from dnssecd.signer.pkcs11.pin import Pin
from dnssecd.signer.pkcs11.session import Session, WrongAnswer
from dnssecd.signer.queue import FairQueue, Piece
from dnssecd.signer.registry import Registry
from dnssecd.signer.warnings import WarningBook

log = structlog.get_logger()
T = TypeVar("T")

OPEN_DEADLINE_S = 30.0
PIN_LOOK_S = 2.0
LOOK_AGAIN_S = 30.0
ATTEMPTS_MAX = 3
COMMANDS_MAX = 1024
PIN_REFUSED = frozenset({"PinIncorrect", "PinInvalid", "PinLenRange"})
NEEDS_OPERATOR = frozenset({"PinLocked", "PinFinalTry", "PinExpired", "TokenAmbiguous"})


@dataclass(eq=False)
class Command:
    """Something else than signing to be done in a session."""

    run: Callable[[Session], Awaitable[Any]]
    done: asyncio.Future[Any]

    def fail(self, error: ServiceError) -> None:
        """End it without a result."""
        if not self.done.done():
            self.done.set_exception(error)


class TokenPool:
    """See the module. Pieces come from the store's queue, shared with the pools of its other tokens.

    `may_take(pool, key id)` tells whether this token is to do it now, `key_of` the key of an id; `worse()` is
    called after every change for the worse, so that nobody waits in vain.
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
        self.health = health
        self.found: set[str] = set()
        self.recent: deque[list[bytes]] = deque(maxlen=2048)
        self._settings = settings
        self._queue = queue
        self._registry = registry
        self._pin = pin
        self._warnings = warnings
        self._may_take = may_take
        self._key_of = key_of
        self.at_work: Counter[str] = Counter()
        self._worse = worse
        self._monotonic = asyncio.get_running_loop().time
        self._opening = asyncio.Lock()
        self._commands: deque[Command] = deque()
        self._slots: list[asyncio.Task[None]] = []
        self._busy = 0
        self._not_here: dict[str, tuple[str, float]] = {}

    # State

    def may_hold(self, key_id: str) -> bool:
        """False when the key was looked for lately and not found."""
        _, until = self._not_here.get(key_id, ("", 0.0))
        return until <= self._monotonic()

    def why_not(self, key_id: str) -> str:
        """Why the key was not to be had here when it was last looked for."""
        return self._not_here.get(key_id, ("", 0.0))[0]

    def forget(self, key_id: str) -> None:
        """The key is no more."""
        self.found.discard(key_id)
        self.at_work.pop(key_id, None)
        self._not_here.pop(key_id, None)

    def status(self) -> TokenStatus:
        """For monitoring."""
        health, gauges = self.health, self.health.gauges
        return TokenStatus(
            name=self.name,
            state=health.state,
            detail="" if health.state == "ok" else health.why,
            sessions_open=health.sessions,
            sessions_busy=self._busy,
            queue=len(self._commands),
            breaker=health.breaker.state,
            retry_in_s=health.breaker.wait_s(),
            signatures=gauges.signatures,
            calls=gauges.calls,
            latency_sum_s=gauges.latency_sum_s,
            latency_buckets=gauges.buckets(),
            errors=dict(gauges.errors),
            workers_replaced=gauges.replaced,
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
        self._fail_commands(Unavailable("the key service is stopping"))

    async def command(self, run: Callable[[Session], Awaitable[T]], deadline: float) -> T:
        """Do something in any session of this token; ServiceError when that is not possible in time."""
        if not self.health.hopeful and not self.health.on_trial:
            raise self.health.unavailable()
        if len(self._commands) >= COMMANDS_MAX:
            raise Unavailable(f"token {self.name}: {COMMANDS_MAX} commands wait already", retry_in_s=1.0)
        command = Command(run, asyncio.get_running_loop().create_future())
        self._commands.append(command)
        self._queue.poke()
        try:
            async with asyncio.timeout_at(deadline):
                result: T = await command.done
        except TimeoutError:
            raise Late(f"token {self.name} did not answer in time; {self.health.why}".rstrip("; ")) from None
        return result

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

    def release(self) -> None:
        """Commands nobody can do any more are answered now."""
        if not self.health.hopeful and not self.health.on_trial:
            self._fail_commands(self.health.unavailable())

    def _fail_commands(self, error: ServiceError) -> None:
        while self._commands:
            self._commands.popleft().fail(error)

    # Sessions

    async def _slot(self) -> None:
        """Keep one session open and at work, for ever."""
        while True:
            session = await self._open_session()
            lost: WorkerLost | CallFailed | None = None
            try:
                await self._work(session)
            except (WorkerLost, CallFailed) as error:
                lost = error
            except Exception as error:  # our own fault; the other sessions and the service live on
                log.exception("session failed by our own fault", token=self.name)
                lost = WorkerLost("internal", repr(error))
            finally:
                self.health.sessions -= 1
                await session.link.kill()
            if lost is not None:
                self.health.gauges.replaced += 1
                self.health.failed(lost)

    async def _open_session(self) -> Session:
        """Open a session, as often as it takes; one at a time, so that a wrong PIN is tried once."""
        health = self.health
        while True:
            while health.evicted and not health.on_trial:
                await self._queue.wait()
            await asyncio.sleep(health.breaker.wait_s())
            async with self._opening:
                if health.breaker.wait_s() > 0:
                    continue
                try:
                    session = await self._try_to_open()
                except OperatorNeeded as error:
                    health.needs_operator(str(error))
                    pause_s = PIN_LOOK_S
                except (WorkerLost, CallFailed) as error:
                    pause_s = self._could_not_open(error)
                else:
                    health.opened()
                    if health.sessions == self._settings.sessions:
                        self._warnings.clear("token session limit", self.name)
                    session.link.when_dead(self._queue.poke)
                    log.info("token session opened", token=self.name, worker=session.link.pid)
                    return session
            await asyncio.sleep(pause_s)

    async def _try_to_open(self) -> Session:
        pin = self._pin.read()
        try:
            link = await WorkerLink.start()
        except OSError as error:
            raise WorkerLost("spawn", f"cannot start an HSM worker: {error.strerror}") from None
        one = self._settings
        try:
            call = m.OpenCall(one.module, one.label, one.serial, one.slot, pin)
            opened = await link.call(call, m.Opened, OPEN_DEADLINE_S)
            self._pin.accepted()
            session = Session(link, opened, one.call_deadline_s, self._monotonic)
            if not self.health.on_trial:
                await self._health_check(session)
        except BaseException as error:
            await link.kill()
            if isinstance(error, WorkerLost) and error.kind in PIN_REFUSED:
                self._pin.refused(pin)
                self.health.gauges.errors[error.kind] += 1
                text = f"token {self.name} refused the PIN; it is not tried again. Put the right one into its file"
                raise OperatorNeeded(text) from None
            raise
        return session

    async def _health_check(self, session: Session) -> None:
        """Before a session is used: a signature with one of its keys must verify."""
        if not self.health.sessions:
            self._not_here.clear()  # another session generation: look again
            self.found.clear()
        for key in self._registry.all()[:3]:
            if not await self.find(key, session):
                self.health.breaker.succeeded()
                return
        if not len(self._registry):
            self.health.breaker.succeeded()

    def _could_not_open(self, error: WorkerLost | CallFailed) -> float:
        """Count and report; return how long to pause, beyond what the breaker says."""
        sessions = self.health.sessions
        if error.kind == "SessionCount" and sessions:
            detail = f"the token has no room for more than {sessions} of {self._settings.sessions} sessions"
            self._warnings.add("token session limit", self.name, detail)
            self.health.gauges.errors[error.kind] += 1
            return 2 * self._settings.retry_longest_s
        if error.kind in NEEDS_OPERATOR:
            self.health.needs_operator(f"token {self.name}: {error}")
        self.health.failed(error)
        return 0.0

    # Work

    async def _work(self, session: Session) -> None:
        while not self.health.evicted or self.health.on_trial:
            if session.link.dead:
                raise await session.link.death()
            if self._commands:
                await self._run(session, self._commands.popleft())
            elif (piece := self._take(session)) is not None:
                await self._sign(session, piece)
            elif session.idle_s() >= self._settings.idle_canary_s:
                await self._canary(session)
            else:
                await self._wait(self._settings.idle_canary_s - session.idle_s())

    async def _wait(self, longest_s: float) -> None:
        try:
            async with asyncio.timeout(longest_s):
                await self._queue.wait()
        except TimeoutError:
            return

    def _take(self, session: Session) -> Piece | None:
        """What this session does next: its share of what is waiting, so that no other session idles."""
        if self.health.on_trial:
            return None
        share = -(-len(self._queue) // self.health.sessions)
        return self._queue.take(min(session.piece_size, max(1, share)), self._accepts)

    def _accepts(self, key_id: str) -> bool:
        return self.may_hold(key_id) and self._may_take(self, key_id)

    async def find(self, key: Description, session: Session) -> str:
        """Look a key up; return "" or why it is not to be had here, which is remembered and reported."""
        try:
            detail = await session.find(key)
        except WrongAnswer as error:
            raise self._wrong(error) from None
        subject = f"{key.id} {self.name}"
        if detail:
            self.found.discard(key.id)
            self._not_here[key.id] = detail, self._monotonic() + LOOK_AGAIN_S
            self._warnings.add("key not in token", subject, detail)
            self._worse()
        else:
            self.found.add(key.id)
            self._not_here.pop(key.id, None)
            self._warnings.clear("key not in token", subject)
        return detail

    def _wrong(self, error: WrongAnswer) -> WorkerLost:
        """Evict the token; returns what ends this session."""
        self.health.evict(str(error))
        return WorkerLost("wrong signature", str(error))

    async def _sign(self, session: Session, piece: Piece) -> None:
        key = self._key_of(piece.job.key_id)
        if key is None:
            piece.fail(Unavailable("the key was removed meanwhile"))
            return
        self._busy += 1
        self.at_work[key.id] += 1
        try:
            if await self.find(key, session):
                self._queue.put_back(piece)
                self._worse()
                return
            signatures, seconds = await session.sign(key, piece.preimages)
        except WrongAnswer as error:
            lost = self._wrong(error)
            self._pass_on(piece)
            raise lost from None
        except CallFailed as error:
            self.health.gauges.errors[error.kind] += 1
            piece.fail(ServiceError(f"token {self.name}: {error.kind}: {error}"))
            return
        except WorkerLost as error:
            self.health.note(error)
            self._pass_on(piece)
            raise
        except asyncio.CancelledError:
            piece.fail(Unavailable("the key service is stopping"))
            raise
        finally:
            self._busy -= 1
            self.at_work[key.id] -= 1
        self._hand_in(piece, signatures, seconds)

    def _hand_in(self, piece: Piece, signatures: list[bytes], seconds: float) -> None:
        if self.health.evicted:  # meanwhile, for what another session did
            self._pass_on(piece)
            return
        self.health.breaker.succeeded()
        self.health.gauges.called(seconds, len(signatures))
        self.recent.append(signatures)
        rest = piece.finish(signatures)
        if rest is not None:
            self._queue.put_back(rest)

    def _pass_on(self, piece: Piece) -> None:
        """Let another session do it, unless too many have failed on it."""
        if piece.attempts + 1 >= ATTEMPTS_MAX:
            piece.fail(self.health.unavailable())
        else:
            self._queue.give_back(piece)
            self._worse()

    async def _run(self, session: Session, command: Command) -> None:
        if command.done.done():
            return
        self._busy += 1
        try:
            result = await command.run(session)
        except WrongAnswer as error:
            command.fail(ServiceError(f"token {self.name} made {error}"))
            raise self._wrong(error) from None
        except CallFailed as error:
            self.health.gauges.errors[error.kind] += 1
            command.fail(_call_error(self.name, error))
        except WorkerLost as error:
            command.fail(Unavailable(f"token {self.name}: {error.kind}: {error}", retry_in_s=1.0))
            raise
        except ServiceError as error:
            command.fail(error)
        except asyncio.CancelledError:
            command.fail(Unavailable("the key service is stopping"))
            raise
        else:
            self.health.breaker.succeeded()
            if not command.done.done():
                command.done.set_result(result)
        finally:
            self._busy -= 1

    async def _canary(self, session: Session) -> None:
        """Idle for long: see that the session still signs, before a firewall or the token has forgotten it."""
        session.touch()
        for key in filter(None, map(self._registry.get, sorted(self.found)[:1])):
            try:
                if not await self.find(key, session):
                    await session.canary(key)
                    self.health.breaker.succeeded()
            except WrongAnswer as error:
                raise self._wrong(error) from None


def _call_error(token: str, error: CallFailed) -> ServiceError:
    if error.kind == "DeviceMemory":
        return OperatorNeeded(f"token {token} is full; remove keys that are no longer used")
    return ServiceError(f"token {token}: {error.kind}: {error}")
