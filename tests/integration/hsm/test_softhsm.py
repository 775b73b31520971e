"""The PKCS#11 key store on a real token."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dnssecd.keyservice_client.errors import (
    BadRequest,
    KeyMissing,
    KeyTagCollision,
    KeyUnknown,
    SignerError,
    SignRefused,
    Unsupported,
)
from dnssecd.keyservice_protocol import BenchRequest
from dnssecd.signer import algorithms
from tests.integration.hsm.softhsm import PIN, ZONE, SoftHsm, make_preimages, service, sign_and_check
from tests.unit.signer.preimages import preimage_for, wire

pytestmark = pytest.mark.integration


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(tmp_path / "hsm")
    hsm.make_token("dns")
    return hsm


def test_every_algorithm_is_generated_used_and_found_again(hsm: SoftHsm) -> None:
    settings = hsm.settings(hsm.token("dns"))
    with service(settings) as client:
        keys = [client.generate(wire(ZONE), "zsk", number) for number in (8, 10, 13, 14, 15, 16)]
        keys.append(client.generate(wire(ZONE), "ksk", 8, bits=3072))
        assert keys[-1].bits == 3072
    for found in hsm.inspect("dns"):
        assert found["private"] is True
        assert found["sensitive"] is True
        assert found["extractable"] is False
        assert found["uses"] == ["SIGN"]
        assert str(found["label"]).startswith(f"dnssecd {ZONE} ")
    assert {found["id"] for found in hsm.inspect("dns")} == {key.id for key in keys}
    with service(settings) as client:
        assert {(key.id, key.state) for key in client.keys(wire(ZONE))} == {
            (key.id, "available") for key in keys
        }
        for key in keys[:-1]:
            sign_and_check(client, key)
            assert [proof.error for proof in client.prove(wire(ZONE), key.id, key.dnskey)] == [""]
        with pytest.raises(SignRefused):
            client.sign(wire(ZONE), keys[-1].id, make_preimages(keys[-1], 1))
        for key in keys:
            client.remove(wire(ZONE), key.id)
        assert {found["id"] for found in hsm.inspect("dns")} == {key.id for key in keys}  # in the trash
        with pytest.raises(KeyUnknown):
            client.sign(wire(ZONE), keys[0].id, make_preimages(keys[0], 1))
        assert client.recover(keys[0].id).zones == (wire(ZONE),)
        sign_and_check(client, keys[0])
        client.remove(wire(ZONE), keys[0].id)
        for key in keys:
            client.destroy(key.id)
        assert client.audit().ok
    assert hsm.inspect("dns") == []


def test_the_pin_shows_nowhere(hsm: SoftHsm, capfd: pytest.CaptureFixture[str]) -> None:
    with service(hsm.settings(hsm.token("dns"))) as client:
        key = client.generate(wire(ZONE), "zsk", 13)
        sign_and_check(client, key)
        pid = client.status().pid
        pids = [
            pid,
            *map(
                int, subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, check=True).stdout.split()
            ),
        ]
        assert len(pids) >= 2, "the service and its workers"
        for one in pids:
            assert PIN.encode() not in Path(f"/proc/{one}/cmdline").read_bytes()
            assert PIN.encode() not in Path(f"/proc/{one}/environ").read_bytes()
    out = capfd.readouterr()
    assert PIN not in out.out + out.err
    for directory, _, names in os.walk(hsm.path / "state"):
        for name in names:
            assert PIN.encode() not in (Path(directory) / name).read_bytes()


def test_many_sessions_share_one_request(hsm: SoftHsm) -> None:
    with service(hsm.settings(hsm.token("dns", sessions=4))) as client:
        key = client.generate(wire(ZONE), "zsk", 13)
        sign_and_check(client, key, 3000)
        (token,) = client.status().stores[0].tokens
        assert token.signatures >= 3000
        assert token.latency_buckets["+Inf"] == token.calls
        assert token.state == "ok"


def test_token_by_serial(hsm: SoftHsm) -> None:
    text = subprocess.run(
        ["softhsm2-util", "--show-slots"], capture_output=True, text=True, check=True
    ).stdout
    block = next(part for part in text.split("Slot ") if "Label:            dns" in part)
    serial = block.split("Serial number:", 1)[1].split()[0]
    with service(hsm.settings(hsm.token("dns", label="", serial=serial))) as client:
        sign_and_check(client, client.generate(wire(ZONE), "zsk", 13))


def test_keys_already_in_the_token_are_adopted(hsm: SoftHsm) -> None:
    hsm.inspect("dns", "make", "beef", "old key")
    hsm.inspect("dns", "make", "f00d", "twin")
    hsm.inspect("dns", "make", "cafe", "twin")
    with service(hsm.settings(hsm.token("dns"))) as client:
        key = client.adopt(wire(ZONE), "zsk", 13, cka_id="beef")
        sign_and_check(client, key)
        assert client.adopt(wire(ZONE), "ksk", 13, cka_id="f00d").role == "ksk"
        with pytest.raises(BadRequest, match="2 different keys"):
            client.adopt(wire("example.net."), "zsk", 13, label="twin")
        with pytest.raises(KeyMissing):
            client.adopt(wire(ZONE), "zsk", 13, cka_id="0000")
        with pytest.raises(KeyMissing):
            client.adopt(wire(ZONE), "zsk", 8, cka_id="cafe")
        with pytest.raises(Unsupported, match="adopt"):
            client.import_key(wire(ZONE), "zsk", 13, make_pem())
    assert len(hsm.inspect("dns")) == 3, "adoption changes nothing in the token"


def test_an_rsa_key_without_its_public_key_object_is_adopted(hsm: SoftHsm) -> None:
    """So OpenDNSSEC leaves them in the token, with the SkipPublicKey of its default configuration."""
    pem = hsm.path / "rsa.pem"
    private = rsa.generate_private_key(65537, 2048)
    pem.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    hsm.import_key("dns", pem, "0ddb", "0ddb")
    hsm.inspect("dns", "delete-public", "0ddb")
    settings = hsm.settings(hsm.token("dns"))
    with service(settings) as client:
        key = client.adopt(wire(ZONE), "zsk", 8, cka_id="0ddb")
        assert key.dnskey == algorithms.dnskey_rdata(256, 8, private.public_key())
        sign_and_check(client, key)
    with service(settings) as client:
        sign_and_check(client, client.keys(wire(ZONE))[0])


def test_keystore_test_and_bench_leave_nothing_behind(hsm: SoftHsm) -> None:
    with service(hsm.settings(hsm.token("dns"))) as client:
        assert "verified and destroyed" in client.test_store("hsm")
        (line,) = client.bench_store(BenchRequest(0, store="hsm", signatures=500, batch=50))
        assert line.signatures == 500
        assert line.sessions in (1, 2), "the second may still be opening"
        assert client.keys() == []
    assert hsm.inspect("dns") == []


def test_every_token_is_tried_and_measured_by_itself(hsm: SoftHsm) -> None:
    hsm.make_token("twin")
    with service(hsm.settings(hsm.token("dns"), hsm.token("twin"))) as client:
        assert client.test_store("hsm").count("verified and destroyed; all of 0 keys there") == 2
        for token, sessions in (("dns", 1), ("twin", 1), ("twin", 2)):
            request = BenchRequest(
                0, store="hsm", token=token, sessions=sessions, batch=1, signatures=10**6, seconds=0.2
            )
            (line,) = client.bench_store(request)
            assert (line.token, line.sessions) in ((token, sessions), (token, 1))
            assert line.signatures > 10
            assert 0.15 < line.seconds < 5
        with pytest.raises(BadRequest, match="no token 'none'; it has: dns, twin"):
            client.bench_store(BenchRequest(0, store="hsm", token="none"))
        client.generate(wire(ZONE), "zsk", 13)
        with pytest.raises(SignerError, match=r"token dns: .* destroyed.*token twin: 1 of 1 keys lack"):
            client.test_store("hsm")
        with pytest.raises(Unsupported, match="algorithm 5"):
            client.test_store("hsm", 5)
        assert not any(one.code == "token evicted" for one in client.status().warnings)
    assert [key["label"] for key in hsm.inspect("twin")] == []
    assert len(hsm.inspect("dns")) == 1


def test_a_shared_key_signs_for_several_zones(hsm: SoftHsm) -> None:
    with service(hsm.settings(hsm.token("dns"))) as client:
        key = client.generate(wire(ZONE), "csk", 13)
        client.bind(wire("example.net."), key.id)
        preimage = preimage_for(key, "example.net.", "www.example.net.", "A", "192.0.2.1")
        client.sign(wire("example.net."), key.id, [preimage])
        client.remove(wire(ZONE), key.id)
        assert len(hsm.inspect("dns")) == 1
        client.remove(wire("example.net."), key.id)
        client.destroy(key.id)
    assert hsm.inspect("dns") == []


def make_pem() -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = ec.generate_private_key(ec.SECP256R1())
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_key_tag_in_use_is_refused(hsm: SoftHsm, tmp_path: Path) -> None:
    """The .ru incident: two keys of one tag. With the REVOKE bit or without, ours have different ones."""
    with service(hsm.settings(hsm.token("dns"))) as client:
        first = client.generate(wire(ZONE), "zsk", 13)
    twin = tmp_path / "twin.pem"
    twin.write_bytes(key_with_tag({first.tag, first.revoked_tag}))
    hsm.import_key("dns", twin, "beef", "unlucky")
    with service(hsm.settings(hsm.token("dns"))) as client:
        with pytest.raises(KeyTagCollision):
            client.adopt(wire(ZONE), "zsk", 13, cka_id="beef")
        assert client.adopt(wire("example.net."), "zsk", 13, cka_id="beef").bits == 256


def key_with_tag(tags: set[int]) -> bytes:
    """A P-256 key in PEM whose tag as a ZSK, with the REVOKE bit or without, is one of `tags`."""
    while True:
        private = ec.generate_private_key(ec.SECP256R1())
        rdata = algorithms.dnskey_rdata(256, 13, private.public_key())
        if not tags.isdisjoint(algorithms.tags(rdata)):
            return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
