from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.cluster.world import World
from tests.peers.postgres import Postgres, postgres

__all__ = ["postgres"]


@pytest.fixture
def world(postgres: Postgres) -> Iterator[World]:
    """Two nodes, a and b, that have joined."""
    made = World(postgres, "a", "b")
    yield made
    made.close()
