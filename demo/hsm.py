"""`make demo-hsm`: as `make demo`, with the keys in SoftHSM, to try HSM features without a device.

The token is in the directory of the demo. Its PIN is generated and typed into softhsm2-util through a pseudo-terminal:
all users of the machine could see a PIN on a command line.
"""

from __future__ import annotations

import os
import pty
import secrets
import select
import subprocess
import sys
import time
from pathlib import Path

from demo.__main__ import Preparation, main, relative
from tests.peers.dnssecd import Config
from tests.peers.process import PeerError

LABEL = "demo"
MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/pkcs11/libsofthsm2.so"),
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),
    Path("/opt/homebrew/lib/softhsm/libsofthsm2.so"),
)
TYPING_SECONDS = 20.0


def module() -> Path:
    """Return the path of SoftHSM's PKCS#11 library."""
    for path in MODULES:
        if path.exists():
            return path
    raise PeerError(
        f"SoftHSM was not found ({', '.join(map(str, MODULES))}); on Debian 12: apt install softhsm2"
    )


def prepare(home: Path, config: Config) -> list[str]:
    """Put the keys into a token in ``home``; return more commands to try."""
    library = module()
    token_home = home / "softhsm"
    pin_file = token_home / "pin"
    settings = token_home / "softhsm2.conf"
    os.environ["SOFTHSM2_CONF"] = str(settings)
    if not pin_file.exists():
        make_token(token_home, settings, pin_file)
    config["keystore"] = {
        "hsm": {
            "type": "pkcs11",
            "module": library,
            "token_label": LABEL,
            "pin_file": pin_file,
            "sessions": 2,
        }
    }
    config["policy"]["default"]["keystore"] = "hsm"
    command = (
        f"{relative(Path(sys.executable).with_name('dnssecd'))} %s --config {relative(home / 'config.toml')}"
    )
    return [
        *(command % words for words in ("keystore list", "keystore test", "keystore bench", "key audit")),
        f"SOFTHSM2_CONF={relative(settings)} softhsm2-util --show-slots",
    ]


def make_token(token_home: Path, settings: Path, pin_file: Path) -> None:
    """Initialize a token with random PINs; the user PIN is written to its file last, when all is done."""
    tokens = token_home / "tokens"
    tokens.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    so_pin, pin = secrets.token_hex(8), secrets.token_hex(8)
    type_into(["softhsm2-util", "--init-token", "--free", "--label", LABEL], [so_pin, so_pin, pin, pin])
    descriptor = os.open(pin_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(pin + "\n")


def type_into(command: list[str], answers: list[str]) -> None:
    """Run a command on a pseudo-terminal and answer its questions. Raise PeerError when it fails."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    deadline = time.monotonic() + TYPING_SECONDS
    waiting = list(answers)
    while process.poll() is None and time.monotonic() < deadline:
        if select.select([ours], [], [], 0.1)[0] and b"enter" in os.read(ours, 4096) and waiting:
            os.write(ours, waiting.pop(0).encode() + b"\n")
    if process.poll() is None:
        process.kill()
    os.close(theirs)
    os.close(ours)
    if process.wait() != 0:
        raise PeerError(
            f"{command[0]} failed with status {process.returncode}; remove demo-state and try again"
        )


if __name__ == "__main__":
    sys.exit(main(prepare=Preparation("hsm", prepare)))
