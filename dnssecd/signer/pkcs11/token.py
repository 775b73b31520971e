"""One session with one token. Runs in a worker process of its own; the only module that imports `pkcs11`.

Object scheme: private and public key carry the same CKA_ID, 16 random octets, which is also the key id of
the service (hex), and the label `dnssecd ZONE ROLE ALGORITHM CREATED`. Private keys are made sensitive,
private, not extractable and for signing only. A key is used only when its public key is the one on record,
whatever its CKA_ID or label.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, TokenFlag
from pkcs11.util.ec import encode_named_curve_parameters

from dnssecd.signer.algorithms import ALGORITHMS
from dnssecd.signer.pkcs11.messages import Candidate, OpenCall

SIGNATURE_OCTETS_MAX = 512
SIGN_S = 0.5
RSA_EXPONENT = b"\x01\x00\x01"
_EDWARDS_OIDS = {15: bytes.fromhex("06032b6570"), 16: bytes.fromhex("06032b6571")}  # DER, RFC 8410 §3
_DIGESTS = {8: hashlib.sha256, 10: hashlib.sha512, 13: hashlib.sha256, 14: hashlib.sha384}
_NEEDED = {
    8: (Mechanism.RSA_PKCS_KEY_PAIR_GEN, Mechanism.SHA256_RSA_PKCS),
    10: (Mechanism.RSA_PKCS_KEY_PAIR_GEN, Mechanism.SHA512_RSA_PKCS),
    13: (Mechanism.EC_KEY_PAIR_GEN, Mechanism.ECDSA),
    14: (Mechanism.EC_KEY_PAIR_GEN, Mechanism.ECDSA),
    15: (Mechanism.EC_EDWARDS_KEY_PAIR_GEN, Mechanism.EDDSA),
    16: (Mechanism.EC_EDWARDS_KEY_PAIR_GEN, Mechanism.EDDSA),
}
_KEY_TYPES = {
    8: KeyType.RSA,
    10: KeyType.RSA,
    13: KeyType.EC,
    14: KeyType.EC,
    15: KeyType.EC_EDWARDS,
    16: KeyType.EC_EDWARDS,
}
_CURVES = {13: "secp256r1", 14: "secp384r1"}
_KEY_OCTETS = {13: 64, 14: 96, 15: 32, 16: 57}


class TokenFault(Exception):
    """The token cannot be used as configured; `kind` is a stable name."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class TokenSession:
    """An open, logged-in session. Any PKCS#11 error means that it must not be used any more."""

    def __init__(self, call: OpenCall) -> None:
        library = pkcs11.lib(call.module)
        token = _find_token(library, call)
        _check_login(token)
        self._session = token.open(rw=True, user_pin=call.pin)
        mechanisms = set(token.slot.get_mechanisms())
        self.token = f"{token.label.strip()} {token.serial.decode('ascii', 'replace').strip()}"
        self.algorithms = tuple(
            number for number, needed in _NEEDED.items() if all(one in mechanisms for one in needed)
        )
        self._signers: dict[str, Callable[[bytes], bytes]] = {}

    def find(self, key_id: str, cka_id: str, dnskey: bytes) -> str:
        """Look a key up, to be signed with as `key_id`; return "" or why it cannot be used."""
        private, detail = self._private(cka_id, dnskey)
        if private is None:
            return detail
        self._signers[key_id] = _signer(private, dnskey[3])
        return ""

    def sign(self, key_id: str, preimages: list[bytes]) -> list[bytes]:
        """Sign with a key that was found, as many preimages as fit into SIGN_S, at least one.

        So a slow token is told from a hung one: no call lasts longer than SIGN_S and one signature.
        """
        sign = self._signers[key_id]
        end = time.monotonic() + SIGN_S
        signatures = []
        for preimage in preimages:
            signatures.append(sign(preimage))
            if time.monotonic() > end:
                break
        return signatures

    def generate(self, key_id: str, cka_id: str, label: str, algorithm: int, bits: int) -> bytes:
        """Make a key pair in the token; return the public key field of its DNSKEY RDATA."""
        options: dict[str, Any] = {
            "id": bytes.fromhex(cka_id),
            "label": label,
            "store": True,
            "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
            "mechanism": _NEEDED[algorithm][0],
            "private_template": {
                Attribute.PRIVATE: True,
                Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: False,
            },
        }
        if algorithm in (8, 10):
            public, private = self._session.generate_keypair(KeyType.RSA, bits, **options)
        else:
            parameters = self._session.create_domain_parameters(
                _KEY_TYPES[algorithm], {Attribute.EC_PARAMS: _curve_parameters(algorithm)}, local=True
            )
            public, private = parameters.generate_keypair(**options)
        self._signers[key_id] = _signer(private, algorithm)
        return _public_field(public, algorithm)

    def destroy(self, key_id: str, cka_id: str, dnskey: bytes) -> None:
        """Destroy the key pair with this CKA_ID and public key; none there is no error."""
        private, _ = self._private(cka_id, dnskey)
        publics = [one for one in self._objects(ObjectClass.PUBLIC_KEY, cka_id) if _is(one, dnskey)]
        for found in [private, *publics]:
            if found is not None:
                found.destroy()
        self._signers.pop(key_id, None)

    def search(self, cka_id: str, label: str, algorithm: int, public_key: bytes) -> list[Candidate]:
        """Describe the private keys of `algorithm` with this CKA_ID or label whose public key is known.

        With a public key (as in DNSKEY RDATA) only that one is described, under whatever CKA_ID it is.
        """
        if not public_key:
            return self._described(cka_id, label, algorithm)
        there = {one[Attribute.ID].hex() for one in self._with_public_key(public_key, algorithm)}
        found = [key for one in sorted(there) for key in self._described(one, "", algorithm)]
        if not found and (cka_id or label):
            found = self._described(cka_id, label, algorithm)  # not all modules find keys by such attributes
        return [key for key in found if key.public_key == public_key]

    def _with_public_key(self, public_key: bytes, algorithm: int) -> list[Any]:
        """Objects that say this public key: public ones, and private ones of RSA."""
        kinds, values = [ObjectClass.PUBLIC_KEY], _public_values(public_key, algorithm)
        if algorithm in (8, 10):
            kinds.append(ObjectClass.PRIVATE_KEY)
        name = Attribute.MODULUS if algorithm in (8, 10) else Attribute.EC_POINT
        return [
            found
            for kind in kinds
            for value in values
            for found in self._session.get_objects({Attribute.CLASS: kind, name: value})
        ]

    def _described(self, cka_id: str, label: str, algorithm: int) -> list[Candidate]:
        wanted: dict[Attribute, Any] = {Attribute.KEY_TYPE: _KEY_TYPES[algorithm]}
        if cka_id:
            wanted[Attribute.ID] = bytes.fromhex(cka_id)
        if label:
            wanted[Attribute.LABEL] = label
        found = []
        for private in list(self._session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, **wanted})):
            identity = private[Attribute.ID].hex()
            publics = self._objects(ObjectClass.PUBLIC_KEY, identity)
            if not publics and algorithm in (8, 10):
                publics = [private]  # a private RSA key says its public one; OpenDNSSEC keeps no other
            for public in publics:
                try:
                    field = _public_field(public, algorithm)
                except (ValueError, KeyError, pkcs11.AttributeTypeInvalid):
                    continue
                bits = (
                    len(public[Attribute.MODULUS]) * 8 if algorithm in (8, 10) else ALGORITHMS[algorithm].bits
                )
                found.append(Candidate(identity, private[Attribute.LABEL] or "", field, bits))
        return found

    def _objects(self, kind: ObjectClass, cka_id: str) -> list[Any]:
        return list(self._session.get_objects({Attribute.CLASS: kind, Attribute.ID: bytes.fromhex(cka_id)}))

    def _private(self, cka_id: str, dnskey: bytes) -> tuple[Any, str]:
        """The one private key with this CKA_ID, if its public key is that of `dnskey`; else None and why."""
        privates = self._objects(ObjectClass.PRIVATE_KEY, cka_id)
        if not privates:
            return None, f"no private key with CKA_ID {cka_id} in token {self.token}"
        publics = self._objects(ObjectClass.PUBLIC_KEY, cka_id)
        if publics and not any(_is(public, dnskey) for public in publics):
            return None, f"CKA_ID {cka_id} in token {self.token} is another key than the one on record"
        if len(privates) > 1:
            return (
                None,
                f"{len(privates)} private keys with CKA_ID {cka_id} in token {self.token}; make them unique",
            )
        return privates[0], ""


