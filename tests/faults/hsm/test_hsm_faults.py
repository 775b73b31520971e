"""What HSMs do to their users, done by a shim around SoftHSM: never a wrong signature, never a hang, always
back.

Stated deadlines, with this configuration (call deadline 1.5 s, back-off at most 1 s): a request gets its
answer or a temporary error within 6 s, and signatures are made again within 6 s after the token is well.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from dnssecd.core.verify.keys import ZoneKey
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import (
    KeyMissing,
    KeystoreUnavailable,
    OperatorNeeded,
    SignerError,
    SignerTimeout,
)
from dnssecd.keyservice_protocol import KeyInfo
from tests.faults.hsm.faulty import (
    RECOVERY_S,
    FaultyHsm,
    firing,
    kill_workers,
    token_of,
    two_tokens,
    within,
    within_any,
    workers,
)
from tests.integration.hsm.softhsm import ZONE, make_preimages, service, sign_and_check
from tests.unit.signer.preimages import wire

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

ANSWER_S = 6.0


def answer_in_time(client: SignerClient, key: KeyInfo, *errors: type[SignerError]) -> SignerError | None:
    """Sign something: good signatures or one of the errors, in time."""
    started_at = time.monotonic()
    try:
        sign_and_check(client, key)
        outcome = None
    except errors as error:
        outcome = error
    assert time.monotonic() - started_at < ANSWER_S
    return outcome


ERRORS = {
    "device error": "error sign 30",
    "device removed": "error sign 32",
    "session handle invalid": "error signinit b3",
    "user not logged in": "error signinit 101",
    "token not present": "error sign e0",
    "host memory": "error sign 2",
    "crash": "crash sign",
    "hang": "hang sign",
    "no session": "error open e0",
    "cannot initialize": "error initialize 5",
}


@pytest.mark.parametrize("order", ERRORS.values(), ids=ERRORS.keys())
def test_a_sick_token_is_isolated_and_used_again_when_well(hsm: FaultyHsm, order: str) -> None:
    with service(hsm.settings(hsm.token("dns"))) as client:
        key = client.generate(wire(ZONE), "zsk", 13)
        sign_and_check(client, key)
        hsm.orders(order, "error open e0")
        call = order.split()[1]
        if call in ("open", "initialize"):
            kill_workers(client)
        within_error(client, key)
        assert firing(client) >= {"token down"}
        token = token_of(client)
        assert (token.state, token.breaker in ("open", "half-open")) == ("down", True)
        assert sum(token.errors.values()) >= 2
        assert [one.state for one in client.keys(wire(ZONE))] == ["unavailable"]
        started_at = time.monotonic()
        with pytest.raises(KeystoreUnavailable, match="dns"):
            sign_and_check(client, key)
        assert time.monotonic() - started_at < 0.5, "refused at once, not queued invisibly"
        hsm.orders()
        within(RECOVERY_S, lambda: sign_and_check(client, key))
        assert token_of(client).state == "ok"
        assert "token down" not in firing(client)
        assert len(hsm.inspect("dns")) == 1
        assert client.audit().ok


def within_error(client: SignerClient, key: KeyInfo) -> None:
    """Wait until the service says that the store is unavailable; each answer comes in time."""
    deadline = time.monotonic() + 10
    while not isinstance(
        answer_in_time(client, key, KeystoreUnavailable, SignerTimeout), KeystoreUnavailable
    ):
        assert time.monotonic() < deadline
    while token_of(client).state != "down":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_dead_worker_costs_nothing(hsm: FaultyHsm) -> None:
    with service(hsm.settings(hsm.token("dns"))) as client:
        key = client.generate(wire(ZONE), "zsk", 13)
        for _ in range(5):
            os.kill(workers(client)[0], signal.SIGKILL)
            sign_and_check(client, key, 300)
        within(RECOVERY_S, lambda: sign_and_check(client, key))


def test_one_hung_session_costs_one_deadline(hsm: FaultyHsm) -> None:
    """The piece in its hands is done by the other session."""
    with service(hsm.settings(hsm.token("dns"))) as client:
        key = client.generate(wire(ZONE), "zsk", 13)
        sign_and_check(client, key, 200)
        os.kill(workers(client)[0], signal.SIGSTOP)
        started_at = time.monotonic()
        sign_and_check(client, key, 400)
        assert time.monotonic() - started_at < ANSWER_S
        assert "token down" not in firing(client)


@pytest.mark.parametrize("order", ["corrupt 1", "corrupt 3"])
def test_a_token_that_answers_wrong_is_evicted(hsm: FaultyHsm, order: str) -> None:
    settings = hsm.settings(hsm.token("dns"))
    with service(settings) as client:
        key = client.generate(wire(ZONE), "zsk", 13)
        sign_and_check(client, key)
        hsm.orders(order)
        evict(client, key)
        assert "token evicted" in firing(client)
        assert token_of(client).state == "evicted"
        with pytest.raises(KeystoreUnavailable, match="keystore test"):
            sign_and_check(client, key)
        assert any(entry.event == "warning" for entry in client.audit().entries)
    with service(settings) as client:
        assert token_of(client).state == "evicted", "a restart does not forget it"
        with pytest.raises(SignerError):
            client.test_store("hsm")
        assert token_of(client).state == "evicted", "still wrong"
        hsm.orders()
        assert "used again: dns" in client.test_store("hsm")
        within(RECOVERY_S, lambda: sign_and_check(client, key))
        assert "token evicted" not in firing(client)


def evict(client: SignerClient, key: KeyInfo) -> None:
    """Sign, verify every signature as whoever commits them does, and report what is wrong."""
    verify = ZoneKey(key.dnskey).verify
    assert verify is not None
    preimages = make_preimages(key, 20)
    for _ in range(50):
        try:
            signatures = client.sign(wire(ZONE), key.id, preimages)
        except KeystoreUnavailable:
            return
        for signature, preimage in zip(signatures, preimages, strict=True):
            if not verify(signature, preimage):
                done = client.report_bad(wire(ZONE), key.id, preimage, signature)
                assert (done.detail, done.evicted) == ("token dns evicted", True)
                return
    pytest.fail("a corrupted signature was never noticed")


def test_an_accusation_must_be_true(hsm: FaultyHsm) -> None:
    with service(hsm.settings(hsm.token("dns"))) as client:
        key = client.generate(wire(ZONE), "zsk", 13)
        (preimage,) = make_preimages(key, 1)
        (signature,) = client.sign(wire(ZONE), key.id, [preimage])
        with pytest.raises(SignerError, match="verifies"):
            client.report_bad(wire(ZONE), key.id, preimage, signature)
        done = client.report_bad(wire(ZONE), key.id, preimage, bytes(64))
        assert "none of the tokens" in done.detail
        assert not done.evicted
        sign_and_check(client, key)


def test_keys_swapped_after_a_reconnect(hsm: FaultyHsm) -> None:
    """The first signature of a session is verified before the session is used for anything."""
    with service(hsm.settings(hsm.token("dns", idle_canary_s=60.0))) as client:
        key, other = client.generate(wire(ZONE), "zsk", 13), client.generate(wire(ZONE), "zsk", 13)
        sign_and_check(client, key)
        hsm.orders(f"swap {key.id} {other.id}")
        kill_workers(client)
        within_any(client.status, lambda: "token evicted" in firing(client))
        with pytest.raises(KeystoreUnavailable):
            sign_and_check(client, key)
        hsm.orders()
        client.test_store("hsm")
        within(RECOVERY_S, lambda: sign_and_check(client, key))


def test_session_limit(hsm: FaultyHsm) -> None:
    hsm.orders("sessions 2")
    with service(hsm.settings(hsm.token("dns", sessions=4))) as client:
        key = client.generate(wire(ZONE), "zsk", 13)
        within_any(lambda: sign_and_check(client, key, 100), lambda: "token session limit" in firing(client))
        assert token_of(client).sessions_open == 2
        sign_and_check(client, key, 500)
        kill_workers(client)
        within(RECOVERY_S, lambda: sign_and_check(client, key))
        hsm.orders()
        within_any(client.status, lambda: token_of(client).sessions_open == 4)
        assert "token session limit" not in firing(client)


def test_wrong_pin_is_tried_once_even_over_restarts(hsm: FaultyHsm) -> None:
    hsm.write_pin("000000")
    settings = hsm.settings(hsm.token("dns"))
    for _ in range(2):
        with service(settings) as client:
            within_any(client.status, lambda: token_of(client).state == "operator")
            time.sleep(0.5)
            assert "token needs operator" in firing(client)
            assert "000000" not in token_of(client).detail
            with pytest.raises(KeystoreUnavailable, match="PIN"):
                client.generate(wire(ZONE), "zsk", 13)
    assert hsm.logins() == 1
    with service(settings) as client:
        hsm.write_pin("271828")
        within(RECOVERY_S, lambda: client.generate(wire(ZONE), "zsk", 13))
        assert "token needs operator" not in firing(client)


def test_token_full(hsm: FaultyHsm) -> None:
    with service(hsm.settings(hsm.token("dns"))) as client:
        key = client.generate(wire(ZONE), "zsk", 13)
        hsm.orders("error generate 31")
        with pytest.raises(OperatorNeeded, match="full"):
            client.generate(wire(ZONE), "zsk", 13)
        sign_and_check(client, key)
        hsm.orders()
        client.generate(wire(ZONE), "zsk", 13)
        assert len(client.keys(wire(ZONE))) == 2


@pytest.mark.parametrize("module", ["/nonexistent/module.so", "/etc/passwd"])
def test_missing_module(hsm: FaultyHsm, module: str) -> None:
    with service(hsm.settings(hsm.token("dns", module=module))) as client:
        within_any(client.status, lambda: token_of(client).state == "down")
        with pytest.raises(KeystoreUnavailable, match=module):
            client.generate(wire(ZONE), "zsk", 13)


def test_missing_token_that_comes(hsm: FaultyHsm) -> None:
    with service(hsm.settings(hsm.token("later"))) as client:
        within_any(client.status, lambda: token_of(client).state == "down")
        assert "later" in token_of(client).detail
        hsm.make_token("later")
        within(RECOVERY_S, lambda: client.generate(wire(ZONE), "zsk", 13))


def test_an_absent_key_is_an_error_and_no_new_key_is_made(hsm: FaultyHsm) -> None:
    settings = hsm.settings(hsm.token("dns"))
    with service(settings) as client:
        lost = client.generate(wire(ZONE), "zsk", 13)
        kept = client.generate(wire(ZONE), "zsk", 13)
    hsm.inspect("dns", "delete", lost.id)
    with service(settings) as client:
        states = {key.id: key.state for key in client.keys(wire(ZONE))}
        assert states == {lost.id: "missing", kept.id: "available"}
        with pytest.raises(KeyMissing, match="no other key is made"):
            sign_and_check(client, lost)
        sign_and_check(client, kept)
    assert len(hsm.inspect("dns")) == 1


def test_two_tokens_with_different_keys_under_one_label(hsm: FaultyHsm) -> None:
    """The .de incident: one key pair made per HSM, one DNSKEY published."""
    two_tokens(hsm, same=False)
    with service(hsm.settings(hsm.token("dns"), hsm.token("twin"))) as client:
        client.status()
        with pytest.raises(SignerError, match="different keys"):
            client.adopt(wire(ZONE), "zsk", 13, cka_id="beef")
    (hsm.path / "state").rename(hsm.path / "state-1")
    with service(hsm.settings(hsm.token("dns"))) as client:
        key = client.adopt(wire(ZONE), "zsk", 13, cka_id="beef")
    with service(hsm.settings(hsm.token("dns"), hsm.token("twin"))) as client:
        proofs = {proof.token: proof.error for proof in client.prove(wire(ZONE), key.id, key.dnskey)}
        assert proofs["dns"] == ""
        assert "another key" in proofs["twin"]
        for _ in range(10):
            sign_and_check(client, key, 50)
        assert token_of(client, 1).signatures == 0
        assert "key not in token" in firing(client)


def test_two_tokens_share_the_work_and_one_lies(hsm: FaultyHsm, tmp_path: Path) -> None:
    """The .se incident: an HSM returns bad signatures. The other continues alone and nobody notices."""
    two_tokens(hsm, same=True)
    well = hsm.token("dns", module="/usr/lib/softhsm/libsofthsm2.so")
    with service(hsm.settings(well, hsm.token("twin"))) as client:
        key = client.adopt(wire(ZONE), "zsk", 13, cka_id="beef")
        within_any(
            lambda: sign_and_check(client, key, 500),
            lambda: all(token_of(client, index).signatures > 0 for index in (0, 1)),
        )
        hsm.orders("corrupt 1")
        within_any(lambda: sign_and_check(client, key, 500), lambda: token_of(client, 1).state == "evicted")
        for _ in range(5):
            sign_and_check(client, key, 100)
        assert token_of(client).state == "ok"


def test_standby_takes_over_and_hands_back(hsm: FaultyHsm) -> None:
    two_tokens(hsm, same=True)
    spare = hsm.token("twin", module="/usr/lib/softhsm/libsofthsm2.so")
    with service(hsm.settings(hsm.token("dns"), spare, standby=True)) as client:
        key = client.adopt(wire(ZONE), "zsk", 13, cka_id="beef")
        sign_and_check(client, key, 500)
        assert token_of(client, 1).signatures == 0
        hsm.orders("error sign 30", "error open 30")
        within(RECOVERY_S, lambda: sign_and_check(client, key, 100))
        assert token_of(client, 1).signatures >= 50
        within_any(lambda: sign_and_check(client, key), lambda: token_of(client).state == "down")
        hsm.orders()
        within_any(lambda: sign_and_check(client, key), lambda: token_of(client).state == "ok")
        before = token_of(client, 1).signatures
        sign_and_check(client, key, 300)
        assert token_of(client, 1).signatures == before


def test_an_idle_token_is_watched(hsm: FaultyHsm) -> None:
    with service(hsm.settings(hsm.token("dns"))) as client:
        key = client.generate(wire(ZONE), "zsk", 13)
        sign_and_check(client, key)
        hsm.orders("hang sign")
        within_any(client.status, lambda: "token down" in firing(client))
        hsm.orders()
        within_any(client.status, lambda: token_of(client).state == "ok")
        sign_and_check(client, key)


def test_latency_is_hidden_by_sessions(hsm: FaultyHsm) -> None:
    """With 50 ms a call, throughput grows with the sessions; up to 16 of them in tests/bench."""
    rates = {sessions: rate_with_latency(hsm, sessions) for sessions in (1, 5)}
    assert rates[5] > 3.5 * rates[1], rates


def rate_with_latency(hsm: FaultyHsm, sessions: int) -> float:
    """Signatures a second once the pool has got used to 50 ms for each."""
    hsm.orders()
    with service(hsm.settings(hsm.token("dns", sessions=sessions))) as client:
        key = client.generate(wire(ZONE), "zsk", 13)
        within_any(
            lambda: sign_and_check(client, key), lambda: token_of(client).sessions_open == sessions, 30
        )
        hsm.orders("latency sign 50")
        sign_and_check(client, key, 20 * sessions)
        started_at = time.monotonic()
        sign_and_check(client, key, 20 * sessions)
        return 20 * sessions / (time.monotonic() - started_at)


def test_a_killed_service_leaves_no_workers_behind_and_loses_nothing(hsm: FaultyHsm) -> None:
    settings = hsm.settings(hsm.token("dns"))
    with service(settings) as client:
        key = client.generate(wire(ZONE), "zsk", 13)
        sign_and_check(client, key)
        pids = workers(client)
        os.kill(client.status().pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while any(alive(pid) for pid in pids):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    with service(settings) as client:
        sign_and_check(client, key)
        assert client.audit().ok


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
