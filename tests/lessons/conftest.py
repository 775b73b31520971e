"""One key service for the incidents of a module; every incident has its own zone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline_zone import PipelineZone, running_signer


@pytest.fixture
def signer() -> Iterator[str]:
    with running_signer() as socket:
        yield socket


@pytest.fixture
def zone(tmp_path: Path, signer: str) -> Iterator[PipelineZone]:
    made = PipelineZone(tmp_path, signer)
    yield made
    made.close()
