"""PKCS#11 modules other than SoftHSM, each with a token of its own: as the tests start them, on one machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from dnssecd.keyservice_settings import KeystoreSettings, SignerSettings, TokenSettings
from tests.faults.hsm.faulty import build_shim
from tests.integration.hsm.softhsm import MODULE as SOFTHSM
from tests.integration.hsm.softhsm import PIN, SoftHsm
from tests.peers.process import PeerError, free_port, wait_until

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
NSS = LIBRARIES / "libsoftokn3.so"
P11_KIT_CLIENT = LIBRARIES / "pkcs11/p11-kit-client.so"
TPM2 = LIBRARIES / "pkcs11/libtpm2_pkcs11.so"
OPENCRYPTOKI = LIBRARIES / "pkcs11/libopencryptoki.so"
OPENCRYPTOKI_SLOT = "3"
START_S = 15.0
#: How long a tool may take (s): cards make RSA keys slowly.
RUN_S = 180


@dataclass(frozen=True)
class Module:
    """A module ready to be used; `algorithms` are those that it must be able to make keys for and sign with."""

    library: str
    pin_file: Path
    algorithms: tuple[int, ...]
    environment: dict[str, str] = field(default_factory=dict)
    login: Literal["pin", "protected", "none"] = "pin"
    label: str = "dns"

    def settings(self, directory: Path, sessions: int = 2) -> SignerSettings:
        token = TokenSettings(
            name="dns",
            module=self.library,
            pin_file=str(self.pin_file) if self.login == "pin" else "",
            label=self.label,
            sessions=sessions,
            idle_canary_s=5.0,
            retry_longest_s=1.0,
            login=self.login,
        )
        return SignerSettings(
            socket=str(directory / "run" / "signer.sock"),
            state_dir=str(directory / "signer-state"),
            keystores=(KeystoreSettings(name="hsm", type="pkcs11", tokens=(token,)),),
        )


def need(*wanted: str | Path) -> None:
    """Skip where a program or a library is not installed."""
    for one in wanted:
        if not (one.exists() if isinstance(one, Path) else shutil.which(one)):
            pytest.skip(f"{one} is not installed: scripts/setup-peers soak")


def write_pin(directory: Path) -> Path:
    path = directory / "pin"
    path.write_text(PIN + "\n")
    path.chmod(0o600)
    return path


def run(*command: str | Path, text: str | None = None) -> None:
    done = subprocess.run(
        list(map(str, command)), input=text, capture_output=True, text=True, timeout=RUN_S, check=False
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)


@contextlib.contextmanager
def started(*command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server process of the module, ended in any case."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=START_S)


@contextlib.contextmanager
def softhsm(directory: Path) -> Iterator[Module]:
    hsm = SoftHsm(directory / "hsm")
    hsm.make_token("dns")
    yield Module(SOFTHSM, hsm.pin_file, (8, 10, 13, 14, 15, 16))


@contextlib.contextmanager
def nss(directory: Path, *, password: bool = True) -> Iterator[Module]:
    """NSS softoken wants its configuration as pReserved of C_Initialize: the shim gives it."""
    need("certutil", NSS)
    pin_file, database = write_pin(directory), directory / "db"
    database.mkdir()
    protection = ("-f", pin_file) if password else ("--empty-password",)
    run("certutil", "-N", "-d", f"sql:{database}", *protection)
    environment = {
        "SHIM_MODULE": str(NSS),
        "SHIM_RESERVED": f"configdir='sql:{database}' dbTokenDescription='dns'",
    }
    library = str(build_shim(directory))
    yield Module(library, pin_file, (8, 10, 13, 14), environment, "pin" if password else "none")


@contextlib.contextmanager
def nss_without_password(directory: Path) -> Iterator[Module]:
    with nss(directory, password=False) as module:
        yield module


@contextlib.contextmanager
def p11_kit_remote(directory: Path) -> Iterator[Module]:
    """SoftHSM behind `p11-kit server`: each call is a message over a socket, as with a network HSM."""
    need("p11-kit", P11_KIT_CLIENT)
    hsm = SoftHsm(directory / "hsm")
    hsm.make_token("dns")
    socket = directory / "p11.sock"
    with started("p11-kit", "server", "--provider", SOFTHSM, "-f", "-n", socket, "pkcs11:token=dns"):
        wait_until(socket.exists, "p11-kit server listens", START_S)
        environment = {"P11_KIT_SERVER_ADDRESS": f"unix:path={socket}"}
        yield Module(str(P11_KIT_CLIENT), hsm.pin_file, (8, 10, 13, 14), environment)


@contextlib.contextmanager
def tpm2(directory: Path) -> Iterator[Module]:
    """tpm2-pkcs11 with a software TPM; tpm2-abrmd, its resource manager, on a D-Bus of its own."""
    need("swtpm", "tpm2-abrmd", "tpm2_ptool", "dbus-daemon", TPM2)
    bus, store, state = f"unix:path={directory}/bus", directory / "store", directory / "tpm"
    store.mkdir()
    state.mkdir()
    port = free_port()  # the next one is swtpm's control channel
    server = ("--server", f"type=tcp,port={port}", "--ctrl", f"type=tcp,port={port + 1}")
    environment = {
        "DBUS_SESSION_BUS_ADDRESS": bus,
        "TPM2_PKCS11_STORE": str(store),
        "TPM2_PKCS11_TCTI": "tabrmd:bus_type=session",
        "TPM2TOOLS_TCTI": "tabrmd:bus_type=session",
        "TPM2_PKCS11_LOG_LEVEL": "0",
    }
    manager = ["tpm2-abrmd", "--session", f"--tcti=swtpm:host=127.0.0.1,port={port}"]
    if os.geteuid() == 0:
        manager.append("--allow-root")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        stack.enter_context(
            started("dbus-daemon", "--session", f"--address={bus}", "--nofork", "--nopidfile")
        )
        flags = ("--flags", "not-need-init,startup-clear")
        stack.enter_context(
            started("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", *server, *flags)
        )
        wait_until(lambda: listens(port), "swtpm listens", START_S)
        wait_until((directory / "bus").exists, "D-Bus listens", START_S)
        stack.enter_context(started(*manager))
        wait_until(lambda: _ptool(store, "init"), "tpm2-abrmd answers", START_S, every=0.5)
        pins = ("--sopin", "314159", "--userpin", PIN)
        run("tpm2_ptool", "addtoken", "--pid", "1", "--label", "dns", *pins, "--path", store)
        yield Module(str(TPM2), write_pin(directory), (8, 10, 13, 14), environment)


def listens(port: int) -> bool:
    """Whether a process listens on a TCP port; swtpm takes one connection only, so none is made to find out."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def _ptool(store: Path, command: str) -> bool:
    done = subprocess.run(
        ["tpm2_ptool", command, "--path", str(store)], capture_output=True, timeout=60, check=False
    )
    return done.returncode == 0


