"""The ceremony machine of a test: KSKs in a directory of its own, and the commands that work there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.peers.dnssecd import Dnssecd
from tests.peers.process import wait_until
from tests.peers.tools import Result

VAULT: dict[str, Any] = {"vault": {"type": "offline", "notice": "20s"}}
COMMAND_S = 60.0


class CeremonyMachine:
    """``dnssecd ksr`` with a software key store, as on a machine without a daemon."""

    def __init__(self, home: Path, zone: str) -> None:
        self.home, self.zone = home, zone
        home.mkdir(exist_ok=True)
        self.number = 0

    def run(self, *words: str) -> Result:
        """Run a command; never raise for its exit status."""
        command = [sys.executable, "-m", "dnssecd", "ksr", *words, "--keystore", str(self.home / "vault")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
        return Result(" ".join(command), done.returncode, done.stdout, done.stderr)

    def keygen(self) -> int:
        """Make a KSK and return its tag."""
        done = self.run("keygen", self.zone, "--json")
        assert done.ok, done
        return int(json.loads(done.out)["tag"])

    def retire(self, tag: int) -> None:
        """Take a KSK out of use."""
        done = self.run("retire", self.zone, "--key-tag", str(tag))
        assert done.ok, done

    def export(self, daemon: Dnssecd, period: str, start: str = "now") -> tuple[Path, str]:
        """Have the daemon make a request; return its file and hash."""
        self.number += 1
        request = self.home / f"request-{self.number}.ksr"
        found = daemon.cli_json(
            "ksr", "export", self.zone, "--from", start, "--to", period, "-o", str(request)
        )
        return request, str(found["digest"])

    def sign(self, request: Path, digest: str, *words: str) -> Path:
        """Sign a request; return the response."""
        response = request.with_suffix(".skr")
        done = self.run("sign", str(request), "-o", str(response), "--confirm", digest[:8], *words)
        assert done.ok, done
        return response

    def hold(self, daemon: Dnssecd, period: str, *, accept: int | None = None) -> Result:
        """Hold a whole ceremony: request, signatures, import."""
        response = self.sign(*self.export(daemon, period))
        words = ["--accept-ksk", accepted(daemon, response, accept)] if accept is not None else []
        done = daemon.cli("skr", "import", str(response), *words)
        assert done.ok, done
        return done


def accepted(daemon: Dnssecd, response: Path | str, tag: int) -> str:
    """Return the digest of an unknown KSK, as the refusal of a response shows it for comparison."""
    refused = daemon.cli("skr", "import", str(response))
    assert refused.status == 1, refused
    found = re.search(rf"DS {tag} \d+ 2\s+([0-9A-F\s]{{64,}})", refused.err)
    assert found, refused
    return "".join(found[1].split())[:64]


def wait_ready(daemon: Dnssecd, zone: str) -> None:
    """Wait until the daemon knows that the zone waits for a ceremony."""
    wait_until(lambda: "off-line" in daemon.cli("explain", zone).out, "the zone waits for a ceremony")
