"""Changed copies of values: what ``copy.replace`` of Python 3.13 does.

``dataclasses.replace`` raises TypeError for a Struct, ``msgspec.structs.replace`` for a dataclass, and a type checker
sees neither; so both are used here only.
"""

import dataclasses
from typing import Any, TypeVar

from msgspec import Struct, structs

T = TypeVar("T")


def replace(value: T, /, **changes: Any) -> T:
    """Return a copy of a Struct or dataclass with other fields. Raise TypeError for an unknown field."""
    if isinstance(value, Struct):
        return structs.replace(value, **changes)
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]
