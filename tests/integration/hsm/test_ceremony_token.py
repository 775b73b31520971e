"""A ceremony whose KSK is in a token; what the ceremony machine refuses, and what it keeps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dnssecd.core.ceremony.accept import Signer, accept_response
from dnssecd.core.ceremony.report import ds_digest
from dnssecd.core.ceremony.request import write_request
from dnssecd.core.ceremony.response import read_response
from dnssecd.core.keys.signed_ahead import SignedAhead
from dnssecd.replacing import replace
from tests.integration.hsm.softhsm import MODULE, SoftHsm
from tests.peers.tools import Result
from tests.unit.core_ceremony.world import STORES, ZONE, A, B, make_request, ordered, with_proofs

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
NAME = "example.com."
COMMAND_S = 60.0


class Machine:
    """A ceremony machine with SoftHSM."""

    def __init__(self, home: Path, hsm: SoftHsm) -> None:
        self.home = home
        self.config = home / "ceremony.toml"
        self.config.write_text(
            f'[ceremony]\nstate = "{home}/state"\nvalidity_max = "20d"\n[keystore.vault]\ntype = "pkcs11"\n'
            f'module = "{MODULE}"\ntoken_label = "ksk"\npin_file = "{hsm.pin_file}"\nsessions = 1\n'
        )

    def run(self, *words: str) -> Result:
        command = [sys.executable, "-m", "dnssecd", "ksr", *words, "--config", str(self.config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
        return Result(" ".join(command), done.returncode, done.stdout, done.stderr)


def now() -> int:
    from dnssecd.clock import SystemClock

    return int(SystemClock().now())


def test_a_token_signs_at_a_ceremony(peer_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(peer_dir / "hsm")
    hsm.make_token("ksk")
    machine = Machine(peer_dir, hsm)
    made = machine.run("keygen", NAME, "--json")
    assert made.ok, made
    tag = json.loads(made.out)["tag"]
    request = make_request(start=now())
    file, output = peer_dir / "a.ksr", peer_dir / "a.skr"
    file.write_text(write_request(request))
    wrong = machine.run("sign", str(file), "-o", str(output), "--confirm", "00000000")
    assert wrong.status == 1, wrong
    assert "nothing was signed" in wrong.err
    assert not output.exists()
    report = peer_dir / "report"
    confirm = request.digest.hex()[:8]
    signed = machine.run("sign", str(file), "-o", str(output), "--confirm", confirm, "--report", str(report))
    assert signed.ok, signed
    response = read_response(output.read_text())
    for text in (report.read_text(), signed.out):
        assert str(tag) in text
        assert "ATTENTION" in text
        assert response.digest.hex()[:4] in text
    signer = Signer(
        ZONE,
        frozenset(ordered(A, B)),
        frozenset(),
        SignedAhead(STORES),
        accepted=frozenset({ds_digest(ZONE, response.ksks[0])}),
    )
    assert accept_response(response, signer, now()).until > now() + 90 * 86_400
    assert (output.stat().st_mode & 0o777, (peer_dir / "state").stat().st_mode & 0o777) == (0o644, 0o700)
    older = with_proofs(replace(request, number=1, made=request.made + 1), (A, B))
    file.write_text(write_request(older))
    refused = machine.run("sign", str(file), "-o", str(output), "--confirm", older.digest.hex()[:8])
    assert refused.status == 1, refused
    assert "REFUSED" in refused.out
    assert "is not after request 1" in refused.out
