"""A stand-by with the same token finds the keys of a back-up there, whatever their CKA_IDs are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dnssecd.backup.keys import KeyFinder
from dnssecd.core.keys.keyset import Keyset, new_key
from dnssecd.core.keys.keystate import Role
from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.replacing import replace
from tests.integration.hsm.softhsm import ZONE, SoftHsm, service, sign_and_check
from tests.unit.signer.preimages import wire

pytestmark = pytest.mark.integration


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(tmp_path / "hsm")
    hsm.make_token("dns")
    return hsm


def in_keyset(keys: list[KeyInfo]) -> Keyset:
    made = [new_key(key.id, Role.ZSK, key.algorithm, key.public_key, "hsm", 0) for key in keys]
    return Keyset(wire(ZONE), tuple(made))


def test_adopted_and_generated_keys_are_found_on_another_host(hsm: SoftHsm) -> None:
    hsm.inspect("dns", "make", "beef", "old key")
    pem = hsm.path / "rsa.pem"
    private = rsa.generate_private_key(65537, 2048)
    pem.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    hsm.import_key("dns", pem, "0ddb", "0ddb")
    hsm.inspect("dns", "delete-public", "0ddb")
    settings = hsm.settings(hsm.token("dns"))
    with service(settings) as client:
        keys = [
            client.adopt(wire(ZONE), "zsk", 13, cka_id="beef"),
            client.adopt(wire(ZONE), "zsk", 8, cka_id="0ddb"),
            *(client.generate(wire(ZONE), "zsk", number) for number in (8, 13, 14, 15, 16)),
        ]
    standby = replace(settings, state_dir=str(hsm.path / "standby-state"))
    archive = SimpleNamespace(manifest=SimpleNamespace(keys=()))
    config = SimpleNamespace(keystores={"hsm": object()})
    with service(standby) as client:
        assert client.keys(wire(ZONE)) == []
        finder = KeyFinder(client, cast(Any, archive), cast(Any, config), None)
        found = finder.find(ZONE, in_keyset(keys), bring=True)
        assert found.missing == ()
        assert finder.brought == len(keys)
        here = {key.public_key: key for key in client.keys(wire(ZONE))}
        assert {key.key_id for key in found.keyset.keys} == {key.id for key in here.values()}
        for key in keys:
            sign_and_check(client, here[key.public_key])


def test_a_key_that_is_in_no_token_is_missing(hsm: SoftHsm) -> None:
    hsm.inspect("dns", "make", "beef", "old key")
    with service(hsm.settings(hsm.token("dns"))) as client:
        other = new_key("beef", Role.ZSK, 13, bytes(64), "hsm", 0)
        archive = SimpleNamespace(manifest=SimpleNamespace(keys=()))
        config = SimpleNamespace(keystores={"hsm": object()})
        finder = KeyFinder(client, cast(Any, archive), cast(Any, config), None)
        found = finder.find(ZONE, Keyset(wire(ZONE), (other,)), bring=True)
        assert len(found.missing) == 1
        assert "with the public key asked for is in a token of hsm" in found.missing[0]
        assert client.keys(wire(ZONE)) == [], "the one under that CKA_ID is another, and is not bound"
