"""How the key service gets the time: as a parameter, so that tests set it."""

from __future__ import annotations

from collections.abc import Callable

Now = Callable[[], float]
"""Epoch seconds."""
