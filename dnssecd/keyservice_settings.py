"""The settings of the key service: made from the configuration, or read from standard input at its start."""

from __future__ import annotations

import base64
from typing import Literal

from msgspec import Struct, field

Login = Literal["pin", "protected", "none"]

#: How a PKCS#11 module may differ from the rest.
QUIRKS = {
    "text-ids": "give new keys a CKA_ID of 32 hexadecimal digits as text instead of 16 octets",
    "plain-template": "send no usage flags that are false when a key is made",
    "makes-no-keys": "do not try to make keys: bind those that the vendor's tool made",
    "search-by-id": "look keys up by CKA_ID and label only, never by their public key",
    "retry-login": "try C_Login again after errors that may also mean an outage",
}


class TokenSettings(Struct, frozen=True, kw_only=True):
    """One PKCS#11 token, found by ``label``, ``serial`` and ``slot``, as far as given; the PIN is in ``pin_file``.

    `login`: "pin"; "protected" (the token has a PIN pad of its own) or "none", then without PIN file. `quirks`: names
    of QUIRKS.
    """

    name: str
    module: str
    pin_file: str = ""
    label: str = ""
    serial: str = ""
    slot: int = -1
    sessions: int = 4
    call_deadline_s: float = 5.0
    idle_canary_s: float = 30.0
    retry_longest_s: float = 15.0
    login: Login = "pin"
    quirks: tuple[str, ...] = ()


class KeystoreSettings(Struct, frozen=True, kw_only=True):
    """One key store.

    software: ``directory``, ``passphrase_file`` (empty: generated next to the keys, 0600); ``removable`` if the
    directory is on a medium that is absent between uses; ``deterministic_ecdsa`` as in RFC 6979; ``sealed``: its keys
    go sealed to the key services of the other nodes. pkcs11: ``tokens``: keys are generated in the first;
    ``standby``: a token is used only while all tokens before it fail, otherwise all tokens share the work;
    ``passphrase_file``: of the sealing key. ``own``: only the public halves of its keys go to the other nodes.
    """

    name: str
    type: Literal["software", "pkcs11"]
    directory: str = ""
    passphrase_file: str = ""
    removable: bool = False
    deterministic_ecdsa: bool = False
    sealed: bool = False
    own: bool = False
    tokens: tuple[TokenSettings, ...] = ()
    standby: bool = False


DAY_S = 86_400
#: The ceiling for signatures where no policy sets one: ten years.
VALIDITY_S_MAX = 10 * 366 * DAY_S
DESTROY_AFTER_S = 30 * DAY_S


class KeyLimits(Struct, frozen=True, kw_only=True):
    """What a policy permits with the keys of its zones.

    ``validity_s_max``: the ceiling, in seconds: how far an RRSIG's expiration may lie from the key service's clock, and
    from its inception. ``destroy_after_s``: how long a removed key stays in the trash; 0: it is destroyed at once.
    ``two_person``: destroying, exporting, restoring and binding keys wait for the consent of a second person.
    """

    validity_s_max: int = VALIDITY_S_MAX
    destroy_after_s: int = DESTROY_AFTER_S
    two_person: bool = False


class SealingSettings(Struct, frozen=True, kw_only=True):
    """The nodes of a cluster: ``node`` is this one ("": there is no cluster), ``keys`` their public sealing keys.

    A node without a key is left out. Keys are as ``sealing_key_octets`` reads them.
    """

    node: str = ""
    keys: dict[str, str] = field(default_factory=dict)


class LimitSettings(Struct, frozen=True, kw_only=True):
    """The limits of all zones: ``zones`` has the number in ``kinds`` for each zone (wire name in hex).

    ``default`` is for all other zones, also those that the configuration does not have. ``sealing``: the nodes that may
    have keys.
    """

    default: KeyLimits = KeyLimits()
    kinds: tuple[KeyLimits, ...] = ()
    zones: dict[str, int] = field(default_factory=dict)
    sealing: SealingSettings = field(default_factory=SealingSettings)


SEALING_KEY_OCTETS = 32


def sealing_key_octets(text: str) -> bytes:
    """Return a public sealing key (X25519). ValueError: what is wrong with the text."""
    try:
        octets = base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("is not base64") from None
    if len(octets) != SEALING_KEY_OCTETS:
        raise ValueError(f"has {len(octets)} octets, not {SEALING_KEY_OCTETS}")
    return octets


def sealing_key_text(octets: bytes) -> str:
    """Return a public sealing key as the configuration has it."""
    return base64.b64encode(octets).decode()


class SignerSettings(Struct, frozen=True, kw_only=True):
    """All settings of the key service; paths are absolute.

    ``state_dir`` (0700) has the audit log and the public data of keys, without secrets. The service's own user may
    always connect, other users if they are in ``allowed_uids`` (the user of the daemon) or in the group ``officer_gid``
    (key officers; -1: none). ``socket_mode`` is 0600 or 0660.
    """

    socket: str
    state_dir: str
    keystores: tuple[KeystoreSettings, ...]
    allowed_uids: tuple[int, ...] = ()
    socket_mode: int = 0o600
    deterministic_ecdsa: bool = False
    threads: int = 0
    limits: LimitSettings = field(default_factory=LimitSettings)
    officer_gid: int = -1
