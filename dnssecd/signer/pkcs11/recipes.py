"""How a token is asked to make a key pair: the strictest template that it takes.

Modules disagree about templates. Some refuse a usage flag that is false (tpm2-pkcs11 CKA_VERIFY and CKA_DECRYPT, older
Cavium CKA_DERIVE), some a CKA_CLASS; some know a curve by its OID only, some by its name only. So there is a ladder of
recipes, strictest first. The attributes of the key made are read back: a key that can leave the token is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from pkcs11 import Attribute, KeyType, MechanismFlag
from pkcs11.constants import DEFAULT
from pkcs11.util.ec import encode_named_curve_parameters

from dnssecd.signer.pkcs11.ckr import CallError, calling
from dnssecd.signer.pkcs11.mechanisms import GENERATING, KEY_TYPES
from dnssecd.signer.pkcs11.public_keys import RSA, read_attribute

#: With these a token refuses a template; another one may do.
REFUSALS = frozenset(
    {
        "ArgumentsBad",
        "AttributeReadOnly",
        "AttributeTypeInvalid",
        "AttributeValueInvalid",
        "CurveNotSupported",
        "DomainParamsInvalid",
        "FunctionFailed",
        "GeneralError",
        "MechanismParamInvalid",
        "TemplateIncomplete",
        "TemplateInconsistent",
    }
)
_CURVES = {13: "secp256r1", 14: "secp384r1"}
_EDWARDS_OIDS = {15: bytes.fromhex("06032b6570"), 16: bytes.fromhex("06032b6571")}  # DER, RFC 8410 §3
_EDWARDS_NAMES = {15: b"edwards25519", 16: b"edwards448"}
_PRINTABLE_STRING = 0x13
#: What a DNSSEC key has no use for, and a token may give it all the same.
_NOT_WANTED = (Attribute.DECRYPT, Attribute.UNWRAP, Attribute.DERIVE, Attribute.SIGN_RECOVER)


class KeyRefused(Exception):
    """The token made a key that must not be used; it was destroyed again."""


class Recipe(Struct, frozen=True):
    """How to ask: with usage flags that are false, with CKA_CLASS, as a private object, with the curve's name."""

    false_flags: bool = True
    key_class: bool = True
    private: bool = True
    curve_name: bool = False


class Made(Struct, frozen=True):
    """A new key pair, the number of the recipe that made it, and what it can do besides signing."""

    public: Any
    private: Any
    recipe: int
    more: tuple[str, ...]


def list_recipes(algorithm: int, *, logged_in: bool) -> list[Recipe]:
    """Return the recipes for `algorithm`, strictest first. Without login some tokens take no private objects."""
    found = [Recipe(), Recipe(false_flags=False), Recipe(false_flags=False, key_class=False)]
    if not logged_in:
        found.append(Recipe(false_flags=False, private=False))
    if algorithm in _EDWARDS_OIDS:
        found += [Recipe(one.false_flags, one.key_class, one.private, curve_name=True) for one in found]
    return found


def make_key_pair(
    session: Any,
    identity: bytes,
    label: str,
    algorithm: int,
    bits: int,
    *,
    start: int,
    logged_in: bool,
    remove: Callable[[], None],
) -> Made:
    """Make a key pair, trying the recipes from number `start` on; CallError or KeyRefused when none will do.

    `remove` destroys what has the CKA_ID `identity`: a call that failed may have left half a pair.
    """
    recipes = list_recipes(algorithm, logged_in=logged_in)
    refusals = REFUSALS if logged_in else REFUSALS | {"UserNotLoggedIn"}
    first: CallError | None = None
    for number in range(min(start, len(recipes) - 1), len(recipes)):
        try:
            public, private = _generate(session, identity, label, algorithm, bits, recipes[number])
        except CallError as error:
            first = first or error
            if error.kind not in refusals:
                raise
            remove()
            continue
        try:
            more = _check(private)
        except KeyRefused:
            remove()
            raise
        return Made(public, private, number, more)
    assert first is not None
    raise first


def _generate(
    session: Any, identity: bytes, label: str, algorithm: int, bits: int, recipe: Recipe
) -> tuple[Any, Any]:
    options: dict[str, Any] = {
        "id": identity,
        "label": label,
        "store": True,
        "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
        "mechanism": GENERATING[algorithm],
        "public_template": _changes(recipe, (Attribute.ENCRYPT, Attribute.WRAP)),
        "private_template": {
            Attribute.PRIVATE: recipe.private,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            **_changes(recipe, (Attribute.DECRYPT, Attribute.UNWRAP, Attribute.DERIVE)),
        },
    }
    with calling("C_GenerateKeyPair"):
        if algorithm in RSA:
            pair = session.generate_keypair(KeyType.RSA, bits, **options)
        else:
            wanted = {Attribute.EC_PARAMS: _curve_parameters(algorithm, by_name=recipe.curve_name)}
            domain = session.create_domain_parameters(KEY_TYPES[algorithm], wanted, local=True)
            pair = domain.generate_keypair(**options)
    public, private = pair
    return public, private


def _changes(recipe: Recipe, flags: tuple[Attribute, ...]) -> dict[Attribute, Any]:
    """Return what differs from python-pkcs11's template; DEFAULT leaves an attribute out."""
    out = () if recipe.false_flags else flags
    return dict.fromkeys(out if recipe.key_class else (*out, Attribute.CLASS), DEFAULT)


def _curve_parameters(algorithm: int, *, by_name: bool) -> bytes:
    if algorithm in _CURVES:
        return bytes(encode_named_curve_parameters(_CURVES[algorithm]))
    if not by_name:
        return _EDWARDS_OIDS[algorithm]
    name = _EDWARDS_NAMES[algorithm]
    return bytes([_PRINTABLE_STRING, len(name)]) + name


def _check(private: Any) -> tuple[str, ...]:
    """Return what the key can do besides signing; KeyRefused for one that can leave the token, or cannot sign."""
    if read_attribute(private, Attribute.EXTRACTABLE):
        raise KeyRefused("the token made an extractable key although a non-extractable one was asked for")
    if read_attribute(private, Attribute.SENSITIVE) is False:
        raise KeyRefused("the token made a key that is not sensitive although a sensitive one was asked for")
    if read_attribute(private, Attribute.SIGN) is False:
        raise KeyRefused("the token made a key that cannot sign")
    return tuple(f"CKA_{one.name}" for one in _NOT_WANTED if read_attribute(private, one))
