"""DNSSEC algorithm mnemonics (IANA registry, RFC 8624), and those that are refused, with the reason."""

from __future__ import annotations

ALGORITHMS = {
    "rsasha256": 8,
    "rsasha512": 10,
    "ecdsap256sha256": 13,
    "ecdsap384sha384": 14,
    "ed25519": 15,
    "ed448": 16,
}

RSA = frozenset({8, 10})

_SHA1 = "SHA-1 signatures must not be made any more (RFC 9905), and validators treat them as unsigned"
_BROKEN = "it must not be used (RFC 8624 §3.1)"

#: Mnemonic → (number, why it is refused).
REFUSED = {
    "rsamd5": (1, _BROKEN),
    "dsa": (3, _BROKEN),
    "rsasha1": (5, _SHA1),
    "dsa-nsec3-sha1": (6, _BROKEN),
    "rsasha1-nsec3-sha1": (7, _SHA1),
    "nsec3rsasha1": (7, _SHA1),
    "ecc-gost": (12, _BROKEN),
}

_NAMES = {number: name for name, number in ALGORITHMS.items()}


def algorithm_name(number: int) -> str:
    """Mnemonic of *number*, or the number as text."""
    return _NAMES.get(number, str(number))


def algorithm_number(text: str) -> int:
    """Number of the algorithm written as mnemonic or number.

    Raises KeyError when unknown, ValueError with the reason when refused.
    """
    name = text.strip().lower()
    for refused, (number, reason) in REFUSED.items():
        if name in (refused, str(number)):
            raise ValueError(reason)
    if name.isascii() and name.isdigit() and int(name) in _NAMES:
        return int(name)
    return ALGORITHMS[name]
