"""One session with one token. Runs in a worker process of its own.

Object scheme: private and public key carry the same CKA_ID, which the key service chooses, and the label
`dnssecd ZONE ROLE ALGORITHM CREATED`. Private keys are made sensitive, private, not extractable and for signing only,
as far as the token can say that (`recipes`). A key is used only when its public key is the one on record.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pkcs11
from pkcs11 import Attribute, ObjectClass

from dnssecd.signer.pkcs11 import messages as m
from dnssecd.signer.pkcs11 import recipes
from dnssecd.signer.pkcs11.ckr import CallError, calling
from dnssecd.signer.pkcs11.descriptions import Descriptions
from dnssecd.signer.pkcs11.mechanisms import can_make, can_sign, make_signer
from dnssecd.signer.pkcs11.public_keys import is_key_of, public_field, read_attribute
from dnssecd.signer.pkcs11.slots import TokenFault, check_login, find_token, open_session, serial_of
from dnssecd.signer.pkcs11.token_info import TokenInfoReader

SIGN_S = 0.5


class TokenSession:
    """An open session, logged in where the token wants that. After an error that is fatal it must not be used."""

    def __init__(self, call: m.OpenCall) -> None:
        with calling("C_Initialize"):
            library = pkcs11.lib(call.module)
        token = find_token(library, call)
        check_login(token, call.login)
        self._session = open_session(token, call.login, call.pin)
        with calling("C_GetMechanismList"):
            self._mechanisms = frozenset(token.slot.get_mechanisms())
        self._login, self._pin = call.login, call.pin
        self._info = TokenInfoReader(call.module, token.slot)
        self._descriptions = Descriptions(self._session)
        self._token = f"{token.label.strip()} {serial_of(token)}".strip()
        self._signers: dict[str, Callable[[bytes], bytes]] = {}

    def describe(self) -> m.Opened:
        """Return what the token is and can do."""
        return m.Opened(
            self._token, can_sign(self._mechanisms), can_make(self._mechanisms), self._info.read()
        )

    def read_info(self) -> m.TokenInfo:
        """Return the token's own account of its state."""
        return self._info.read()

    def find(self, key_id: str, cka_id: str, dnskey: bytes) -> m.Found:
        """Look a key up, to be signed with as `key_id`."""
        private, why_not = self._private(cka_id, dnskey)
        if private is None:
            return why_not
        if not hasattr(private, "sign"):
            return m.Found(False, f"the key with CKA_ID {cka_id} in token {self._token} has no CKA_SIGN")
        self._signers[key_id] = self._signer(private, dnskey[3])
        return m.Found(True)

    def sign(self, key_id: str, preimages: list[bytes]) -> list[bytes]:
        """Sign with a key that was found, as many preimages as fit into SIGN_S, at least one.

        So a slow token is told from a hung one: no call lasts longer than SIGN_S and one signature.
        """
        sign = self._signers[key_id]
        end = time.monotonic() + SIGN_S
        signatures = []
        with calling("C_SignInit or C_Sign"):
            for preimage in preimages:
                signatures.append(sign(preimage))
                if time.monotonic() > end:
                    break
        return signatures

    def generate(self, call: m.GenerateCall) -> m.Generated:
        """Make a key pair in the token."""
        try:
            made = recipes.make_key_pair(
                self._session,
                bytes.fromhex(call.cka_id),
                call.label,
                call.algorithm,
                call.bits,
                start=call.recipe,
                logged_in=self._login != "none",
                remove=lambda: self._remove(call.cka_id),
            )
        except recipes.KeyRefused as error:
            raise TokenFault("KeyRefused", str(error), fatal=False) from None
        field = public_field(made.public, call.algorithm) or public_field(made.private, call.algorithm)
        if not field:
            self._remove(call.cka_id)
            raise TokenFault(
                "NoPublicKey", "the token does not say the public key of a key that it made", fatal=False
            )
        self._signers[call.key_id] = self._signer(made.private, call.algorithm)
        identity = read_attribute(made.private, Attribute.ID) or b""
        return m.Generated(field, identity.hex() or call.cka_id, made.recipe, made.more)

    def destroy(self, key_id: str, cka_id: str, dnskey: bytes) -> m.Destroyed:
        """Destroy the key pair with this CKA_ID and public key; of a private key that is not seen here, say so."""
        private, why_not = self._private(cka_id, dnskey)
        publics = [one for one in self._objects(ObjectClass.PUBLIC_KEY, cka_id) if is_key_of(one, dnskey)]
        if private is not None or why_not.absent:
            self._destroy_all([private, *publics])
        self._signers.pop(key_id, None)
        return m.Destroyed(private is not None, why_not.detail, why_not.absent)

    def search(self, call: m.SearchCall) -> list[m.Candidate]:
        """Describe private keys, for adoption."""
        return self._descriptions.search(call)

    def _signer(self, private: Any, algorithm: int) -> Callable[[bytes], bytes]:
        asks = read_attribute(private, Attribute.ALWAYS_AUTHENTICATE) and self._login == "pin"
        return make_signer(private, algorithm, self._mechanisms, self._pin if asks else None)

    def _objects(self, kind: ObjectClass, cka_id: str) -> list[Any]:
        with calling("C_FindObjects"):
            return list(
                self._session.get_objects({Attribute.CLASS: kind, Attribute.ID: bytes.fromhex(cka_id)})
            )

    def _private(self, cka_id: str, dnskey: bytes) -> tuple[Any, m.Found]:
        """Return the one private key with this CKA_ID, if its public key is that of `dnskey`; else None and why."""
        privates = self._objects(ObjectClass.PRIVATE_KEY, cka_id)
        where = f"in token {self._token}"
        if not privates:
            return None, m.Found(False, f"no private key with CKA_ID {cka_id} {where}", absent=True)
        publics = self._objects(ObjectClass.PUBLIC_KEY, cka_id)
        if publics and not any(is_key_of(public, dnskey) for public in publics):
            return None, m.Found(False, f"CKA_ID {cka_id} {where} is another key than the one on record")
        if len(privates) > 1:
            several = f"{len(privates)} private keys with CKA_ID {cka_id} {where}; make them unique"
            return None, m.Found(False, several)
        return privates[0], m.Found(True)

    def _remove(self, cka_id: str) -> None:
        """Destroy all that a failed call left behind under a CKA_ID that was chosen for a new key."""
        kinds = (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY)
        self._destroy_all([found for kind in kinds for found in self._objects(kind, cka_id)])

    def _destroy_all(self, objects: list[Any]) -> None:
        for found in objects:
            if found is not None:
                with calling("C_DestroyObject"):
                    found.destroy()


def failure(error: Exception) -> m.Failed:
    """Describe an error. PKCS#11 errors carry no secrets; other errors are only named."""
    if isinstance(error, TokenFault):
        return m.Failed(error.kind, str(error), error.fatal)
    if isinstance(error, CallError):
        return m.Failed(error.kind, str(error), error.kind not in HARMLESS, error.call)
    return m.Failed(type(error).__name__, "unexpected error in the HSM worker", True)


#: The call was wrong or cannot be done, but the session is as good as before.
HARMLESS = frozenset(
    {
        "AttributeTypeInvalid",
        "AttributeValueInvalid",
        "CurveNotSupported",
        "DeviceMemory",
        "FunctionNotSupported",
        "KeySizeRange",
        "MechanismInvalid",
        "MechanismParamInvalid",
        "SessionReadOnly",
        "TemplateInconsistent",
        "TokenWriteProtected",
    }
)
