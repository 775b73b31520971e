"""The settings that the key service gets when it starts: made from the configuration, or read from standard input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TokenSettings:
    """One PKCS#11 token, found by `label`, `serial` or `slot` (exactly one); the PIN is in `pin_file`."""

    name: str
    module: str
    pin_file: str
    label: str = ""
    serial: str = ""
    slot: int = -1
    sessions: int = 4
    call_deadline_s: float = 5.0
    idle_canary_s: float = 30.0
    retry_longest_s: float = 15.0


@dataclass(frozen=True, kw_only=True)
class KeystoreSettings:
    """One key store.

    software: `directory`, `passphrase_file` (empty: made beside the keys, 0600); `removable` when the
    directory is on a medium that is absent between uses; `deterministic_ecdsa` as in RFC 6979. pkcs11:
    `tokens`, the first being where keys are made; `standby` means the others are used only when those before
    them fail, otherwise all share the work.
    """

    name: str
    type: Literal["software", "pkcs11"]
    directory: str = ""
    passphrase_file: str = ""
    removable: bool = False
    deterministic_ecdsa: bool = False
    tokens: tuple[TokenSettings, ...] = ()
    standby: bool = False


#: From inception to expiration of a signature, unless the settings say otherwise: ten years.
VALIDITY_S_MAX = 10 * 366 * 86_400


@dataclass(frozen=True, kw_only=True)
class SignerSettings:
    """All settings of the key service; paths are absolute.

    `state_dir` holds the audit log and what is known of keys without their store (no secrets), 0700. The
    service's own user may always connect, others when in `allowed_uids`. `socket_mode` is 0600 or 0660. Signatures that
    would be valid for longer than `validity_s_max` are refused.
    """

    socket: str
    state_dir: str
    keystores: tuple[KeystoreSettings, ...]
    allowed_uids: tuple[int, ...] = ()
    socket_mode: int = 0o600
    deterministic_ecdsa: bool = False
    threads: int = 0
    validity_s_max: int = VALIDITY_S_MAX
