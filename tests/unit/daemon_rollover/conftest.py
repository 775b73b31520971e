"""A zone that is signed and published, and what rolls its keys over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.unit.daemon_rollover.rig import Rig


@pytest_asyncio.fixture
async def rig(tmp_path: Path, signer: str) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, signer)
    await made.plan()
    await made.settle()
    yield made
    await made.close()
