"""What private keys a token holds, for adoption: found by CKA_ID, label or public key, with their public keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pkcs11 import Attribute, ObjectClass

from dnssecd.signer.pkcs11.ckr import calling
from dnssecd.signer.pkcs11.mechanisms import KEY_TYPES
from dnssecd.signer.pkcs11.messages import Candidate, SearchCall
from dnssecd.signer.pkcs11.public_keys import (
    CKA_PUBLIC_KEY_INFO,
    RSA,
    field_bits,
    field_of_certificate,
    field_of_info,
    public_field,
    public_values,
    read_attribute,
)


class Descriptions:
    """Describes the private keys that a session sees."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def search(self, call: SearchCall) -> list[Candidate]:
        """Describe the private keys of an algorithm with this CKA_ID or label.

        With a public key (as in DNSKEY RDATA) only that one is described, also under another CKA_ID; and those that do
        not say their public key: a signature decides then.
        """
        if not call.public_key:
            return self._describe(call.cka_id, call.label, call.algorithm)
        found: list[Candidate] = []
        if call.by_attributes:
            there = {self._identity(one) for one in self._with_public_key(call.public_key, call.algorithm)}
            found = [key for one in sorted(there) for key in self._describe(one, "", call.algorithm)]
        if not found and (call.cka_id or call.label):
            found = self._describe(call.cka_id, call.label, call.algorithm)
        return [key for key in found if key.public_key in (call.public_key, b"")]

    def _with_public_key(self, public_key: bytes, algorithm: int) -> Iterator[Any]:
        """Objects that say this public key: public ones, and private ones."""
        name = Attribute.MODULUS if algorithm in RSA else Attribute.EC_POINT
        for kind in (ObjectClass.PUBLIC_KEY, ObjectClass.PRIVATE_KEY):
            for value in public_values(public_key, algorithm):
                yield from self._objects({Attribute.CLASS: kind, name: value})

    def _describe(self, cka_id: str, label: str, algorithm: int) -> list[Candidate]:
        wanted: dict[Attribute, Any] = {
            Attribute.CLASS: ObjectClass.PRIVATE_KEY,
            Attribute.KEY_TYPE: KEY_TYPES[algorithm],
        }
        if cka_id:
            wanted[Attribute.ID] = bytes.fromhex(cka_id)
        if label:
            wanted[Attribute.LABEL] = label
        return [key for private in self._objects(wanted) for key in self._candidates(private, algorithm)]

    def _candidates(self, private: Any, algorithm: int) -> Iterator[Candidate]:
        """One for each public key that goes by the private key's CKA_ID; one without where none is found.

        A key of another curve is none of `algorithm`.
        """
        identity, label = self._identity(private), read_attribute(private, Attribute.LABEL) or ""
        publics = self._objects(
            {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: bytes.fromhex(identity)}
        )
        fields = [public_field(public, algorithm) for public in publics]
        if publics and not any(fields):
            return
        if not publics:
            fields = [self._field_elsewhere(private, identity, label, algorithm)]
        extractable = bool(read_attribute(private, Attribute.EXTRACTABLE))
        for field in filter(None, fields) if any(fields) else [b""]:
            bits = field_bits(field, algorithm)
            yield Candidate(identity, label, field, bits, extractable, hasattr(private, "sign"))

    def _field_elsewhere(self, private: Any, identity: str, label: str, algorithm: int) -> bytes:
        """Return the public key of a private key without public object: its own, a certificate's or a twin's."""
        if field := public_field(private, algorithm):
            return field
        if info := read_attribute(private, CKA_PUBLIC_KEY_INFO):
            return field_of_info(bytes(info), algorithm)
        cka_id = {Attribute.ID: bytes.fromhex(identity)}
        for found in self._objects({Attribute.CLASS: ObjectClass.CERTIFICATE, **cka_id}):
            if field := field_of_certificate(bytes(read_attribute(found, Attribute.VALUE) or b""), algorithm):
                return field
        twins = (
            self._objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: label}) if label else []
        )
        fields = {field for twin in twins if (field := public_field(twin, algorithm))}
        return fields.pop() if len(fields) == 1 else b""

    def _identity(self, found: Any) -> str:
        return bytes(read_attribute(found, Attribute.ID) or b"").hex()

    def _objects(self, wanted: dict[Attribute, Any]) -> list[Any]:
        with calling("C_FindObjects"):
            return list(self._session.get_objects(wanted))
