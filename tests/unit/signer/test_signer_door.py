"""Every field of every request is checked, and a field that is refused names itself."""

from typing import Any, get_args

import msgspec
import pytest

from dnssecd import keyservice_protocol as wp
from dnssecd.signer import door
from dnssecd.signer import key_file as sealed
from dnssecd.signer.errors import BadRequest, Unsupported
from dnssecd.signer.key_file import Description, Kdf

KEY_ID = "0123456789abcdef" * 2
ZONE = b"\x07example\x00"
#: Fields whose every value of their type may pass: the decoder knows the values, or they are only compared.
NOT_BOUNDED = {("HelloRequest", "version"), ("ConsentRequest", "give")} | {
    (name, "role") for name in ("GenerateRequest", "ImportRequest", "AdoptRequest")
}
GOOD: dict[str, Any] = {
    "id": 7, "version": 1, "zone": ZONE, "after": KEY_ID, "role": "ksk", "algorithm": 13, "store": "local", "bits": 0,
    "idempotency": "ksk of example.", "timeout_ms": 1000, "share": "", "known": (KEY_ID,), "tags": (0, 32767),
    "private": b"x",
    "created": 1_900_000_000, "key_id": KEY_ID, "passphrase": b"a long passphrase", "sealed": b"{}", "cka_id": "c0de",
    "label": "a key", "public_key": b"x" * 64, "preimage": b"x", "signature": b"x" * 64, "preimages": [b"x"],
    "nonce": b"x" * 16, "limit": 1000, "signatures": 1, "batch": 1, "sessions": 0, "token": "", "seconds": 0.5,
    "consent_id": "0123abcd", "give": True, "node": "b", "letter": b"{}",
    "also": (ZONE, b"\0"),
    "make": (wp.KeyOrder("ksk", 13, "local", 0, "first ksk"), wp.KeyOrder("zsk", 13)),
}  # fmt: skip
BAD: dict[str, tuple[Any, ...]] = {
    "id": (-1, 1 << 63),
    "zone": (b"\x03abc", b"\x07EXAMPLE\x00", b"\xc0\x00", b"\x40" + b"x" * 64 + b"\0", b"\x07example\x00\x00",
             (b"\x3f" + b"x" * 63) * 4 + b"\0"),
    "after": ("../x", KEY_ID.upper()),
    "algorithm": (-1, 256),
    "store": ("x" * 5000, "a\nb", "\x1b[31m"),
    "bits": (-1, 8192),
    "idempotency": ("x" * 5000, "a\0b"),
    "timeout_ms": (-1, 1 << 62),
    "share": ("x" * 5000,),
    "known": (("../../x",), (KEY_ID,) * 1000),
    "tags": ((0, 4094), (5, 4), (-1, 65535), (60000, 65536)),
    "private": (b"", b"x" * 100_000),
    "created": (-1, 1 << 60),
    "key_id": ("", "../../etc/passwd", KEY_ID + "0", KEY_ID[:-1], KEY_ID[:-1] + "g", KEY_ID.upper(), "/" * 32),
    "passphrase": (b"", b"short", b"x" * 5000),
    "sealed": (b"", b"x" * 3_000_000),
    "cka_id": ("c", "zz", "00" * 1000),
    "label": ("\x07", "x" * 5000),
    "public_key": (b"x" * 5000,),
    "preimage": (b"",),
    "signature": (b"", b"x" * 5000),
    "preimages": ([b"x"] * 513,),
    "nonce": (b"x" * 15, b"x" * 65),
    "limit": (-1, 1001),
    "signatures": (0, 1 << 30),
    "batch": (0, 513),
    "sessions": (-1, 1 << 20),
    "token": ("\x7f", "x" * 5000),
    "consent_id": ("", "0123ABCD", "../../ab", "0123abcde"),
    "node": ("x" * 5000, "a\nb"),
    "letter": (b"", b"x" * 100_000),
    "also": ((ZONE, b"\x03abc"), (ZONE,) * 256),
    "make": ((wp.KeyOrder("ksk", 13),) * 9, (wp.KeyOrder("ksk", 256),), (wp.KeyOrder("ksk", 13, "a\nb"),),
             (wp.KeyOrder("ksk", 13, bits=-1),), (wp.KeyOrder("ksk", 13, idempotency="a\0b"),)),
    "seconds": (-1.0, 601.0, float("nan"), float("inf")),
}  # fmt: skip


