"""Types of messages in words: for error messages and for the documentation of the protocol."""

from __future__ import annotations

import json
import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct, UnsetType

VALUE_SHOWN_MAX = 40

_SCALARS = {str: "text", int: "an integer", float: "a number", bool: "true or false", type(None): "null"}
_PLURALS = {str: "texts", int: "integers", float: "numbers", bool: "booleans"}
#: How values that a request can hold are called in an error message.
_JSON_KINDS = {
    str: "the text",
    bool: "the value",
    int: "the number",
    float: "the number",
    list: "the list",
    dict: "the object",
}


class Field(Struct, frozen=True):
    """A field of a message: its type, whether a message must have it, what it is."""

    type: Any
    required: bool
    text: str


def resolve_fields(kind: type[msgspec.Struct]) -> dict[str, Field]:
    """Return the fields of a message by name, in their order."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.name: Field(hints[field.name], field.required, find_text(hints[field.name]))
        for field in msgspec.structs.fields(kind)
    }


def find_text(annotation: Any) -> str:
    """Return what a type says that its values are, "" when it says nothing."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        texts = [meta.description for meta in more if isinstance(meta, Meta) and meta.description]
        return texts[-1] if texts else find_text(inner)
    texts = [find_text(part) for part in get_args(annotation) if not isinstance(part, str)]
    return next(filter(None, texts), "")


def describe(annotation: Any) -> str:
    """Return a type in words, such as ``text or null``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        least = next(
            (meta.ge for meta in arguments[1:] if isinstance(meta, Meta) and meta.ge is not None), None
        )
        return describe(arguments[0]) + ("" if least is None else f", at least {least}")
    if origin in (Union, types.UnionType):
        return _describe_choice(arguments)
    if origin is Literal:
        return join_or(json.dumps(value) for value in arguments)
    if origin in (list, tuple):
        return f"a list of {_describe_plural(arguments[0])}"
    if origin is dict:
        return f"an object of {_describe_plural(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return f"`{annotation.__name__}`"
    return _SCALARS[annotation]


def describe_value(value: object) -> str:
    """Return a value of a request in words, shortened."""
    text = json.dumps(value, ensure_ascii=False)
    shown = text if len(text) <= VALUE_SHOWN_MAX else text[:VALUE_SHOWN_MAX] + "…"
    return "null" if value is None else f"{_JSON_KINDS[type(value)]} {shown}"


def join_or(words: Iterable[str]) -> str:
    """Return ``a, b or c``."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def list_structs(annotation: Any) -> list[type[msgspec.Struct]]:
    """Return the messages that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return [annotation]
    parts = (part for part in get_args(annotation) if not isinstance(part, str | Meta))
    return [struct for part in parts for struct in list_structs(part)]


def _describe_choice(members: tuple[Any, ...]) -> str:
    kinds = [member for member in members if member is not UnsetType]
    if int in kinds and float in kinds:  # JSON has one kind of number
        kinds.remove(int)
    return join_or(dict.fromkeys(describe(kind) for kind in kinds))


def _describe_plural(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        return _describe_plural(get_args(annotation)[0])
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return f"`{annotation.__name__}`"
    if annotation in _PLURALS:
        return _PLURALS[annotation]
    return f"({describe(annotation)})"
