"""Private keys from outside: their size is known before the numbers are checked, which takes long."""

import base64
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dnssecd.signer import private_formats
from dnssecd.signer.errors import BadRequest

SECONDS_MAX = 5.0


def number(octets: int) -> bytes:
    return base64.b64encode(b"\xff" * octets)


@pytest.mark.parametrize("octets", [600, 2_500])
def test_bind_text_with_large_numbers(octets: int) -> None:
    names = (b"Modulus", b"PublicExponent", b"PrivateExponent", b"Prime1", b"Prime2")
    lines = [b"Private-key-format: v1.3", b"Algorithm: 8 (RSASHA256)"]
    lines += [name + b": " + number(octets) for name in names]
    before = time.monotonic()
    with pytest.raises(BadRequest, match="not a readable private key"):
        private_formats.load(b"\n".join(lines), 8)
    assert time.monotonic() - before < SECONDS_MAX


def test_numbers_longer_than_the_modulus() -> None:
    fields = {b"Modulus": 256, b"PublicExponent": 3, b"PrivateExponent": 2000, b"Prime1": 128, b"Prime2": 128}
    lines = [b"Private-key-format: v1.3", b"Algorithm: 8 (RSASHA256)"]
    lines += [name + b": " + number(octets) for name, octets in fields.items()]
    with pytest.raises(BadRequest, match="not a readable private key"):
        private_formats.load(b"\n".join(lines), 8)


def der_number(value: int) -> bytes:
    octets = value.to_bytes(value.bit_length() // 8 + 1)
    return b"\x02\x82" + len(octets).to_bytes(2) + octets


def test_pkcs1_with_large_numbers() -> None:
    n = (1 << 16_383) + 1
    numbers = b"".join(map(der_number, (0, n, 65_537, n - 2, n // 3, n // 5, 3, 5, 7)))
    content = b"\x30\x82" + len(numbers).to_bytes(2) + numbers
    before = time.monotonic()
    with pytest.raises(BadRequest, match="not a readable private key"):
        private_formats.load(content, 8)
    assert time.monotonic() - before < SECONDS_MAX


def test_a_key_of_the_largest_size_is_taken_and_a_damaged_one_is_not() -> None:
    private = rsa.generate_private_key(65_537, 4096)
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert private_formats.load(der, 8).public_key() == private.public_key()
    numbers = private.private_numbers()
    damaged = der.replace(numbers.p.to_bytes(256), (numbers.p - 2).to_bytes(256))
    assert damaged != der
    with pytest.raises(BadRequest):
        private_formats.load(damaged, 8)
