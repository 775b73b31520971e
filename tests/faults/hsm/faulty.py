"""SoftHSM behind the shim, and what tests of its misbehaviour have in common."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_protocol import TokenStatus
from tests.integration.hsm.softhsm import SoftHsm

RECOVERY_S = 6.0


class FaultyHsm(SoftHsm):
    """SoftHSM behind the shim; `orders` are the shim's, effective at once."""

    def orders(self, *lines: str) -> None:
        control = Path(os.environ["SHIM_CONTROL"])
        fresh = control.with_suffix(".new")
        fresh.write_text("".join(line + "\n" for line in lines))
        fresh.rename(control)

    def serials(self) -> list[str]:
        """Serial numbers of the tokens, "" for one that is not initialised."""
        done = subprocess.run(
            ["softhsm2-util", "--show-slots"], capture_output=True, check=True, text=True, timeout=30
        )
        return [
            line.partition(":")[2].strip() for line in done.stdout.splitlines() if "Serial number:" in line
        ]

    def logins(self) -> int:
        log = Path(os.environ["SHIM_CONTROL"] + ".logins")
        return len(log.read_text().splitlines()) if log.exists() else 0


def temporary_error(action: Callable[[], object]) -> SignerError | None:
    """Do it; return the error when it was a temporary one, raise any other."""
    try:
        action()
    except SignerError as error:
        if not error.temporary:
            raise
        return error
    return None


def within(seconds: float, action: Callable[[], object]) -> None:
    """Do it again and again, while errors are temporary, until it succeeds."""
    deadline = time.monotonic() + seconds
    while (error := temporary_error(action)) is not None:
        assert time.monotonic() < deadline, error
        time.sleep(0.05)
    assert time.monotonic() < deadline


def token_of(client: SignerClient, index: int = 0) -> TokenStatus:
    return client.status().stores[0].tokens[index]


def firing(client: SignerClient) -> set[str]:
    return {warning.code for warning in client.status().warnings if warning.firing}


def within_any(action: Callable[[], object], until: Callable[[], bool], seconds: float = RECOVERY_S) -> None:
    """Do it until the condition holds; temporary errors are allowed."""
    deadline = time.monotonic() + seconds
    while not until():
        error = temporary_error(action)
        assert time.monotonic() < deadline, error
        time.sleep(0.02)


def workers(client: SignerClient) -> list[int]:
    return children(client.status().pid)


def children(pid: int) -> list[int]:
    done = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, check=False)
    return [int(child) for child in done.stdout.split()]


def kill_workers(client: SignerClient) -> None:
    kill(*workers(client))


def kill(*pids: int) -> None:
    """Those that have ended meanwhile are no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def two_tokens(hsm: FaultyHsm, *, same: bool) -> None:
    """Tokens "dns" and "twin", each with a key of one CKA_ID and label; the same key, or not."""
    hsm.make_token("twin")
    if not same:
        for label in ("dns", "twin"):
            hsm.inspect(label, "make", "beef", "zone key")
        return
    for label in ("dns", "twin"):
        hsm.import_key(label, make_pem(hsm.path / "key.pem"), "beef", "zone key")


def make_pem(path: Path) -> Path:
    """A private key as an HSM vendor's tool would clone it into several tokens; made once."""
    if not path.exists():
        subprocess.run(
            ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path],
            check=True,
            capture_output=True,
            timeout=30,
        )
    return path


def cloned_keys(hsm: FaultyHsm, *labels: str) -> None:
    """A KSK (CKA_ID f0) and a ZSK (CKA_ID f1), the same ones in each of the tokens."""
    for cka_id in ("f0", "f1"):
        for label in labels:
            hsm.import_key(label, make_pem(hsm.path / f"{cka_id}.pem"), cka_id, f"key {cka_id}")


def build_shim(directory: Path) -> Path:
    """Compile the shim into `directory`; skips where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: apt install gcc")
    built = directory / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", built, source, "-ldl"],
        check=True,
        timeout=60,
    )
    return built
