"""Key pairs and signatures of every algorithm, judged by dnspython and by published keys."""

from __future__ import annotations

from pathlib import Path

import dns.dnssec
import dns.name
import dns.rdata
import dns.rrset
import pytest
from cryptography.exceptions import InvalidSignature
from dns._features import have

from dnssecd.core.verify.keys import ZoneKey
from dnssecd.signer import algorithms, mldsa, private_formats
from dnssecd.signer.errors import BadRequest, Unsupported
from tests.peers.paths import shared_dir
from tests.unit.signer.preimages import INCEPTION, rrset_preimage, rrsig_without_signature

VECTORS = (shared_dir() or Path("none")) / "vectors/eddsa-rfc8080"
NUMBERS = sorted(algorithms.ALGORITHMS)


def make(number: int, flags: int = 257) -> tuple[algorithms.PrivateKey, bytes]:
    private = algorithms.generate(algorithms.ALGORITHMS[number], 0)
    return private, algorithms.dnskey_rdata(flags, number, private.public_key())


@pytest.mark.skipif(not have("dnssec"), reason="dnspython validates with newer versions of cryptography only")
@pytest.mark.parametrize("number", NUMBERS)
def test_signatures_validate_in_dnspython(number: int) -> None:
    private, rdata = make(number, 256)
    dnskey = dns.rdata.from_wire("IN", "DNSKEY", rdata, 0, len(rdata))
    tag = algorithms.key_tag(rdata)
    assert tag == dns.dnssec.key_id(dnskey)
    rrset = dns.rrset.from_text("www.example.", 300, "IN", "A", "192.0.2.1", "192.0.2.2")
    preimage = rrset_preimage(rrset, "example.", number, tag)
    signature = algorithms.signer(algorithms.ALGORITHMS[number], private)(preimage)
    rrsig = rrsig_without_signature(rrset, "example.", number, tag).replace(signature=signature)
    keys = {dns.name.from_text("example."): dns.rrset.from_rdata("example.", 300, dnskey)}
    dns.dnssec.validate_rrsig(rrset, rrsig, keys, now=INCEPTION + 1)
    verify, client = algorithms.verifier(rdata), ZoneKey(rdata).verify
    assert client is not None
    verify(signature, preimage)
    assert client(signature, preimage)
    for bad in (bytes([signature[0] ^ 1]) + signature[1:], signature[:-1], b""):
        with pytest.raises((InvalidSignature, ValueError)):
            verify(bad, preimage)
        assert not client(bad, preimage)


@pytest.mark.parametrize(("number", "octets"), [(13, 64), (14, 96)])
def test_ecdsa_signatures_have_a_fixed_length(number: int, octets: int) -> None:
    private, rdata = make(number)
    sign = algorithms.signer(algorithms.ALGORITHMS[number], private)
    verify = algorithms.verifier(rdata)
    leading_zero = False
    for count in range(3000):
        data = count.to_bytes(4)
        signature = sign(data)
        assert len(signature) == octets
        if 0 in (signature[0], signature[octets // 2]):
            leading_zero = True
            verify(signature, data)
    assert leading_zero


def test_deterministic_ecdsa_repeats() -> None:
    private, _ = make(13)
    sign = algorithms.signer(algorithms.ALGORITHMS[13], private, deterministic=True)
    assert sign(b"x") == sign(b"x")
    assert algorithms.signer(algorithms.ALGORITHMS[13], private)(b"x") != sign(b"x")


@pytest.mark.parametrize(
    ("number", "word"), [(5, "SHA-1"), (7, "SHA-1"), (3, "DSA"), (12, "GOST"), (99, "99")]
)
def test_other_algorithms_are_refused_with_the_reason(number: int, word: str) -> None:
    with pytest.raises(Unsupported, match=word):
        algorithms.algorithm_of(number)


def test_key_sizes() -> None:
    rsa, ecdsa = algorithms.ALGORITHMS[8], algorithms.ALGORITHMS[13]
    assert algorithms.check_bits(rsa, 0) == 2048
    assert algorithms.check_bits(rsa, 4096) == 4096
    assert algorithms.check_bits(ecdsa, 256) == 256
    for algorithm, bits in ((rsa, 1024), (rsa, 8192), (rsa, 2049), (ecdsa, 384)):
        with pytest.raises(BadRequest):
            algorithms.check_bits(algorithm, bits)


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.private")), ids=lambda path: path.stem)
def test_rfc8080_keys_are_read_from_bind_files(path: Path) -> None:
    _, number, tag = path.stem[1:].split("+")
    private = private_formats.load(path.read_bytes(), int(number))
    public_file = path.with_suffix(".key").read_text().splitlines()[-1]
    expected = dns.rdata.from_text("IN", "DNSKEY", public_file.split("DNSKEY", 1)[1])
    rdata = algorithms.dnskey_rdata(257, int(number), private.public_key())
    assert rdata == expected.to_digestable()
    assert algorithms.key_tag(rdata) == int(tag)


def test_revoking_changes_the_tag() -> None:
    _, rdata = make(13)
    dnskey = dns.rdata.from_wire("IN", "DNSKEY", rdata, 0, len(rdata))
    assert algorithms.tags(rdata) == (
        dns.dnssec.key_id(dnskey),
        dns.dnssec.key_id(dnskey.replace(flags=dnskey.flags | 0x80)),
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"Private-key-format: v1.3\n", b"Private-key-format: v1.3\nAlgorithm: 13\nPrivateKey: !!SECRET\n",
     b"-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n", b"\x30\x82SECRET"],
)  # fmt: skip
def test_unreadable_private_keys_are_not_quoted(content: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        private_formats.load(content, 13)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_of_another_algorithm_is_refused() -> None:
    path = next(VECTORS.glob("*+015+*.private"))
    with pytest.raises(BadRequest, match="algorithm 16"):
        private_formats.load(path.read_bytes(), 16)


def test_a_library_without_ml_dsa_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mldsa, "lacking", lambda: "algorithm 18 (MLDSA44) needs cryptography 47 or newer")
    with pytest.raises(Unsupported, match="needs cryptography 47"):
        algorithms.algorithm_of(mldsa.NUMBER)


@pytest.mark.skipif(bool(mldsa.lacking()), reason="this version of cryptography has no ML-DSA")
def test_ml_dsa_has_the_octets_of_its_draft() -> None:
    private = algorithms.generate(algorithms.algorithm_of(18), 0)
    dnskey = algorithms.dnskey_rdata(257, 18, private.public_key())
    assert len(dnskey) == 4 + 1_312
    signature = algorithms.signer(algorithms.ALGORITHMS[18], private)(b"data")
    assert len(signature) == 2_420
    verify = ZoneKey(dnskey).verify
    assert verify is not None
    assert verify(signature, b"data")
    assert not verify(signature, b"dat")
    assert not verify(signature[:-1], b"data")
    assert not verify(bytes(2_420), b"data")
    assert ZoneKey(dnskey[:-1]).verify is None
