"""What was derived from an object is kept while that very object is in use.

Every version of a zone needs what follows from its key set, which changes seldom: the store gives the same document
while its text stays the same. So nothing is compared or hashed; an object of another version is never used.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

KEPT_MAX = 64

S = TypeVar("S")
T = TypeVar("T")


class Kept(Generic[S, T]):
    """``make`` with a memory of its last results, by identity of its argument. Sources and results must not be changed.

    Threads may share it: at worst a result is made twice.
    """

    def __init__(self, make: Callable[[S], T]) -> None:
        self._make = make
        #: By id: the source, which is held so that no other object gets its id, and the result.
        self._known: dict[int, tuple[S, T]] = {}

    def __call__(self, source: S) -> T:
        """Return what is made from the source."""
        found = self._known.get(id(source))
        if found is not None and found[0] is source:
            return found[1]
        made = self._make(source)
        if len(self._known) >= KEPT_MAX:
            self._known = {}
        self._known[id(source)] = source, made
        return made