@contextlib.contextmanager
def opencryptoki(directory: Path) -> Iterator[Module]:
    """The soft token of Debian 12's openCryptoki has RSA only. It is the machine's, so only root can set it up."""
    need("pkcsslotd", "pkcsconf", OPENCRYPTOKI)
    if os.geteuid() != 0:
        pytest.skip("openCryptoki's token can only be set up by root")
    pid_file = Path("/var/run/pkcsslotd.pid")
    if pid_file.exists() and Path("/proc", pid_file.read_text().strip()).exists():
        pytest.skip("pkcsslotd runs already: this machine's token is left alone")
    run("pkcsslotd")
    try:
        _set_up_opencryptoki()
        yield Module(str(OPENCRYPTOKI), write_pin(directory), (8, 10))
    finally:
        _end_pkcsslotd(int(pid_file.read_text()))


def _end_pkcsslotd(pid: int) -> None:
    """It does not end by itself while a process uses it, as that of a test that failed."""
    os.kill(pid, signal.SIGTERM)
    try:
        wait_until(lambda: not Path("/proc", str(pid)).exists(), "pkcsslotd ends", 5.0)
    except PeerError:
        os.kill(pid, signal.SIGKILL)


def _set_up_opencryptoki() -> None:
    shutil.rmtree("/var/lib/opencryptoki/swtok", ignore_errors=True)
    Path("/var/lib/opencryptoki/swtok/TOK_OBJ").mkdir(parents=True)
    slot = ("-c", OPENCRYPTOKI_SLOT)
    run("pkcsconf", "-I", *slot, text="87654321\ndns\n")
    run("pkcsconf", "-P", *slot, "-S", "87654321", "-n", "3141592")
    run("pkcsconf", "-u", *slot, "-S", "3141592", "-n", PIN)


QUICK: dict[str, Callable[[Path], AbstractContextManager[Module]]] = {
    "nss": nss,
    "nss-without-password": nss_without_password,
    "p11-kit-remote": p11_kit_remote,
}
SLOW: dict[str, Callable[[Path], AbstractContextManager[Module]]] = {
    "tpm2": tpm2,
    "opencryptoki": opencryptoki,
}
