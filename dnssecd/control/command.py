"""A command of the control socket in the daemon: its call, its handler, and the table of all commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from msgspec import Struct

from dnssecd.control.messages.base import BadField, Q, Request, answer_type, read_request
from dnssecd.control.peer import Caller, Role

HANDLER_S = 60.0
CHUNK_MAX = 2**18

Scalar = str | int | float | bool | None
#: Arguments as received: scalars and lists of scalars.
Args = dict[str, Scalar | list[Scalar]]
Send = Callable[[object], Awaitable[None]]


class Refused(Exception):
    """A handler's refusal: the reason and what to do. exit: exit status of the command (1 or 2)."""

    def __init__(self, what: str, remedy: str, *, exit: int = 1, detail: object = None) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.exit = exit
        self.detail = detail


class ClientGone(Exception):
    """The client disconnected, or stopped reading, before its answer was sent."""


R = TypeVar("R", bound=Request[Any])


class Call(Generic[Q]):
    """One request that is being answered. ``request`` is set before the handler runs."""

    request: Q

    def __init__(self, command: str, args: Args, caller: Caller, send: Send) -> None:
        self.command = command
        self.args = args
        self.caller = caller
        self.notes: list[tuple[str, str]] = []
        self._send = send

    def note(self, what: str, detail: str = "") -> None:
        """Record what the command did, if its arguments do not show it."""
        self.notes.append((what, detail))

    def with_request(self, request: R) -> Call[R]:
        """Return the same call with the request of another command, which carries it out."""
        other: Call[R] = Call(self.command, self.args, self.caller, self._send)
        other.request, other.notes = request, self.notes
        return other

    async def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Report progress to the client."""
        await self._send({"progress": {"done": done, "total": total, "text": text}})

    async def chunk(self, text: str) -> None:
        """Send a piece of streamed output. Waits while the client is slow."""
        for start in range(0, len(text), CHUNK_MAX):
            await self._send({"chunk": text[start : start + CHUNK_MAX]})


class Command(Struct, Generic[Q], frozen=True):
    """A type of request and its handler. timeout: seconds that the handler may take, None: no limit.

    The handler returns the answer type of the request, or raises Refused.
    """

    request: type[Q]
    handler: Callable[[Call[Q]], Awaitable[object]]
    timeout: float | None = HANDLER_S

    @property
    def name(self) -> str:
        """The name of the command in the protocol."""
        return self.request.command

    @property
    def changes(self) -> bool:
        """Whether the command changes something: it is recorded then."""
        return self.request.changes

    @property
    def needs(self) -> Role:
        """The role that a caller needs."""
        if self.request.for_officers:
            return "key_officer"
        return "operator" if self.request.changes else "viewer"

    async def answer(self, call: Call[Q]) -> object:
        """Return the answer to a call. Raise Refused, also for a request of a wrong type."""
        try:
            call.request = read_request(self.request, call.args)
        except BadField as bad:
            raise Refused(
                str(bad), "use the dnssecd command of the same version as the daemon", exit=2
            ) from None
        answer = await self.handler(call)
        expected = answer_type(self.request)
        if not isinstance(answer, expected):
            raise TypeError(f"the handler returned {type(answer).__name__}, not {expected.__name__}")
        return answer


class CommandTable:
    """The commands of the daemon. The module of each noun registers its commands once."""

    def __init__(self, *groups: Iterable[Command[Any]]) -> None:
        self._commands: dict[str, Command[Any]] = {}
        for group in groups:
            self.register(group)

    def register(self, commands: Iterable[Command[Any]]) -> None:
        """Add commands. Raise ValueError for a command that is already registered."""
        for command in commands:
            if command.name in self._commands:
                raise ValueError(f"the command {command.name} is registered twice")
            self._commands[command.name] = command

    def find(self, name: str) -> Command[Any] | None:
        """Return the command with a name, None if unknown."""
        return self._commands.get(name)

    def __iter__(self) -> Iterator[Command[Any]]:
        return iter(self._commands.values())
