"""Errors of PKCS#11 calls: which call failed, and with which code (CKR).

python-pkcs11 raises a class for each code and names no call. `calling` turns its errors into `CallError`, which has
both. Vendor-defined codes and those that python-pkcs11 does not know are named ``CKR``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pkcs11

#: Name of python-pkcs11's error → CK_RV (PKCS#11 3.1 §6, `pkcs11t.h`).
CODES = {
    "HostMemory": 0x02,
    "SlotIDInvalid": 0x03,
    "GeneralError": 0x05,
    "FunctionFailed": 0x06,
    "ArgumentsBad": 0x07,
    "AttributeReadOnly": 0x10,
    "AttributeSensitive": 0x11,
    "AttributeTypeInvalid": 0x12,
    "AttributeValueInvalid": 0x13,
    "DataInvalid": 0x20,
    "DataLenRange": 0x21,
    "DeviceError": 0x30,
    "DeviceMemory": 0x31,
    "DeviceRemoved": 0x32,
    "FunctionCancelled": 0x50,
    "FunctionNotSupported": 0x54,
    "KeyHandleInvalid": 0x60,
    "KeySizeRange": 0x62,
    "KeyTypeInconsistent": 0x63,
    "KeyFunctionNotPermitted": 0x68,
    "MechanismInvalid": 0x70,
    "MechanismParamInvalid": 0x71,
    "ObjectHandleInvalid": 0x82,
    "OperationActive": 0x90,
    "OperationNotInitialized": 0x91,
    "PinIncorrect": 0xA0,
    "PinInvalid": 0xA1,
    "PinLenRange": 0xA2,
    "PinExpired": 0xA3,
    "PinLocked": 0xA4,
    "SessionClosed": 0xB0,
    "SessionCount": 0xB1,
    "SessionHandleInvalid": 0xB3,
    "SessionReadOnly": 0xB5,
    "SessionExists": 0xB6,
    "SessionReadOnlyExists": 0xB7,
    "SessionReadWriteSOExists": 0xB8,
    "TemplateIncomplete": 0xD0,
    "TemplateInconsistent": 0xD1,
    "TokenNotPresent": 0xE0,
    "TokenNotRecognised": 0xE1,
    "TokenWriteProtected": 0xE2,
    "UserAlreadyLoggedIn": 0x100,
    "UserNotLoggedIn": 0x101,
    "UserPinNotInitialized": 0x102,
    "UserTypeInvalid": 0x103,
    "AnotherUserAlreadyLoggedIn": 0x104,
    "UserTooManyTypes": 0x105,
    "DomainParamsInvalid": 0x130,
    "CurveNotSupported": 0x140,
    "BufferTooSmall": 0x150,
    "CryptokiNotInitialized": 0x190,
    "CryptokiAlreadyInitialized": 0x191,
    "PinTooWeak": 0x1B8,
    "PublicKeyInvalid": 0x1B9,
    "FunctionRejected": 0x200,
}
_KINDS = {code: kind for kind, code in CODES.items()}
#: Errors that python-pkcs11 raises without a class and without the code.
_TEXTS = {
    "Buffer was too small": "BufferTooSmall",
    "Initialisation error (already": "CryptokiAlreadyInitialized",
    "Initialisation error (not": "CryptokiNotInitialized",
    "User type invalid": "UserTypeInvalid",
}
_UNMAPPED = re.compile(r"Unmapped error code (0x[0-9a-fA-F]+)")


class CallError(Exception):
    """A PKCS#11 call failed: its name, the error's stable name (`kind`), and the code (0 when it has none)."""

    def __init__(self, call: str, kind: str, code: int, detail: str = "") -> None:
        what = f"{call} failed with CKR 0x{code:x} ({kind})" if code else f"{call} failed"
        super().__init__(f"{what}: {detail}" if detail else what)
        self.call = call
        self.kind = kind
        self.code = code


@contextmanager
def calling(call: str) -> Iterator[None]:
    """Name `call` in the errors of the PKCS#11 call made inside."""
    try:
        yield
    except pkcs11.PKCS11Error as error:
        raise call_error(call, error) from error


def call_error(call: str, error: pkcs11.PKCS11Error) -> CallError:
    """Return the error of `call` that python-pkcs11 reported as `error`. Its text has no secrets."""
    text, kind = str(error), type(error).__name__
    if kind in CODES:
        return CallError(call, kind, CODES[kind], text)
    if match := _UNMAPPED.search(text):
        code = int(match[1], 16)
        return CallError(call, _KINDS.get(code, "CKR"), code)
    for start, named in _TEXTS.items():
        if text.startswith(start):
            return CallError(call, named, CODES[named])
    return CallError(call, kind, 0, text)
