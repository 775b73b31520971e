"""Equal values as one object: with thousands of zones, most of what they have is the same."""

from collections.abc import Hashable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

T = TypeVar("T", bound=Hashable)

#: Zones that are signed at the same time have equal times, so more values are kept than there are policies.
KEPT = 4096


def share(value: T) -> T:
    """Return an equal object of its type that was given lately, or the value itself; it must not be changed."""
    return value


if not TYPE_CHECKING:  # for a type checker a cached function loses its type
    share = lru_cache(KEPT, typed=True)(share)
