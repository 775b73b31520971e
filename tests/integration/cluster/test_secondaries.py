"""`dnssecd node secondaries`: the programs accept the configuration that it prints for them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dnssecd.cluster.secondaries import FORMS, Primaries
from dnssecd.config.model import Address
from tests.peers.paths import program

pytestmark = pytest.mark.integration
SECRET = "c2VjcmV0IHRoYXQgbm9ib2R5IGtub3dzIGluIHNwaXRl"
KEYS = {
    "named": f'key "transfer" {{ algorithm hmac-sha256; secret "{SECRET}"; }};\n',
    "knot": f"key:\n  - id: transfer.\n    algorithm: hmac-sha256\n    secret: {SECRET}\n",
    "nsd": f'key:\n  name: "transfer."\n  algorithm: hmac-sha256\n  secret: "{SECRET}"\n',
}
CHECKS = {
    "named": ["named-checkconf"],
    "knot": ["knotc", "-c"],
    "nsd": ["nsd-checkconf"],
}


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("zone", ["example.com.", "."])
def test_the_program_accepts_it(name: str, zone: str, tmp_path: Path) -> None:
    addresses = [Address("127.0.0.1", 53), Address("::1", 5300)]
    path = tmp_path / "config"
    path.write_text(KEYS[name] + FORMS[name](Primaries(zone, addresses, "transfer.", "hmac-sha256")) + "\n")
    command = [program(CHECKS[name][0]), *CHECKS[name][1:], str(path)]
    if name == "knot":
        command.append("conf-check")
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
