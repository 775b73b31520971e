"""Exported keys are read back as the same key: by our own import, by dnspython and by BIND's tools."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import dns.dnssec
import dns.rdata
import pytest

from dnssecd.signer import algorithms, private_formats
from dnssecd.signer.private_texts import write_bind_private, write_bind_public, write_pem

CREATED = 1_900_000_000


@pytest.fixture(params=[8, 10, 13, 14, 15, 16], scope="module")
def made(request: pytest.FixtureRequest) -> tuple[int, algorithms.PrivateKey]:
    number: int = request.param
    return number, algorithms.generate(algorithms.ALGORITHMS[number], 2048 if number in (8, 10) else 0)


def test_it_is_read_back(made: tuple[int, algorithms.PrivateKey]) -> None:
    number, private = made
    for text in (write_pem(private), write_bind_private(private, number, CREATED)):
        assert private_formats.load(text.encode(), number).public_key() == private.public_key()


def test_a_number_that_begins_with_zeros_keeps_its_length() -> None:
    """RFC 6605 §6: the private key of P-256 has 32 octets."""
    from cryptography.hazmat.primitives.asymmetric import ec

    text = write_bind_private(ec.derive_private_key(5, ec.SECP256R1()), 13, CREATED)
    assert "PrivateKey: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAU=" in text


@pytest.mark.skipif(shutil.which("dnssec-settime") is None, reason="needs BIND's tools")
def test_bind_reads_it(made: tuple[int, algorithms.PrivateKey], tmp_path: Path) -> None:
    number, private = made
    dnskey = algorithms.dnskey_rdata(257, number, private.public_key())
    tag = algorithms.key_tag(dnskey)
    base = tmp_path / f"Ka.test.+{number:03}+{tag:05}"
    base.with_name(f"{base.name}.key").write_text(write_bind_public("a.test.", "ksk", tag, dnskey, CREATED))
    base.with_name(f"{base.name}.private").write_text(write_bind_private(private, number, CREATED))
    done = subprocess.run(
        ["dnssec-settime", "-p", "all", str(base)], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Created: Sun Mar 17 17:46:40 2030" in done.stdout
    wire = dns.rdata.from_wire("IN", "DNSKEY", dnskey, 0, len(dnskey))
    assert dns.dnssec.key_id(wire) == tag
