"""All requests by the name of their command."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from dnssecd.control.messages import NOUNS
from dnssecd.control.messages import __name__ as package
from dnssecd.control.messages.base import Request

AnyRequest = type[Request[Any]]


def list_requests(noun: str) -> list[AnyRequest]:
    """Return the requests of a noun's module, in the order of the module."""
    module = importlib.import_module(f"{package}.{noun}")
    return [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Request) and kind.__module__ == module.__name__
        if hasattr(kind, "command")  # a base of requests has none
    ]


def by_command(requests: Iterable[AnyRequest]) -> dict[str, AnyRequest]:
    """Return the requests by command. Raise ValueError where two have the same command."""
    found: dict[str, AnyRequest] = {}
    for kind in requests:
        other = found.setdefault(kind.command, kind)
        if other is not kind:
            raise ValueError(f"{other.__name__} and {kind.__name__} are both the command {kind.command}")
    return found


def all_requests() -> dict[str, AnyRequest]:
    """Return every request of the protocol by its command."""
    return by_command(kind for noun in NOUNS for kind in list_requests(noun))
