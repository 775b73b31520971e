"""The sessions of one token: worker processes that are opened, watched, replaced and, if need be, evicted.

States of a token: *starting* until a session is open; *ok*; *down* while the breaker is open (too many
failures; tried again with back-off); *operator* while a person must act (PIN); *evicted* once it answered
wrong, until `dnssecd keystore test` finds it good again. The eviction is kept in a file, so a restart does
not forget it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog

from dnssecd.breaker import Breaker
from dnssecd.signer import files
from dnssecd.signer.errors import Late, OperatorNeeded, ServiceError, Unavailable
from dnssecd.signer.pkcs11 import messages as m
from dnssecd.signer.pkcs11.gauges import Gauges
from dnssecd.signer.pkcs11.link import CallFailed, WorkerLink, WorkerLost
from dnssecd.signer.pkcs11.pin import Pin
from dnssecd.signer.pkcs11.session import Session, WrongAnswer
from dnssecd.signer.queue import FairQueue, Piece
from dnssecd.signer.registry import Registry
from dnssecd.signer.sealed import Description
from dnssecd.signer.warnings import WarningBook
from dnssecd.wire_protocol import TokenSettings, TokenStatus

log = structlog.get_logger()
T = TypeVar("T")

OPEN_DEADLINE_S = 30.0
PIN_LOOK_S = 2.0
SESSION_LIMIT_WAIT_S = 30.0
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


class TokenPool:
    """See the module. Pieces come from the store's queue, shared with the pools of its other tokens."""

    def __init__(
        self,
        settings: TokenSettings,
        queue: FairQueue,
        registry: Registry,
        pin: Pin,
        warnings: WarningBook,
        evicted_path: Path,
        *,
        has_precedence: Callable[[TokenPool, str], bool],
        changed: Callable[[], None],
    ) -> None:
        self.name = settings.name
        self.gauges = Gauges()
        self.found: set[str] = set()
        self._settings = settings
        self._queue = queue
        self._registry = registry
        self._pin = pin
        self._warnings = warnings
        self._evicted_path = evicted_path
        self._has_precedence = has_precedence
        self._changed = changed
        self._monotonic = asyncio.get_running_loop().time
        self._breaker = Breaker(threshold=2, first_s=0.5, longest_s=settings.retry_longest_s)
        self._opening = asyncio.Lock()
        self._commands: deque[Command] = deque()
        self._slots: list[asyncio.Task[None]] = []
        self._open = 0
        self._busy = 0
        self._fault = ""
        self._detail = ""
        self._not_here: dict[str, tuple[str, float]] = {}
        self._evicted = ""
        self._trial = False
        self.recent: deque[list[bytes]] = deque(maxlen=2048)

    # State

    @property
    def evicted(self) -> bool:
        """Whether the token answered wrong and was not found good since."""
        return bool(self._evicted)

    @property
    def hopeful(self) -> bool:
        """Whether it makes sense to wait for this token."""
        if self._evicted:
            return False
        return self._open > 0 or (not self._fault and self._breaker.state == "closed")

    @property
    def working(self) -> bool:
        """Whether a session is open."""
        return self._open > 0 and not self._evicted

    @property
    def detail(self) -> str:
        """Why the token is not working."""
        return self._evicted or self._fault or self._detail

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
        self._not_here.pop(key_id, None)

    def status(self) -> TokenStatus:
        """For monitoring."""
        state = (
            "evicted" if self._evicted
            else "ok" if self._open
            else "operator" if self._fault
            else "starting" if self._breaker.state == "closed"
            else "down"
        )  # fmt: skip
        return TokenStatus(
            name=self.name,
            state=state,
            detail="" if state == "ok" else self.detail,
            sessions_open=self._open,
            sessions_busy=self._busy,
            queue=len(self._commands),
            breaker=self._breaker.state,
            retry_in_s=self._breaker.wait_s(),
            signatures=self.gauges.signatures,
            calls=self.gauges.calls,
            latency_sum_s=self.gauges.latency_sum_s,
            latency_buckets=self.gauges.buckets(),
            errors=dict(self.gauges.errors),
            workers_replaced=self.gauges.replaced,
        )

    # Life

    def start(self) -> None:
        """Start opening sessions."""
        if self._evicted_path.exists():
            self._evicted = self._evicted_path.read_text("utf-8", "replace") or "evicted earlier"
            self._warnings.add("token evicted", self.name, self._evicted)
        loop = asyncio.get_running_loop()
        self._slots = [loop.create_task(self._slot()) for _ in range(self._settings.sessions)]

    async def stop(self) -> None:
        """End the workers."""
        for slot in self._slots:
            slot.cancel()
        await asyncio.gather(*self._slots, return_exceptions=True)
        self._fail_commands("the key service is stopping")

    async def command(self, run: Callable[[Session], Awaitable[T]], deadline: float) -> T:
        """Do something in any session of this token; ServiceError when that is not possible in time."""
        if not self.hopeful and not self._trial:
            raise Unavailable(f"token {self.name}: {self.detail}", retry_in_s=self._breaker.wait_s())
        if len(self._commands) >= COMMANDS_MAX:
            raise Unavailable(f"token {self.name}: {COMMANDS_MAX} commands wait already", retry_in_s=1.0)
        command = Command(run, asyncio.get_running_loop().create_future())
        self._commands.append(command)
        self._queue.poke()
        try:
            async with asyncio.timeout_at(deadline):
                result: T = await command.done
        except TimeoutError:
            raise Late(f"token {self.name} did not answer in time; {self.detail}".rstrip("; ")) from None
        return result

    def evict(self, why: str) -> None:
        """Stop using the token: it answered wrong."""
        self._evicted = f"token {self.name} made {why}; it is not used. See why, then `dnssecd keystore test`"
        self.gauges.errors["wrong signature"] += 1
        log.error("token evicted", token=self.name, why=why)
        with contextlib.suppress(OSError):
            files.write_atomically(self._evicted_path, self._evicted.encode())
        self._warnings.add("token evicted", self.name, self._evicted)
        self._fail_commands(self._evicted)
        self._queue.poke()
        self._changed()

    async def try_again(self, check: Callable[[Session], Awaitable[None]], deadline: float) -> None:
        """Put an evicted token through `check`; it is used again when that raises nothing."""
        self._trial = True
        self._queue.poke()
        try:
            await self.command(check, deadline)
            files.remove(self._evicted_path)
            self._evicted = ""
            self._warnings.clear("token evicted", self.name)
        finally:
            self._trial = False
            self._queue.poke()

    # Sessions

    async def _slot(self) -> None:
        """Keep one session open and at work, for ever."""
        while True:
            session = await self._open_session()
            try:
                await self._work(session)
            except (WorkerLost, CallFailed) as error:
                self._open -= 1
                self.gauges.replaced += 1
                self._failed(error)
            except BaseException:
                self._open -= 1
                raise
            else:
                self._open -= 1
            finally:
                await session.link.kill()

    async def _open_session(self) -> Session:
        """Open a session, as often as it takes; one at a time, so that a wrong PIN is tried once."""
        while True:
            while self._evicted and not self._trial:
                await self._queue.wait()
            await asyncio.sleep(self._breaker.wait_s())
            async with self._opening:
                if self._breaker.wait_s() > 0:
                    continue
                try:
                    session = await self._try_to_open()
                except OperatorNeeded as error:
                    self._set_fault(str(error))
                    pause_s = PIN_LOOK_S
                except (WorkerLost, CallFailed) as error:
                    pause_s = self._could_not_open(error)
                else:
                    self._set_fault("")
                    self._warnings.clear("token down", self.name)
                    self._open += 1
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
            if not self._trial:
                await self._health_check(session)
        except BaseException as error:
            await link.kill()
            if isinstance(error, WorkerLost) and error.kind in PIN_REFUSED:
                self._pin.refused(pin)
                self.gauges.errors[error.kind] += 1
                text = f"token {self.name} refused the PIN; it is not tried again. Put the right one there"
                raise OperatorNeeded(text) from None
            raise
        return session

    async def _health_check(self, session: Session) -> None:
        """Before a session is used: a signature with one of its keys must verify."""
        if not self._open:
            self._not_here.clear()  # another session generation: look again
            self.found.clear()
        for key in self._registry.all()[:3]:
            if not await self.find(key, session):
                self._breaker.succeeded()
                return
        if not len(self._registry):
            self._breaker.succeeded()

    def _could_not_open(self, error: WorkerLost | CallFailed) -> float:
        """Count and report; return how long to pause, beyond what the breaker says."""
        if error.kind == "SessionCount" and self._open:
            detail = f"the token has no room for more than {self._open} of {self._settings.sessions} sessions"
            self._warnings.add("token session limit", self.name, detail)
            self.gauges.errors[error.kind] += 1
            return SESSION_LIMIT_WAIT_S
        if error.kind in NEEDS_OPERATOR:
            self._set_fault(f"token {self.name}: {error}")
        self._failed(error)
        return 0.0

    def _failed(self, error: WorkerLost | CallFailed) -> None:
        """Count a failure; with the breaker open, nobody is left waiting for this token."""
        self.gauges.errors[error.kind] += 1
        self._detail = f"token {self.name}: {error.kind}: {error}"
        log.warning("token session lost", token=self.name, kind=error.kind, error=str(error))
        self._breaker.failed()
        if not self.hopeful:
            self._warnings.add("token down", self.name, self._detail)
            self._fail_commands(self._detail)
        self._changed()

    def _set_fault(self, fault: str) -> None:
        if fault and fault != self._fault:
            self._warnings.add("token needs operator", self.name, fault)
        if not fault:
            self._warnings.clear("token needs operator", self.name)
        self._fault = fault
        if fault and not self.hopeful:
            self._fail_commands(fault)
            self._changed()

    def _fail_commands(self, why: str) -> None:
        while self._commands:
            command = self._commands.popleft()
            if not command.done.done():
                command.done.set_exception(Unavailable(why, retry_in_s=self._breaker.wait_s()))

    # Work

    async def _work(self, session: Session) -> None:
        while not self._evicted or self._trial:
            if self._commands:
                await self._run(session, self._commands.popleft())
                continue
            piece = None if self._trial else self._take(session)
            if piece is not None:
                await self._sign(session, piece)
                continue
            try:
                async with asyncio.timeout(self._settings.idle_canary_s):
                    await self._queue.wait()
            except TimeoutError:
                await self._canary(session)

    def _take(self, session: Session) -> Piece | None:
        """What this session does next: its share of what is waiting, so that no other session idles."""
        share = -(-len(self._queue) // self._open)
        return self._queue.take(min(session.piece_size, max(1, share)), self._accepts)

    def _accepts(self, key_id: str) -> bool:
        return self.may_hold(key_id) and not self._has_precedence(self, key_id)

    async def find(self, key: Description, session: Session) -> str:
        """Look a key up; return "" or why it is not to be had here, which is remembered and reported."""
        try:
            detail = await session.find(key)
        except WrongAnswer as error:
            self.evict(str(error))
            raise WorkerLost("wrong signature", str(error)) from None
        if detail:
            self._not_here[key.id] = detail, self._monotonic() + LOOK_AGAIN_S
            self.found.discard(key.id)
            self._warnings.add("key not in token", f"{key.id} {self.name}", detail)
            self._changed()
        else:
            self._not_here.pop(key.id, None)
            self.found.add(key.id)
            self._warnings.clear("key not in token", f"{key.id} {self.name}")
        return detail

    async def _sign(self, session: Session, piece: Piece) -> None:
        key = self._registry.get(piece.job.key_id)
        if key is None:
            piece.fail(Unavailable("the key was removed meanwhile"))
            return
        self._busy += 1
        try:
            if await self.find(key, session):
                self._pass_on(piece)
                return
            signatures, seconds = await session.sign(key, piece.preimages)
        except WrongAnswer as error:
            self.evict(str(error))
            self._pass_on(piece)
            raise WorkerLost("wrong signature", str(error)) from None
        except CallFailed as error:
            self.gauges.errors[error.kind] += 1
            piece.fail(ServiceError(f"token {self.name}: {error.kind}: {error}"))
            return
        except WorkerLost as error:
            self._detail = f"token {self.name}: {error.kind}: {error}"
            self._pass_on(piece)
            raise
        except asyncio.CancelledError:
            piece.fail(Unavailable("the key service is stopping"))
            raise
        finally:
            self._busy -= 1
        if self._evicted:
            self._pass_on(piece)
            return
        self._breaker.succeeded()
        self.gauges.called(seconds, len(signatures))
        self.recent.append(signatures)
        rest = piece.finish(signatures)
        if rest is not None:
            self._queue.put_back(rest)

    def _pass_on(self, piece: Piece) -> None:
        """Let another session do it, unless too many have failed on it."""
        if piece.attempts + 1 >= ATTEMPTS_MAX:
            piece.fail(Unavailable(self.detail or f"token {self.name} failed", retry_in_s=1.0))
        else:
            self._queue.give_back(piece)
            self._changed()

    async def _run(self, session: Session, command: Command) -> None:
        if command.done.done():
            return
        self._busy += 1
        try:
            result = await command.run(session)
        except WrongAnswer as error:
            self._end(command, ServiceError(f"token {self.name} made {error}"))
            self.evict(str(error))
            raise WorkerLost("wrong signature", str(error)) from None
        except CallFailed as error:
            self.gauges.errors[error.kind] += 1
            self._end(command, _call_error(self.name, error))
        except WorkerLost as error:
            self._end(command, Unavailable(f"token {self.name}: {error.kind}: {error}", retry_in_s=1.0))
            raise
        except ServiceError as error:
            self._end(command, error)
        except asyncio.CancelledError:
            self._end(command, Unavailable("the key service is stopping"))
            raise
        else:
            self._breaker.succeeded()
            if not command.done.done():
                command.done.set_result(result)
        finally:
            self._busy -= 1

    def _end(self, command: Command, error: ServiceError) -> None:
        if not command.done.done():
            command.done.set_exception(error)

    async def _canary(self, session: Session) -> None:
        """Idle for long: see that the session still signs, before a firewall or a token has forgotten it."""
        for key_id in self.found:
            key = self._registry.get(key_id)
            if key is None:
                continue
            try:
                if not await self.find(key, session):
                    await session.canary(key)
                    self._breaker.succeeded()
            except WrongAnswer as error:
                self.evict(str(error))
                raise WorkerLost("wrong signature", str(error)) from None
            return


def _call_error(token: str, error: CallFailed) -> ServiceError:
    if error.kind == "DeviceMemory":
        return OperatorNeeded(f"token {token} is full; remove keys that are no longer used")
    return ServiceError(f"token {token}: {error.kind}: {error}")
