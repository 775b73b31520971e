"""The forms of a request and of an answer, and how a request is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Generic, TypeVar, cast, get_args

import msgspec
from msgspec import Meta

from dnssecd.control.messages.words import describe, describe_value, resolve_fields


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a command, or a part of one.

    A reader ignores fields that it does not know. A field that is added later has a default.
    """


A = TypeVar("A", bound=Answer)
Q = TypeVar("Q", bound="Request[Any]")


class Request(msgspec.Struct, Generic[A], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of a command. ``A`` is the type of its answer.

    command: its name in the protocol. changes: it changes something, so only an operator may give it. for_officers:
    only a key officer may. chunks: what the pieces of text before the answer are, "" when there are none. progress:
    long work, reported meanwhile.
    """

    command: ClassVar[str]
    changes: ClassVar[bool] = False
    for_officers: ClassVar[bool] = False
    chunks: ClassVar[str] = ""
    progress: ClassVar[bool] = False


Zone = Annotated[str, Meta(description="name of a zone")]
Time = Annotated[int | float, Meta(description="seconds since the epoch")]
Seconds = Annotated[int | float, Meta(description="seconds")]
Serial = Annotated[int, Meta(description="SOA serial")]
KeyTag = Annotated[int, Meta(description="key tag")]
Message = Annotated[str, Meta(description="what was done, for people")]
AcceptChange = Annotated[bool, Meta(description="accept a change that max_change refuses")]
AcceptOlder = Annotated[
    bool, Meta(description="load a file that another node of a cluster replaced by a newer one")
]
FirstPublication = Annotated[
    bool, Meta(description="publish although it is not known what all servers of the zone serve")
]


class BadField(Exception):
    """A request has a field that its command does not take, lacks one, or has one of the wrong type."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(what)
        self.field = field


def answer_type(request: type[Request[A]]) -> type[A]:
    """Return the type of a request's answer."""
    for base in getattr(request, "__orig_bases__", ()):
        for argument in get_args(base):
            if isinstance(argument, type) and issubclass(argument, Answer):
                return cast("type[A]", argument)
    raise TypeError(f"{request.__name__} does not name the type of its answer: write Request[ITS_ANSWER]")


def read_request(kind: type[Q], args: Mapping[str, object]) -> Q:
    """Return the request of a type with these arguments. Raise BadField, which names the field."""
    try:
        request: Q = msgspec.convert(args, kind)
    except msgspec.ValidationError:
        raise _find_bad_field(kind, args) from None
    return request


def _find_bad_field(kind: type[Request[Any]], args: Mapping[str, object]) -> BadField:
    fields = resolve_fields(kind)
    for name in args:
        if name not in fields:
            known = ", ".join(f'"{field}"' for field in fields) or "no field"
            return BadField(name, f'{kind.command} has no field "{name[:64]}"; it takes {known}')
    for name, field in fields.items():
        if name not in args:
            if field.required:
                return BadField(name, f'{kind.command} needs the field "{name}": {describe(field.type)}')
            continue
        try:
            msgspec.convert(args[name], field.type)
        except msgspec.ValidationError:
            return BadField(
                name,
                f'{kind.command}: the field "{name}" must be {describe(field.type)}, not '
                f"{describe_value(args[name])}",
            )
    raise AssertionError(f"{kind.__name__} refuses a request whose fields are all good")
