"""The key service's throughput: against a bare python-pkcs11 loop, and with a token that takes its time.

The bare loops are as many processes as the service has sessions, on the same token, in the same run, interleaved.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_protocol import KeyInfo
from tests.faults.hsm.faulty import FaultyHsm, build_shim, token_of, within_any
from tests.integration.hsm import softhsm
from tests.integration.hsm.softhsm import MODULE, PIN, ZONE, SoftHsm, make_preimages, service
from tests.unit.signer.preimages import wire

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

SESSIONS = 2
SIGNATURES = 16000
ROUNDS = 5
LATENCY_MS = 50
SESSIONS_STEPS = (1, 2, 4, 8, 16)


def bare_rate(key: KeyInfo) -> float:
    """Signatures a second of SESSIONS bare loops together."""
    script = Path(softhsm.__file__).with_name("bare_loop.py")
    command = [sys.executable, str(script), MODULE, "dns", PIN, key.id, str(SIGNATURES // SESSIONS)]
    loops = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(SESSIONS)
    ]
    for loop in loops:
        assert loop.stdout is not None
        assert loop.stdout.readline() == "ready\n"
    started_at = time.monotonic()
    for loop in loops:
        assert loop.stdin is not None
        loop.stdin.write("go\n")
        loop.stdin.flush()
    for loop in loops:
        assert loop.stdout is not None
        loop.stdout.readline()
    seconds = time.monotonic() - started_at
    for loop in loops:
        loop.communicate(timeout=30)
    return SIGNATURES / seconds


def service_rate(client: SignerClient, key: KeyInfo) -> float:
    preimages = make_preimages(key, SIGNATURES)
    started_at = time.monotonic()
    assert len(client.sign(wire(ZONE), key.id, preimages)) == SIGNATURES
    return SIGNATURES / (time.monotonic() - started_at)


def test_the_service_costs_less_than_a_tenth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(tmp_path / "hsm")
    hsm.make_token("dns")
    with service(hsm.settings(hsm.token("dns", sessions=SESSIONS))) as client:
        key = client.generate(wire(ZONE), "zsk", 13)
        service_rate(client, key)
        ratios = []
        for _ in range(ROUNDS):
            bare, ours = bare_rate(key), service_rate(client, key)
            ratios.append(ours / bare)
            print(f"bare {bare:8.0f}/s   service {ours:8.0f}/s   ratio {ours / bare:.2f}")
    print(f"median ratio {statistics.median(ratios):.2f}")
    assert statistics.median(ratios) >= 0.9


def test_latency_is_hidden_by_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 50 ms for each signature the throughput is the sessions' number times 20 a second."""
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    monkeypatch.setenv("SHIM_CONTROL", str(tmp_path / "orders"))
    hsm = FaultyHsm(tmp_path / "hsm", module=str(build_shim(tmp_path)))
    hsm.make_token("dns")
    rates = {sessions: slow_rate(hsm, sessions) for sessions in SESSIONS_STEPS}
    for sessions, rate in rates.items():
        share = rate / (sessions * rates[1])
        print(f"{sessions:3d} sessions: {rate:6.1f}/s   {share:.0%} of {sessions} times one session")
        assert share > 0.85


def slow_rate(hsm: FaultyHsm, sessions: int) -> float:
    """Signatures a second with LATENCY_MS for each, once the pool has got used to that."""
    hsm.orders()
    with service(hsm.settings(hsm.token("dns", sessions=sessions))) as client:
        key = client.generate(wire(ZONE), "zsk", 13)
        within_any(client.status, lambda: token_of(client).sessions_open == sessions, 60)
        hsm.orders(f"latency sign {LATENCY_MS}")
        client.sign(wire(ZONE), key.id, make_preimages(key, 20 * sessions))
        preimages = make_preimages(key, 60 * sessions)
        started_at = time.monotonic()
        client.sign(wire(ZONE), key.id, preimages)
        return len(preimages) / (time.monotonic() - started_at)
