"""From a module to a logged-in session: the slot of the token that is configured, its PIN flags, C_Login."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pkcs11
from pkcs11 import Attribute, TokenFlag
from pkcs11.attributes import AttributeMapper
from pkcs11.types import PROTECTED_AUTH

from dnssecd.signer.pkcs11.ckr import CallError, call_error, calling
from dnssecd.signer.pkcs11.messages import OpenCall
from dnssecd.signer.pkcs11.public_keys import CKA_PUBLIC_KEY_INFO

#: C_OpenSession alone answers with these.
_OPEN_ONLY = frozenset({"SessionCount", "SessionReadWriteSOExists", "SlotIDInvalid", "TokenWriteProtected"})
#: C_Login alone answers with what begins so.
_LOGIN_ONLY = ("Pin", "User", "AnotherUser")


class TokenFault(Exception):
    """The token cannot be used as configured, or the key as asked for; `kind` is a stable name.

    `fatal`: the session must not be used any more.
    """

    def __init__(self, kind: str, message: str, *, fatal: bool = True) -> None:
        super().__init__(message)
        self.kind = kind
        self.fatal = fatal


def find_token(library: Any, call: OpenCall) -> Any:
    """Return the one token with the label, serial number and slot of `call`, as far as they are given."""
    with calling("C_GetSlotList"):
        slots = library.get_slots(token_present=True)
    if call.slot >= 0:
        slots = [slot for slot in slots if slot.slot_id == call.slot]
    tokens, unreadable = _tokens_in(slots)
    matches = [token for token in tokens if _is_wanted(token, call)]
    if len(matches) == 1:
        return matches[0]
    wanted = _wanted_text(call)
    if matches:
        raise TokenFault(
            "TokenAmbiguous",
            f"{len(matches)} tokens with {wanted}; add the label or the serial number, or name the slot instead",
        )
    others = f" ({'; '.join(unreadable)})" if unreadable else ""
    raise TokenFault("TokenNotPresent", f"no token with {wanted} is present in {call.module}{others}")


def _tokens_in(slots: list[Any]) -> tuple[list[Any], list[str]]:
    """Tokens that can be read; and what is wrong with the others: a foreign card must not disable the module."""
    tokens, unreadable = [], []
    for slot in slots:
        try:
            with calling("C_GetTokenInfo"):
                tokens.append(slot.get_token())
        except CallError as error:
            unreadable.append(f"slot {slot.slot_id}: {error}")
    return tokens, unreadable


def _is_wanted(token: Any, call: OpenCall) -> bool:
    return not (
        (call.label and token.label.strip() != call.label)
        or (call.serial and serial_of(token) != call.serial)
    )


def serial_of(token: Any) -> str:
    """Return the serial number as text."""
    return str(token.serial.decode("ascii", "replace").strip(" \0"))


def _wanted_text(call: OpenCall) -> str:
    ways = (
        f"label {call.label!r}" if call.label else "",
        f"serial {call.serial!r}" if call.serial else "",
        f"slot {call.slot}" if call.slot >= 0 else "",
    )
    return " and ".join(filter(None, ways))


def check_login(token: Any, login: str) -> None:
    """Raise where a PIN is not even tried: when one more wrong try would lock the token, or it is locked."""
    flags = token.flags
    if login == "protected" and not flags & TokenFlag.PROTECTED_AUTHENTICATION_PATH:
        raise TokenFault("NoPinPad", 'the token has no PIN pad of its own; write login = "pin"')
    if login == "none":
        return
    if flags & TokenFlag.USER_PIN_LOCKED:
        raise TokenFault("PinLocked", "the token's PIN is locked; unlock it with the security officer's PIN")
    if flags & TokenFlag.USER_PIN_FINAL_TRY:
        raise TokenFault(
            "PinFinalTry",
            "one more wrong PIN would lock the token; log in by hand once with the right PIN first",
        )


def open_session(token: Any, login: str, pin: str) -> Any:
    """Open a session and log in, with one C_Login at most."""
    if login == "none":
        return _open_without_login(token)
    try:
        secret = PROTECTED_AUTH if login == "protected" else pin
        return token.open(rw=True, user_pin=secret, attribute_mapper=_attribute_mapper())
    except pkcs11.UserAlreadyLoggedIn:
        return _open_without_login(token)  # a proxy may share one login among all its clients
    except pkcs11.PKCS11Error as error:
        raise call_error(_failed_call(error, lambda: token.open(rw=True).close()), error) from error


def _open_without_login(token: Any) -> Any:
    with calling("C_OpenSession"):
        return token.open(rw=True, attribute_mapper=_attribute_mapper())


def _attribute_mapper() -> AttributeMapper:
    """python-pkcs11's, with an attribute that it does not know."""
    mapper = AttributeMapper()
    mapper.register_handler(cast(Attribute, CKA_PUBLIC_KEY_INFO), bytes, bytes)
    return mapper


def _failed_call(error: pkcs11.PKCS11Error, try_to_open: Callable[[], object]) -> str:
    """Which call of `token.open` failed. Where the error does not say it, a session without login is tried."""
    kind = type(error).__name__
    if kind in _OPEN_ONLY:
        return "C_OpenSession"
    if not kind.startswith(_LOGIN_ONLY):
        try:
            try_to_open()
        except pkcs11.PKCS11Error as other:
            return "C_OpenSession" if type(other) is type(error) else "C_Login"
    return "C_Login"
