"""A token's own account of its state: flags, sessions, memory (CK_TOKEN_INFO).

python-pkcs11 leaves the numbers out, so they are read by the module's own function list. A module that gives out a
new list at each call (p11-kit-client) answers that it is not initialised: then only the flags are known.
"""

from __future__ import annotations

import ctypes
from typing import Any

from pkcs11 import TokenFlag

from dnssecd.signer.pkcs11.ckr import calling
from dnssecd.signer.pkcs11.messages import TokenInfo

_GET_TOKEN_INFO = 6  # the place of C_GetTokenInfo in CK_FUNCTION_LIST
_UNKNOWN = ctypes.c_ulong(-1).value
#: Flags that matter, by the name that status and metrics have.
FLAGS = {
    "pin-count-low": TokenFlag.USER_PIN_COUNT_LOW,
    "pin-final-try": TokenFlag.USER_PIN_FINAL_TRY,
    "pin-locked": TokenFlag.USER_PIN_LOCKED,
    "pin-to-be-changed": TokenFlag.USER_PIN_TO_BE_CHANGED,
    "so-pin-locked": TokenFlag.SO_PIN_LOCKED,
    "write-protected": TokenFlag.WRITE_PROTECTED,
    "error-state": TokenFlag.ERROR_STATE,
}


class _Info(ctypes.Structure):
    """CK_TOKEN_INFO."""

    _fields_ = (
        ("label", ctypes.c_char * 32),
        ("manufacturer", ctypes.c_char * 32),
        ("model", ctypes.c_char * 16),
        ("serial", ctypes.c_char * 16),
        ("flags", ctypes.c_ulong),
        ("sessions_max", ctypes.c_ulong),
        ("sessions", ctypes.c_ulong),
        ("rw_sessions_max", ctypes.c_ulong),
        ("rw_sessions", ctypes.c_ulong),
        ("pin_max", ctypes.c_ulong),
        ("pin_min", ctypes.c_ulong),
        ("public_total", ctypes.c_ulong),
        ("public_free", ctypes.c_ulong),
        ("private_total", ctypes.c_ulong),
        ("private_free", ctypes.c_ulong),
        ("hardware", ctypes.c_ubyte * 2),
        ("firmware", ctypes.c_ubyte * 2),
        ("time", ctypes.c_char * 16),
    )


class _FunctionList(ctypes.Structure):
    """The head of CK_FUNCTION_LIST."""

    _fields_ = (("version", ctypes.c_ubyte * 2), ("calls", ctypes.c_void_p * (_GET_TOKEN_INFO + 1)))


class TokenInfoReader:
    """Reads the account that the token in one slot gives."""

    def __init__(self, module: str, slot: Any) -> None:
        self._slot = slot
        self._call = _load(module)

    def read(self) -> TokenInfo:
        """Ask the token; numbers that it does not say are -1."""
        with calling("C_GetTokenInfo"):
            flags = self._slot.get_token().flags
        names = tuple(name for name, flag in FLAGS.items() if flags & flag)
        info = _Info()
        if self._call is None or self._call(self._slot.slot_id, ctypes.byref(info)) != 0:
            return TokenInfo(names)
        return TokenInfo(
            names,
            _number(info.sessions),
            _number(info.sessions_max),
            _number(info.private_free),
            _number(info.private_total),
        )


def _load(module: str) -> Any:
    """Return C_GetTokenInfo of a module that is loaded and initialised already, or None."""
    functions = ctypes.POINTER(_FunctionList)()
    try:
        if ctypes.CDLL(module).C_GetFunctionList(ctypes.byref(functions)) != 0 or not functions:
            return None
    except (OSError, AttributeError):
        return None
    place = functions.contents.calls[_GET_TOKEN_INFO]
    kind = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong, ctypes.POINTER(_Info))
    return kind(place) if place else None


def _number(value: int) -> int:
    return -1 if value >= _UNKNOWN - 1 else int(value)  # openCryptoki means "no limit" by the largest but one