def _find_token(library: Any, call: OpenCall) -> Any:
    matches = []
    for slot in library.get_slots(token_present=True):
        token = slot.get_token()
        serial = token.serial.decode("ascii", "replace").strip()
        if (
            (call.label and token.label.strip() == call.label)
            or (call.serial and serial == call.serial)
            or (call.slot >= 0 and slot.slot_id == call.slot)
        ):
            matches.append(token)
    wanted = (
        f"label {call.label!r}"
        if call.label
        else f"serial {call.serial!r}"
        if call.serial
        else f"slot {call.slot}"
    )
    if not matches:
        raise TokenFault("TokenNotPresent", f"no token with {wanted} is present in {call.module}")
    if len(matches) > 1:
        raise TokenFault(
            "TokenAmbiguous", f"{len(matches)} tokens with {wanted}; configure the serial instead"
        )
    return matches[0]


def _check_login(token: Any) -> None:
    """A PIN is not even tried when one wrong try more would lock the token."""
    flags = token.flags
    if flags & TokenFlag.USER_PIN_LOCKED:
        raise TokenFault("PinLocked", "the token's PIN is locked; unlock it with the security officer's PIN")
    if flags & TokenFlag.USER_PIN_FINAL_TRY:
        raise TokenFault(
            "PinFinalTry",
            "one more wrong PIN would lock the token; log in by hand once with the right PIN first",
        )


