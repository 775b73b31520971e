"""DNSSEC algorithms: mnemonics, what the IANA registry advises (RFC 9904), and which are refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

Level = Literal["MUST", "RECOMMENDED", "MAY", "NOT RECOMMENDED", "MUST NOT"]

ALGORITHMS = {
    "rsasha256": 8,
    "rsasha512": 10,
    "ecdsap256sha256": 13,
    "ecdsap384sha384": 14,
    "ed25519": 15,
    "ed448": 16,
}

#: For trials only, each to be named in ``experimental`` of a policy. Keys of them are in software key stores only.
EXPERIMENTAL = {"mldsa44": 18}

RSA = frozenset({8, 10})


class Advice(NamedTuple):
    """A row of the IANA registry "DNS Security Algorithm Numbers": its four columns, and the RFC that set them last.

    The columns, in order: "Use for DNSSEC Signing", "Use for DNSSEC Validation", "Implement for DNSSEC Signing",
    "Implement for DNSSEC Validation".
    """

    use_signing: Level
    use_validation: Level
    implement_signing: Level
    implement_validation: Level
    source: str = "RFC 9904"


#: Algorithm number → advice. The registry is the authority (RFC 9904 §2); this is its state of November 2026.
ADVICE: Mapping[int, Advice] = MappingProxyType(
    {
        1: Advice("MUST NOT", "MUST NOT", "MUST NOT", "MUST NOT"),
        3: Advice("MUST NOT", "MUST NOT", "MUST NOT", "MUST NOT"),
        5: Advice("MUST NOT", "RECOMMENDED", "NOT RECOMMENDED", "MUST", "RFC 9905"),
        6: Advice("MUST NOT", "MUST NOT", "MUST NOT", "MUST NOT"),
        7: Advice("MUST NOT", "RECOMMENDED", "NOT RECOMMENDED", "MUST", "RFC 9905"),
        8: Advice("RECOMMENDED", "RECOMMENDED", "MUST", "MUST"),
        10: Advice("NOT RECOMMENDED", "RECOMMENDED", "NOT RECOMMENDED", "MUST"),
        12: Advice("MUST NOT", "MUST NOT", "MUST NOT", "MUST NOT", "RFC 9906"),
        13: Advice("RECOMMENDED", "RECOMMENDED", "MUST", "MUST"),
        14: Advice("MAY", "RECOMMENDED", "MAY", "RECOMMENDED"),
        15: Advice("RECOMMENDED", "RECOMMENDED", "RECOMMENDED", "RECOMMENDED"),
        16: Advice("MAY", "RECOMMENDED", "MAY", "RECOMMENDED"),
        18: Advice("MAY", "MAY", "MAY", "MAY", "draft-westerbaan-dnssec-mldsa"),
    }
)

#: Mnemonics of algorithms that dnssecd refuses to sign with.
_REFUSED = {
    "rsamd5": 1,
    "dsa": 3,
    "rsasha1": 5,
    "dsa-nsec3-sha1": 6,
    "rsasha1-nsec3-sha1": 7,
    "nsec3rsasha1": 7,
    "ecc-gost": 12,
}

_SHA1 = frozenset({5, 7})
_AGAINST = frozenset({"NOT RECOMMENDED", "MUST NOT"})
_NAMES = {number: name for name, number in (*ALGORITHMS.items(), *EXPERIMENTAL.items())}


def algorithm_name(number: int) -> str:
    """Return the mnemonic of *number*, or the number as text."""
    return _NAMES.get(number, str(number))


def algorithm_number(text: str, experimental: Collection[str] = ()) -> int:
    """Return the number of the algorithm written as mnemonic or number.

    experimental: mnemonics of those in EXPERIMENTAL that are allowed. Raise KeyError when unknown, ValueError with the
    reason when refused.
    """
    name = text.strip().lower()
    for refused, number in _REFUSED.items():
        if name in (refused, str(number)):
            raise ValueError(_why_refused(number))
    if name.isascii() and name.isdigit() and int(name) in _NAMES:
        name = _NAMES[int(name)]
    if name in EXPERIMENTAL:
        if name not in experimental:
            raise ValueError("it is experimental: validators that do not know it treat the zone as unsigned")
        return EXPERIMENTAL[name]
    return ALGORITHMS[name]


def is_supported(number: int) -> bool:
    """Tell whether the cryptography library of this host has an algorithm that is not refused."""
    from dnssecd.core.verify.keys import SUPPORTED  # the library is large

    return number in SUPPORTED


def _why_refused(number: int) -> str:
    advice = ADVICE[number]
    what = "SHA-1" if number in _SHA1 else "it"
    reason = f"{what} {advice.use_signing} be used for DNSSEC signing (IANA registry, {advice.source})"
    return reason + ("; validators treat such a zone as unsigned" if number in _SHA1 else "")


def algorithm_warning(number: int) -> str:
    """Return what the IANA registry advises against the use of an algorithm that is not refused; "" for nothing."""
    advice = ADVICE[number]
    columns = (
        ("Use for DNSSEC Signing", advice.use_signing),
        ("Use for DNSSEC Validation", advice.use_validation),
    )
    against = [f'"{column}" is {level}' for column, level in columns if level in _AGAINST]
    if not against:
        return ""
    return (
        f"{algorithm_name(number)} is advised against: {', '.join(against)} (IANA registry, {advice.source})"
    )
