"""Modules that differ from SoftHSM as real ones do: old object lists, choosy templates, odd errors; by the shim."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import OperatorNeeded, SignerError
from dnssecd.keyservice_protocol import KeyInfo
from tests.faults.hsm.faulty import (
    RECOVERY_S,
    FaultyHsm,
    firing,
    kill,
    kill_workers,
    make_pem,
    token_of,
    within,
    within_any,
    workers,
)
from tests.integration.hsm.softhsm import ZONE, service, sign_and_check, without_trash
from tests.unit.signer.preimages import wire

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]


def make_key(client: SignerClient, algorithm: int = 13) -> KeyInfo:
    return client.generate(wire(ZONE), "zsk", algorithm)


def all_open(client: SignerClient, sessions: int) -> None:
    within_any(client.status, lambda: token_of(client).sessions_open == sessions)


def warnings(client: SignerClient) -> dict[str, str]:
    """All warnings that are kept, those of single events too: code → detail."""
    return {warning.code: warning.detail for warning in client.status().warnings}


def wait_for(condition: Callable[[], bool], seconds: float = RECOVERY_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# Modules that read their list of objects once, when they are initialised


def test_a_new_key_is_looked_for_in_fresh_sessions(hsm: FaultyHsm) -> None:
    hsm.orders("stale -")
    with service(hsm.settings(hsm.token("dns", sessions=3))) as client:
        all_open(client, 3)
        key = make_key(client)
        for _ in range(3):
            assert [proof.error for proof in client.prove(wire(ZONE), key.id, key.dnskey)] == [""]
        within_any(lambda: sign_and_check(client, key, 300), lambda: token_of(client).workers_renewed >= 2)
        token = token_of(client)
        assert (token.state, token.workers_replaced, token.errors) == ("ok", 0, {}), "nothing has failed"
        assert "key not in token" not in warnings(client)


def test_a_key_made_with_the_vendor_s_tool_is_bound_and_destroyed(hsm: FaultyHsm) -> None:
    """The open sessions see it neither when it is bound nor when it is to be destroyed."""
    hsm.orders("stale -")
    with service(without_trash(hsm.settings(hsm.token("dns")))) as client:
        all_open(client, 2)
        hsm.import_key("dns", make_pem(hsm.path / "key.pem"), "beef", "made elsewhere")
        key = client.adopt(wire(ZONE), "zsk", 13, cka_id="beef")
        sign_and_check(client, key)
        client.remove(wire(ZONE), key.id)
        assert hsm.inspect("dns") == [], "it is gone, whatever the session saw"
        assert "key not destroyed" not in warnings(client)


def test_a_key_that_no_session_sees_is_not_called_destroyed(hsm: FaultyHsm) -> None:
    with service(without_trash(hsm.settings(hsm.token("dns", sessions=1)))) as client:
        key = make_key(client)
        hsm.inspect("dns", "delete", key.id)
        kill_workers(client)
        within(RECOVERY_S, lambda: client.remove(wire(ZONE), key.id))
        assert "nothing was destroyed in token dns" in warnings(client)["key not destroyed"]
        assert "key not in token" not in firing(client), "it is no longer looked for"
        assert any(
            entry.event == "warning" and entry.fields["code"] == "key not destroyed"
            for entry in client.audit().entries
        )


def test_a_key_that_is_still_there_is_not_called_destroyed(hsm: FaultyHsm) -> None:
    with service(without_trash(hsm.settings(hsm.token("dns", sessions=1)))) as client:
        key = make_key(client)
        hsm.orders("undead -")
        with pytest.raises(SignerError, match="still shows key"):
            client.remove(wire(ZONE), key.id)
        sign_and_check(client, key, 2)
        hsm.orders()
        assert client.remove(wire(ZONE), key.id) == "destroyed"


# Templates


@pytest.mark.parametrize(
    ("orders", "algorithm"),
    [
        (("nofalse -",), 13),
        (("nofalse -", "noclass -"), 8),
        (("namedcurves -",), 15),
        (("nofalse -", "namedcurves -"), 16),
    ],
    ids=lambda value: str(value).replace(" -", ""),
)
def test_templates_as_a_ladder(hsm: FaultyHsm, orders: tuple[str, ...], algorithm: int) -> None:
    hsm.orders(*orders)
    with service(hsm.settings(hsm.token("dns"))) as client:
        for _ in range(2):
            sign_and_check(client, make_key(client, algorithm), 5)
        assert token_of(client).workers_replaced == 0
    for made in hsm.inspect("dns"):
        assert (made["private"], made["sensitive"], made["extractable"]) == (True, True, False)


def test_an_extractable_key_is_refused_and_removed(hsm: FaultyHsm) -> None:
    hsm.orders("extractable -")
    with service(hsm.settings(hsm.token("dns", sessions=1))) as client:
        with pytest.raises(SignerError, match="extractable"):
            make_key(client)
        assert hsm.inspect("dns") == []
        hsm.orders()
        make_key(client)


def test_text_ids(hsm: FaultyHsm) -> None:
    with service(
        without_trash(hsm.settings(hsm.token("dns", quirks=("text-ids", "plain-template"))))
    ) as client:
        key = make_key(client)
        sign_and_check(client, key)
        assert [made["id"] for made in hsm.inspect("dns")] == [key.id.encode().hex()]
        client.remove(wire(ZONE), key.id)
        assert hsm.inspect("dns") == []


# Mechanisms


def test_rsa_by_digest_info(hsm: FaultyHsm) -> None:
    hsm.orders("hide 40")  # CKM_SHA256_RSA_PKCS
    with service(hsm.settings(hsm.token("dns", sessions=1))) as client:
        sign_and_check(client, make_key(client, 8))


def test_a_token_that_signs_and_makes_no_keys(hsm: FaultyHsm) -> None:
    hsm.orders("hide 1040")  # CKM_EC_KEY_PAIR_GEN
    hsm.import_key("dns", make_pem(hsm.path / "key.pem"), "beef", "made elsewhere")
    with service(hsm.settings(hsm.token("dns", sessions=1))) as client:
        with pytest.raises(SignerError, match="makes no ECDSAP256SHA256 keys"):
            client.test_store("hsm")
        sign_and_check(client, client.adopt(wire(ZONE), "zsk", 13, cka_id="beef"))
        assert "all of 1 keys there, 1 tried sign right" in client.test_store("hsm")
        with pytest.raises(SignerError, match="dnssecd key import"):
            make_key(client)


def test_a_private_key_without_its_public_key(hsm: FaultyHsm) -> None:
    """An EC key does not say its public key by itself: a signature proves which it is."""
    with service(hsm.settings(hsm.token("dns", sessions=1))) as client:
        public_key = make_key(client).public_key
    (made,) = hsm.inspect("dns")
    hsm.inspect("dns", "delete-public", str(made["id"]))
    (hsm.path / "state").rename(hsm.path / "state-1")
    with service(hsm.settings(hsm.token("dns", sessions=1))) as client:
        with pytest.raises(SignerError, match="does not say its public key"):
            client.adopt(wire(ZONE), "zsk", 13, cka_id=str(made["id"]))
        wrong = (
            ec.generate_private_key(ec.SECP256R1())
            .public_key()
            .public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
        )
        with pytest.raises(SignerError, match="the public key given is not that of the private key"):
            client.adopt(wire(ZONE), "zsk", 13, cka_id=str(made["id"]), public_key=wrong)
        assert token_of(client).state == "ok"
        key = client.adopt(wire(ZONE), "zsk", 13, cka_id=str(made["id"]), public_key=public_key)
        sign_and_check(client, key)


# Opening sessions


def test_a_slot_that_cannot_be_read_disables_no_other(hsm: FaultyHsm) -> None:
    hsm.orders("badslots -")
    (serial,) = {line for line in hsm.serials() if line}
    token = hsm.token("dns", serial=serial, sessions=1)
    with service(hsm.settings(token)) as client:
        make_key(client)
    with service(hsm.settings(hsm.token("other", label="other", sessions=1))) as client:
        within_any(client.status, lambda: token_of(client).state == "down")
        assert "C_GetTokenInfo failed with CKR 0xe1" in token_of(client).detail


def test_a_shared_login_is_no_failure(hsm: FaultyHsm) -> None:
    hsm.orders("error login 100")
    with service(hsm.settings(hsm.token("dns"))) as client:
        sign_and_check(client, make_key(client))
        all_open(client, 2)
        assert token_of(client).errors == {}


def test_fewer_sessions_than_configured_are_reported(hsm: FaultyHsm) -> None:
    with service(hsm.settings(hsm.token("dns", retry_longest_s=0.2))) as client:
        key = make_key(client)
        all_open(client, 2)
        hsm.orders("error open 6")
        kill(workers(client)[0])
        within_any(lambda: sign_and_check(client, key), lambda: "token session limit" in firing(client))
        assert (
            "1 of 2 sessions are open; the last error: C_OpenSession failed with CKR 0x6"
            in (warnings(client)["token session limit"])
        )
        assert token_of(client).state == "ok"
        hsm.orders()
        all_open(client, 2)
        assert "token session limit" not in firing(client)


def test_a_failed_login_is_not_repeated(hsm: FaultyHsm) -> None:
    """The token may count it as a wrong PIN, whatever it calls it."""
    settings = hsm.settings(hsm.token("dns"))
    hsm.orders("error login 80000001")
    for _ in range(2):
        with service(settings) as client:
            within_any(client.status, lambda: token_of(client).state == "operator")
            assert "C_Login failed with CKR 0x80000001" in token_of(client).detail
            assert "token needs operator" in firing(client)
            with pytest.raises(SignerError, match="keystore test"):
                make_key(client)
    assert hsm.logins() == 1, "also not after a restart, with two sessions"
    hsm.orders()
    with service(settings) as client:
        within_any(client.status, lambda: token_of(client).state == "operator")
        client.test_store("hsm")
        make_key(client)


@pytest.mark.parametrize(("order", "quirks"), [("30", ()), ("6", ("retry-login",))])
def test_a_temporary_error_of_the_login_is_retried(
    hsm: FaultyHsm, order: str, quirks: tuple[str, ...]
) -> None:
    hsm.orders(f"error login {order}")
    with service(hsm.settings(hsm.token("dns", quirks=quirks))) as client:
        within_any(client.status, lambda: token_of(client).login_failures >= 2)
        hsm.orders()
        within(RECOVERY_S, lambda: make_key(client))


def test_user_pin_not_initialized_needs_an_operator(hsm: FaultyHsm) -> None:
    hsm.orders("error login 102")
    with service(hsm.settings(hsm.token("dns", sessions=1))) as client:
        within_any(client.status, lambda: token_of(client).state == "operator")
        assert "UserPinNotInitialized" in token_of(client).detail


def test_all_sessions_lost_at_once_are_one_failure(hsm: FaultyHsm) -> None:
    """A client daemon that is restarted: what is asked for meanwhile waits."""
    with service(hsm.settings(hsm.token("dns"))) as client:
        key = make_key(client)
        all_open(client, 2)
        hsm.orders("error open e0")
        kill_workers(client)
        well = threading.Timer(0.7, hsm.orders)
        well.start()
        sign_and_check(client, key)
        well.join()


def test_a_module_that_does_not_answer_is_reported_soon(hsm: FaultyHsm) -> None:
    hsm.orders("hang initialize")
    with service(hsm.settings(hsm.token("dns", sessions=1))) as client:
        wait_for(lambda: "token down" in firing(client), 10.0)
        assert "no answer to C_Initialize or C_Login" in token_of(client).detail


def test_a_key_that_wants_the_pin_for_each_signature(hsm: FaultyHsm) -> None:
    hsm.inspect("dns", "make-asking", "a5a5", "asks each time")
    with service(hsm.settings(hsm.token("dns", sessions=1))) as client:
        sign_and_check(client, client.adopt(wire(ZONE), "zsk", 13, cka_id="a5a5"), 3)


def test_what_a_token_reports_about_itself(hsm: FaultyHsm) -> None:
    hsm.orders("info 10000 2000")
    with service(hsm.settings(hsm.token("dns", sessions=1))) as client:
        make_key(client)
        token = token_of(client)
        assert (token.flags, token.memory_free, token.memory_total) == (("pin-count-low",), 2000, 100_000)
        assert {"token unwell", "token memory low"} <= firing(client)
        hsm.orders()
        kill_workers(client)
        wait_for(lambda: not {"token unwell", "token memory low"} & firing(client))


def test_a_full_token_names_call_and_code(hsm: FaultyHsm) -> None:
    hsm.orders("error generate 31")
    wanted = r"C_GenerateKeyPair failed with CKR 0x31 \(DeviceMemory\)"
    with (
        service(hsm.settings(hsm.token("dns", sessions=1))) as client,
        pytest.raises(OperatorNeeded, match=wanted),
    ):
        make_key(client)
