"""Pause Python's search for reference cycles during work on a zone.

Bulk work makes millions of tuples and no cycles; the collector would scan all of them repeatedly without
result, for a quarter of the time. Unreferenced objects are still freed.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """Turn the search off until the block ends; if it was off before, it stays off."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
