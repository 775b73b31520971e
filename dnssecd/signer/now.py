"""The one place where the key service reads the wall clock."""

from __future__ import annotations

import time
from collections.abc import Callable

Now = Callable[[], float]


def wall_clock() -> float:
    """Epoch seconds."""
    return time.time()  # noqa: TID251
