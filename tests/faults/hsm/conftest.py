"""The shim, built once, and a SoftHSM behind it for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.hsm.faulty import FaultyHsm, build_shim


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def hsm(tmp_path: Path, shim: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyHsm]:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    monkeypatch.setenv("SHIM_CONTROL", str(tmp_path / "orders"))
    hsm = FaultyHsm(tmp_path / "hsm", module=str(shim))
    hsm.make_token("dns")
    hsm.orders()
    yield hsm
    hsm.orders()