def _curve_parameters(algorithm: int) -> bytes:
    if algorithm in _CURVES:
        return encode_named_curve_parameters(_CURVES[algorithm])
    return _EDWARDS_OIDS[algorithm]


def _public_field(public: Any, algorithm: int) -> bytes:
    """Public key field of DNSKEY RDATA (RFC 3110 §2, RFC 6605 §4, RFC 8080 §3) of a public key object."""
    if algorithm in (8, 10):
        exponent = public[Attribute.PUBLIC_EXPONENT].lstrip(b"\x00")
        length = bytes([len(exponent)]) if len(exponent) < 256 else b"\x00" + len(exponent).to_bytes(2)
        return bytes(length + exponent + public[Attribute.MODULUS].lstrip(b"\x00"))
    point = bytes(public[Attribute.EC_POINT])
    octets = _KEY_OCTETS[algorithm]
    prefix = b"\x04" if algorithm in _CURVES else b""
    if len(point) != len(prefix) + octets and point[0] == 4 and point[1] == len(point) - 2:
        point = point[2:]  # a DER OCTET STRING, as the standard says; some modules leave it out
    if len(point) != len(prefix) + octets or not point.startswith(prefix):
        raise ValueError("not a public key of that algorithm")
    return point[len(prefix) :]


def _public_values(public_key: bytes, algorithm: int) -> list[bytes]:
    """What a token may have as modulus or point of a public key of DNSKEY RDATA; see `_public_field`."""
    if algorithm in (8, 10):
        length = public_key[0] + 1 if public_key[0] else int.from_bytes(public_key[1:3]) + 3
        return [public_key[length:]]
    point = (b"\x04" if algorithm in _CURVES else b"") + public_key
    return [bytes([4, len(point)]) + point, point]


def _is(public: Any, dnskey: bytes) -> bool:
    if public.key_type != _KEY_TYPES[dnskey[3]]:
        return False
    try:
        return _public_field(public, dnskey[3]) == dnskey[4:]
    except ValueError:
        return False


def _signer(private: Any, algorithm: int) -> Callable[[bytes], bytes]:
    """Return sign(data) giving DNSSEC wire form; ECDSA hashes here, since CKM_ECDSA takes the hash."""
    sign, mechanism = private.sign, _NEEDED[algorithm][1]
    if algorithm not in (13, 14):
        return lambda data: sign(data, mechanism=mechanism, buffer_size=SIGNATURE_OCTETS_MAX)
    digest, octets = _DIGESTS[algorithm], _KEY_OCTETS[algorithm]

    def ecdsa(data: bytes) -> bytes:
        signature: bytes = sign(digest(data).digest(), mechanism=mechanism, buffer_size=octets)
        return signature

    return ecdsa
