"""SoftHSM tokens in a directory of the test's own, and key services that use them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dnssecd.core.verify.keys import ZoneKey
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.launch import launched_signer
from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.keyservice_settings import (
    KeyLimits,
    KeystoreSettings,
    LimitSettings,
    SignerSettings,
    TokenSettings,
)
from dnssecd.replacing import replace
from tests.unit.signer.preimages import preimage_for, wire

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "271828"
ZONE = "example.com."


def need_softhsm() -> None:
    if shutil.which("softhsm2-util") is None or not Path(MODULE).exists():
        pytest.skip("SoftHSM is not installed: apt install softhsm2")


@dataclass
class SoftHsm:
    """A SoftHSM installation in `path`; `environment` makes processes use it."""

    path: Path
    module: str = MODULE

    def __post_init__(self) -> None:
        need_softhsm()
        self.tokens.mkdir(parents=True)
        configuration = self.path / "softhsm2.conf"
        configuration.write_text(
            f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        os.environ["SOFTHSM2_CONF"] = str(configuration)
        self.pin_file = self.path / "pin"
        self.write_pin(PIN)

    @property
    def tokens(self) -> Path:
        return self.path / "tokens"

    def write_pin(self, pin: str) -> None:
        self.pin_file.write_text(pin + "\n")
        self.pin_file.chmod(0o600)

    def make_token(self, label: str) -> None:
        _run("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "314159")

    def import_key(self, label: str, pem: Path, cka_id: str, key_label: str) -> None:
        """Put a private key from a PKCS#8 file into a token, as a token's own cloning would."""
        _run(
            "softhsm2-util", "--import", str(pem), "--token", label, "--label", key_label,
            "--id", cka_id, "--pin", PIN,
        )  # fmt: skip

    def inspect(self, label: str, *arguments: str) -> list[dict[str, object]]:
        """Run `inspect_token` in a process of its own: a token belongs to one process at a time."""
        script = Path(__file__).with_name("inspect_token.py")
        for _ in range(5):
            done = subprocess.run(
                [sys.executable, str(script), MODULE, label, PIN, *arguments],
                capture_output=True,
                timeout=30,
                check=False,
            )
            # SoftHSM rewrites a token's file at each login of any process, and does not list the token meanwhile.
            if b"NoSuchToken" not in done.stderr:
                break
        assert done.returncode == 0, done.stderr.decode()
        found: list[dict[str, object]] = json.loads(done.stdout)
        return found

    def token(self, name: str, /, **changes: object) -> TokenSettings:
        settings: dict[str, object] = {
            "name": name,
            "module": self.module,
            "pin_file": str(self.pin_file),
            "label": name,
            "sessions": 2,
            "call_deadline_s": 1.5,
            "idle_canary_s": 0.5,
            "retry_longest_s": 1.0,
        }
        return TokenSettings(**(settings | changes))  # type: ignore[arg-type]

    def settings(self, *tokens: TokenSettings, standby: bool = False) -> SignerSettings:
        return SignerSettings(
            socket=str(self.path / "run" / "signer.sock"),
            state_dir=str(self.path / "state"),
            keystores=(KeystoreSettings(name="hsm", type="pkcs11", tokens=tokens, standby=standby),),
        )


def without_trash(settings: SignerSettings) -> SignerSettings:
    """Settings with which a removed key is destroyed at once."""
    return replace(settings, limits=LimitSettings(default=KeyLimits(destroy_after_s=0)))


@contextlib.contextmanager
def service(settings: SignerSettings) -> Iterator[SignerClient]:
    """A key service and a client of it."""
    with launched_signer(settings), SignerClient(settings.socket, deadline_s=20.0, owners=None) as client:
        yield client


def make_preimages(key: KeyInfo, count: int) -> list[bytes]:
    model = preimage_for(key, ZONE, f"h00000.{ZONE}", "A", "192.0.2.1")
    return [model.replace(b"h00000", b"h%05d" % number) for number in range(count)]


def sign_and_check(client: SignerClient, key: KeyInfo, count: int = 20) -> None:
    """Sign, and verify every signature with the published key."""
    preimages = make_preimages(key, count)
    verify = ZoneKey(key.dnskey).verify
    assert verify is not None
    for signature, preimage in zip(client.sign(wire(ZONE), key.id, preimages), preimages, strict=True):
        assert verify(signature, preimage)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)
