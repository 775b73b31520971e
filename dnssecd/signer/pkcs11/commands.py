"""Commands waiting for a session of one token: everything but signing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from dnssecd.signer.errors import Late, ServiceError, Unavailable
from dnssecd.signer.pkcs11.session import Session, StaleSession

T = TypeVar("T")

COMMANDS_MAX = 1024
#: So often a command may ask for a fresh session.
RENEWALS_MAX = 8


@dataclass(eq=False)
class Command:
    """Something else than signing to be done in a session that was started at `started_after` or later.

    `renewing`: a session was ended for it already.
    """

    run: Callable[[Session], Awaitable[Any]]
    done: asyncio.Future[Any]
    started_after: float = 0.0
    renewing: bool = False
    renewals: int = 0

    def fail(self, error: ServiceError) -> None:
        """End it without a result."""
        if not self.done.done():
            self.done.set_exception(error)

    def succeed(self, result: Any) -> None:
        """End it with a result."""
        if not self.done.done():
            self.done.set_result(result)


class CommandQueue:
    """See the module. `poke()` wakes the sessions."""

    def __init__(self, token: str, monotonic: Callable[[], float], poke: Callable[[], None]) -> None:
        self._token = token
        self._monotonic = monotonic
        self._poke = poke
        self._waiting: deque[Command] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    async def run(
        self,
        run: Callable[[Session], Awaitable[T]],
        deadline: float,
        *,
        fresh: bool,
        why_late: Callable[[], str],
    ) -> T:
        """Have a session do it; Late after `deadline`, Unavailable when too many commands wait."""
        if len(self._waiting) >= COMMANDS_MAX:
            raise Unavailable(f"token {self._token}: {COMMANDS_MAX} commands wait already", retry_in_s=1.0)
        command = Command(run, asyncio.get_running_loop().create_future())
        if fresh:
            command.started_after = self._monotonic()
        self._waiting.append(command)
        self._poke()
        try:
            async with asyncio.timeout_at(deadline):
                result: T = await command.done
        except TimeoutError:
            raise Late(f"token {self._token} did not answer in time; {why_late()}".rstrip("; ")) from None
        return result

    def take(self, session: Session) -> Command | None:
        """Return the next command that this session may do. Raise StaleSession when one needs a fresh session."""
        while self._waiting and self._waiting[0].done.done():
            self._waiting.popleft()
        for command in self._waiting:
            if command.started_after <= session.started_at:
                self._waiting.remove(command)
                return None if command.done.done() else command
        for command in self._waiting:
            if not command.renewing:
                command.renewing = True
                raise StaleSession
        return None

    def put_back(self, command: Command) -> None:
        """Let a fresh session do it again, because the session that did it is ended."""
        command.renewals += 1
        if command.renewals > RENEWALS_MAX:
            text = f"token {self._token}: {RENEWALS_MAX} fresh sessions have not sufficed to see all keys"
            command.fail(Unavailable(text, retry_in_s=1.0))
            return
        command.started_after, command.renewing = self._monotonic(), True
        self._waiting.appendleft(command)

    def fail_all(self, error: ServiceError) -> None:
        """Answer all commands that wait."""
        while self._waiting:
            self._waiting.popleft().fail(error)
