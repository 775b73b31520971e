"""The shim, built once, and a SoftHSM behind it for each test."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.hsm.faulty import FaultyHsm


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: apt install gcc")
    built = tmp_path_factory.mktemp("shim") / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", built, source, "-ldl"],
        check=True,
        timeout=60,
    )
    return built


@pytest.fixture
def hsm(tmp_path: Path, shim: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyHsm]:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    monkeypatch.setenv("SHIM_CONTROL", str(tmp_path / "orders"))
    hsm = FaultyHsm(tmp_path / "hsm", module=str(shim))
    hsm.make_token("dns")
    hsm.orders()
    yield hsm
    hsm.orders()
