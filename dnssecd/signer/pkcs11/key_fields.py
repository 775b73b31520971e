"""Public key fields of DNSKEY RDATA, taken apart. The key service uses it without any token, so it loads no PKCS#11."""

from dnssecd.signer.algorithms import ALGORITHMS

RSA = (8, 10)
CURVES = (13, 14)


def public_values(public_key: bytes, algorithm: int) -> list[bytes]:
    """Return what a token may have as modulus or point of a public key field; see `point_field`."""
    if algorithm in RSA:
        length = public_key[0] + 1 if public_key[0] else int.from_bytes(public_key[1:3]) + 3
        return [public_key[length:]]
    point = (b"\x04" if algorithm in CURVES else b"") + public_key
    return [bytes([4, len(point)]) + point, point]


def field_bits(field: bytes, algorithm: int) -> int:
    """Return the size in bits of the key with this public key field; 0 where the field is empty or no such key."""
    if algorithm not in RSA:
        return ALGORITHMS[algorithm].bits
    return len(public_values(field, algorithm)[0]) * 8 if field else 0
