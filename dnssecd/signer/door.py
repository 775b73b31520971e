"""The door of the key service: each field of each request is checked before anything is done with it.

A request that passes may still be refused for what it asks. A field that is refused names itself in the message.
The table below has every field of every request; a test compares it with the protocol.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from dnssecd import keyservice_protocol as wp
from dnssecd.signer import algorithms
from dnssecd.signer.errors import BadRequest
from dnssecd.signer.key_file import Description
from dnssecd.signer.preimage import BadName, name_labels

KEY_ID_DIGITS = 32
CONSENT_ID_DIGITS = 8
PASSPHRASE_OCTETS_MIN = 8
PASSPHRASE_OCTETS_MAX = 1024
PRIVATE_OCTETS_MAX = 16 * 1024
LETTER_OCTETS_MAX = 64 * 1024
SEALED_OCTETS_MAX = 2 * 1024 * 1024  # the zones that share a key may be many
ZONES_MAX = 100_000
KNOWN_MAX = 256
TEXT_MAX = 1200  # a domain name in presentation form has up to 1,004 characters
CKA_ID_OCTETS_MAX = 255
PUBLIC_KEY_OCTETS_MAX = 1312  # ML-DSA-44; RSA of 4096 bits with an exponent as long as the modulus: 1,032
SIGNATURE_OCTETS_MAX = 2420  # ML-DSA-44
AUDIT_ENTRIES_MAX = 1000
TIMEOUT_MS_MAX = 24 * 3600 * 1000
SIGNATURES_MAX = 1_000_000
SESSIONS_MAX = 4096
SECONDS_MAX = 600.0
TIME_MAX = 1 << 40
_HEX = frozenset("0123456789abcdef")

#: Returns "" for a good value, else what it must be.
Check = Callable[[Any], str]


def is_key_id(text: str) -> bool:
    """Whether `text` is 32 hex digits in lower case. A key id becomes a file name."""
    return len(text) == KEY_ID_DIGITS and _HEX.issuperset(text)


def _zone(value: bytes) -> str:
    try:
        name_labels(value)
    except BadName as error:
        return f"a wire name in lower case ({error})"
    return ""


def _zone_or_all(value: bytes) -> str:
    return _zone(value) if value else ""


def _key_id(value: str) -> str:
    return "" if is_key_id(value) else f"{KEY_ID_DIGITS} hex digits in lower case"


def _key_id_or_none(value: str) -> str:
    return _key_id(value) if value else ""


def _consent_id(value: str) -> str:
    good = len(value) == CONSENT_ID_DIGITS and _HEX.issuperset(value)
    return "" if good else f"{CONSENT_ID_DIGITS} hex digits in lower case"


def _key_ids(value: tuple[str, ...]) -> str:
    good = len(value) <= KNOWN_MAX and all(map(is_key_id, value))
    return "" if good else f"at most {KNOWN_MAX} key ids of {KEY_ID_DIGITS} hex digits"


def _text(value: str) -> str:
    good = len(value) <= TEXT_MAX and value.isprintable()
    return "" if good else f"at most {TEXT_MAX} printable characters"


def _cka_id(value: str) -> str:
    good = len(value) <= 2 * CKA_ID_OCTETS_MAX and len(value) % 2 == 0 and _HEX.issuperset(value.lower())
    return "" if good else f"at most {CKA_ID_OCTETS_MAX} octets in hex"


def _whole(low: int, high: int) -> Check:
    return lambda value: "" if low <= value <= high else f"a number from {low} to {high}"


def _octets(low: int, high: int) -> Check:
    return lambda value: "" if low <= len(value) <= high else f"{low} to {high} octets, not {len(value)}"


_nonce = _octets(wp.NONCE_OCTETS_MIN, wp.NONCE_OCTETS_MAX)


def _seconds(value: float) -> str:
    good = math.isfinite(value) and 0 <= value <= SECONDS_MAX
    return "" if good else f"a number from 0 to {SECONDS_MAX:g}"


def _tags(value: tuple[int, int]) -> str:
    low, high = value
    good = wp.TAGS[0] <= low <= high <= wp.TAGS[1] and high - low + 1 >= wp.TAG_RANGE_MIN
    return "" if good else f"a range of at least {wp.TAG_RANGE_MIN} key tags"


def _nonce_or_none(value: bytes) -> str:
    return _nonce(value) if value else ""


def _preimages(value: list[bytes]) -> str:
    good = len(value) <= wp.BATCH_PREIMAGES_MAX
    return "" if good else f"at most {wp.BATCH_PREIMAGES_MAX}, not {len(value)}"


def _zones(value: tuple[bytes, ...]) -> str:
    if len(value) > wp.ALSO_MAX:
        return f"at most {wp.ALSO_MAX} names"
    return next(filter(None, map(_zone, value)), "")


def _orders(value: tuple[wp.KeyOrder, ...]) -> str:
    if len(value) > wp.ORDERS_MAX:
        return f"at most {wp.ORDERS_MAX} keys"
    for order in value:
        for field in order.__struct_fields__:
            if must := _ORDER[field](getattr(order, field)):
                return f"keys whose {field} is {must}"
    return ""


def _any(value: object) -> str:
    return ""  # the protocol's decoder has checked it, or the field is only compared


_COMMON: Mapping[str, Check] = {
    "id": _whole(0, (1 << 63) - 1),
    "zone": _zone,
    "key_id": _key_id,
    "role": _any,
    "algorithm": _whole(0, 255),
    "store": _text,
    "timeout_ms": _whole(0, TIMEOUT_MS_MAX),
    "created": _whole(0, TIME_MAX),
    "passphrase": _octets(PASSPHRASE_OCTETS_MIN, PASSPHRASE_OCTETS_MAX),
}

#: The checks of a key that is asked for.
_ORDER: Mapping[str, Check] = {
    "role": _any,
    "algorithm": _COMMON["algorithm"],
    "store": _text,
    "bits": _whole(0, 4096),
    "idempotency": _text,
}

#: The checks of each request's own fields, beside those above.
_OWN: Mapping[type[wp.Message], Mapping[str, Check]] = {
    wp.HelloRequest: {"version": _any},
    wp.StatusRequest: {},
    wp.KeysRequest: {
        "zone": _zone_or_all,
        "after": _key_id_or_none,
        "make": _orders,
        "also": _zones,
        "tags": _tags,
        "nonce": _nonce_or_none,
    },
    wp.GenerateRequest: {
        "bits": _ORDER["bits"],
        "idempotency": _text,
        "share": _text,
        "known": _key_ids,
        "tags": _tags,
        "nonce": _nonce_or_none,
    },
    wp.ImportRequest: {"private": _octets(1, PRIVATE_OCTETS_MAX)},
    wp.ExportRequest: {},
    wp.RestoreRequest: {"sealed": _octets(1, SEALED_OCTETS_MAX)},
    wp.AdoptRequest: {
        "cka_id": _cka_id,
        "label": _text,
        "public_key": _octets(0, PUBLIC_KEY_OCTETS_MAX),
        "key_id": _key_id_or_none,
    },
    wp.SealingKeyRequest: {},
    wp.SealRequest: {"node": _text},
    wp.OpenRequest: {"letter": _octets(1, LETTER_OCTETS_MAX)},
    wp.ReportRequest: {
        "preimage": _octets(1, wp.FRAME_OCTETS_MAX),
        "signature": _octets(1, SIGNATURE_OCTETS_MAX),
    },
    wp.BindRequest: {},
    wp.RemoveRequest: {},
    wp.TrashRequest: {"after": _key_id_or_none},
    wp.RecoverRequest: {},
    wp.DestroyRequest: {},
    wp.ConsentsRequest: {},
    wp.ConsentRequest: {"consent_id": _consent_id, "give": _any},
    wp.SignRequest: {"preimages": _preimages},
    wp.ProveRequest: {"nonce": _nonce},
    wp.AuditRequest: {"limit": _whole(0, AUDIT_ENTRIES_MAX)},
    wp.TestRequest: {},
    wp.BenchRequest: {
        "signatures": _whole(1, SIGNATURES_MAX),
        "batch": _whole(1, wp.BATCH_PREIMAGES_MAX),
        "sessions": _whole(0, SESSIONS_MAX),
        "token": _text,
        "seconds": _seconds,
    },
}

CHECKS: Mapping[type[wp.Message], tuple[tuple[str, Check], ...]] = {
    kind: tuple((field, (own.get(field) or _COMMON[field])) for field in kind.__struct_fields__)
    for kind, own in _OWN.items()
}


def check(request: wp.Request) -> None:
    """Raise BadRequest, naming the field, for the first field that is not what it must be."""
    for field, judge in CHECKS[type(request)]:
        if must := judge(getattr(request, field)):
            raise BadRequest(f"{field} must be {must}")


_DESCRIPTION: Mapping[str, Check] = {
    "id": _key_id,
    "algorithm": _whole(0, 255),
    "bits": _whole(1, 4096),
    "flags": _whole(0, 0xFFFF),
    "dnskey": _octets(5, 4 + PUBLIC_KEY_OCTETS_MAX),
    "created": _whole(0, TIME_MAX),
    "cka_id": _cka_id,
    "label": _text,
    "idempotency": _text,
}


def check_description(key: Description) -> None:
    """Raise BadRequest, naming the field, for a description from outside that no key made here can have.

    The private key may still be another: who opens it compares.
    """
    for field, judge in _DESCRIPTION.items():
        if must := judge(getattr(key, field)):
            raise BadRequest(f"{field} of the key must be {must}")
    if not 1 <= len(key.zones) <= ZONES_MAX or len(set(key.zones)) != len(key.zones):
        raise BadRequest(f"zones of the key must be 1 to {ZONES_MAX} different names")
    for zone in key.zones:
        if must := _zone(zone):
            raise BadRequest(f"zones of the key must each be {must}")
    algorithms.algorithm_of(key.algorithm)
    if key.flags != algorithms.flags_of(key.role):
        raise BadRequest(f"flags of the key must be those of its role, {key.role}")
    if key.dnskey[:4] != key.flags.to_bytes(2) + b"\x03" + bytes([key.algorithm]):
        raise BadRequest("dnskey of the key must have its flags, protocol 3 and its algorithm")
