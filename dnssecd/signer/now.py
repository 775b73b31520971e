"""How the key service is told the time: a parameter, so that tests set it."""

from __future__ import annotations

from collections.abc import Callable

Now = Callable[[], float]
"""Epoch seconds."""