def test_the_table_has_every_field_of_every_request() -> None:
    assert set(door.CHECKS) == set(get_args(wp.Request))
    for kind in get_args(wp.Request):
        assert [field for field, _ in door.CHECKS[kind]] == list(kind.__struct_fields__)
        assert {
            field for field in kind.__struct_fields__ if (kind.__name__, field) not in NOT_BOUNDED
        } <= set(BAD)


@pytest.mark.parametrize("kind", get_args(wp.Request))
def test_a_refused_field_names_itself(kind: type[wp.Message]) -> None:
    good = kind(**{field: GOOD[field] for field in kind.__struct_fields__})
    door.check(good)  # type: ignore[arg-type]
    for field in kind.__struct_fields__:
        for value in BAD.get(field, ()):
            if kind is wp.AdoptRequest and (field, value) == ("key_id", ""):
                continue  # a key of this service's own
            with pytest.raises(BadRequest, match=f"^{field} must be "):
                door.check(msgspec.structs.replace(good, **{field: value}))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", get_args(wp.Request))
def test_so_does_one_of_another_type(kind: type[wp.Message]) -> None:
    good = msgspec.msgpack.decode(
        msgspec.msgpack.encode(kind(**{field: GOOD[field] for field in kind.__struct_fields__}))
    )
    for number, field in enumerate(kind.__struct_fields__, 1):
        wrong = [*good[:number], {"another": "type"}, *good[number + 1 :]]
        with pytest.raises(wp.ProtocolError, match=f"this protocol: {field}: "):
            wp.decode_request(msgspec.msgpack.encode(wrong))


def described(**changes: Any) -> Description:
    key = Description(
        id=KEY_ID, zones=(ZONE,), role="zsk", algorithm=13, bits=256, flags=256,
        dnskey=b"\1\0\3\x0d" + b"k" * 64, created=1_900_000_000,
    )  # fmt: skip
    return msgspec.structs.replace(key, **changes)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "/tmp/planted"), ("id", "../x"), ("id", ""), ("zones", ()), ("zones", (b"\x03abc",)),
        ("zones", (ZONE, ZONE)), ("flags", 257), ("flags", 0), ("role", "ksk"), ("bits", 0), ("bits", 1 << 40),
        ("dnskey", b""), ("dnskey", b"\1\1\3\x0d" + b"k" * 64), ("dnskey", b"\1\0\3\x0f" + b"k" * 64),
        ("created", -1), ("label", "\x1b]0;x\x07"), ("idempotency", "x" * 5000), ("cka_id", "x"),
    ],
)  # fmt: skip
def test_the_description_of_a_restored_key_is_checked_too(field: str, value: Any) -> None:
    door.check_description(described())
    with pytest.raises(BadRequest, match="of the key must"):
        door.check_description(described(**{field: value}))


def test_so_is_its_algorithm() -> None:
    with pytest.raises(Unsupported, match="algorithm 7"):
        door.check_description(described(algorithm=7))


@pytest.mark.parametrize(
    "kdf",
    [
        Kdf(b"s" * 16, n=1 << 20), Kdf(b"s" * 16, n=2), Kdf(b"s" * 16, n=(1 << 15) + 1), Kdf(b"s" * 16, n=-1),
        Kdf(b"s" * 16, r=32), Kdf(b"s" * 16, p=4), Kdf(b""), Kdf(b"s" * 5000),
    ],
)  # fmt: skip
def test_scrypt_is_not_as_dear_as_a_file_says(kdf: Kdf) -> None:
    shell = sealed.SealedKey(sealed.FORMAT, described(), kdf, b"s" * 32, b"n" * 12, b"")
    with pytest.raises(sealed.CannotOpen, match="kdf"):
        sealed.read(msgspec.json.encode(shell))
    with pytest.raises(sealed.CannotOpen, match="kdf"):
        sealed.KeyEncryption(b"a long passphrase").key(kdf)
