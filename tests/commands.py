"""Commands answered as the control socket answers them, without a socket."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET

from dnssecd.control.command import Call, Command
from dnssecd.control.messages.base import Answer, Request
from dnssecd.control.peer import ALL_ROLES, Caller

OPERATOR = Caller(0, 0, 0, ALL_ROLES)


def make_call(name: str, args: dict[str, Any], sent: list[Any] | None = None) -> Call[Any]:
    """Return a call by an operator; progress and chunks go to ``sent``."""

    async def send(message: object) -> None:
        if sent is not None:
            sent.append(message)

    return Call(name, args, OPERATOR, send)


async def give(command: Command[Any], **args: Any) -> Any:
    """Return the answer to a command, as its client gets it. Raise Refused."""
    answer = await command.answer(make_call(command.name, args))
    return msgspec.json.decode(msgspec.json.encode(answer))


async def give_named(commands: Iterable[Command[Any]], name: str, **args: Any) -> Any:
    """Return the answer to the command with a name."""
    (command,) = [command for command in commands if command.name == name]
    return await give(command, **args)


class Anything(Answer, frozen=True, kw_only=True):
    """The answer to commands that exist in tests only."""

    args: Any = UNSET
    role: Any = UNSET
    uid: Any = UNSET
    done: Any = UNSET


def request_named(name: str, *, changes: bool = False) -> type[Request[Any]]:
    """Return the request of a command that exists in tests only."""
    alters = changes

    class Named(Request[Anything], frozen=True, kw_only=True):
        command: ClassVar[str] = name
        changes: ClassVar[bool] = alters

        zone: str | None = None
        n: int | None = None
        list: Any = None

    return Named
