"""``[keystore.*]``: encrypted files, tokens behind PKCS#11 modules, or keys that sign at ceremonies only.

A PKCS#11 key store has one token in its own table, or several tokens in one table each::

    [keystore.hsm]
    type = "pkcs11"
    module = "/usr/lib/vendor.so"       # keys here are defaults for each token
    pin_file = "/etc/dnssecd/pin"
    [keystore.hsm.token.a]              # new keys are generated in the first token
    token_label = "dns-a"
    [keystore.hsm.token.b]
    token_label = "dns-b"
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, overload

from dnssecd.config.model import Keystore, OfflineKeystore, Pkcs11Keystore, Pkcs11Token, SoftwareKeystore
from dnssecd.config.peers import check_label
from dnssecd.config.reader import Section
from dnssecd.keyservice_settings import QUIRKS, Login
from dnssecd.replacing import replace

_WAYS = ("token_label", "token_serial", "slot")
_SHARED = (
    "module",
    "login",
    "pin_file",
    "sessions",
    "call_deadline",
    "idle_canary",
    "retry_longest",
    "quirks",
)
_SLOT_MAX = 2**63 - 1
_HOUR, _DAY = 3600, 86400


def keystores(root: Section, state_dir: Path) -> dict[str, Keystore]:
    """Return all key stores, in the order of the file."""
    found: dict[str, Keystore] = {}
    for name, section in root.children("keystore"):
        check_label(name, section)
        kind = section.choice("type", ("software", "pkcs11", "offline"), "software")
        if kind == "pkcs11":
            sharing = _sharing(section, ("token", "own"))
            found[name] = replace(
                _pkcs11(name, section),
                validated=section.text("validated"),
                sharing=sharing,
                passphrase_file=_sealing_passphrase(section, sharing),
            )
        elif kind == "offline":
            notice = section.duration("notice", 30 * _DAY, 1, 365 * _DAY)
            found[name] = OfflineKeystore(name, notice, section.text("validated"))
        else:
            _refuse_validated(section)
            found[name] = _software(name, section, state_dir)
        section.finish()
    _check_directories(root, found)
    _check_tokens(root, found)
    return found


def _refuse_validated(section: Section) -> None:
    if section.has("validated"):
        section.error(
            "validated",
            "a software key store is not a validated module: its cryptography is OpenSSL in the process of dnssecd",
            'remove it, or use a key store of type "pkcs11"',
        )


def _sealing_passphrase(section: Section, sharing: str) -> Path | None:
    """Return the file with the passphrase of the sealing key; only nodes with tokens of their own have that key."""
    if section.has("passphrase_file") and sharing != "own":
        section.error(
            "passphrase_file",
            'encrypts the sealing key of a node, which a token has only with sharing = "own"; the PIN is in pin_file',
            "remove it",
        )
        return None
    return section.optional_path("passphrase_file")


def _software(name: str, section: Section, state_dir: Path) -> SoftwareKeystore:
    removable = section.flag("removable")
    sharing = _sharing(section, ("sealed", "own"))
    if sharing and removable:
        section.error(
            "sharing",
            "keys on a removable medium are not there when another node needs them",
            "remove removable, or sharing",
        )
    return SoftwareKeystore(
        name,
        section.path_of("directory", state_dir / "keys"),
        section.optional_path("passphrase_file"),
        removable,
        section.flag("deterministic_ecdsa"),
        sharing,
    )


@overload
def _sharing(
    section: Section, possible: tuple[Literal["token"], Literal["own"]]
) -> Literal["", "token", "own"]: ...
@overload
def _sharing(
    section: Section, possible: tuple[Literal["sealed"], Literal["own"]]
) -> Literal["", "sealed", "own"]: ...
def _sharing(section: Section, possible: tuple[str, ...]) -> str:
    """Return how the nodes of a cluster share the keys; "": not at all."""
    given = section.text("sharing")
    for each in possible:
        if given == each:
            return each
    write = " or ".join(f'sharing = "{each}"' for each in possible)
    if not given:
        return ""
    if given in ("token", "sealed"):
        kind = "pkcs11" if given == "token" else "software"
        section.error(
            "sharing",
            f'"{given}" is for key stores of type "{kind}"',
            f"write {write}, or remove it",
        )
    else:
        section.error("sharing", f'"{given}" is unknown', f"write {write}, or remove it")
    return ""


def _pkcs11(name: str, section: Section) -> Pkcs11Keystore:
    if not section.has("token"):
        return Pkcs11Keystore(name, (_token(name, section, None),), _standby(section, 1))
    for key in _WAYS:
        if section.has(key):
            section.error(key, "the tokens have tables of their own", f"move {key} into one of them")
    tokens = []
    for token, table in section.children("token"):
        check_label(token, table)
        tokens.append(_token(f"{name}.{token}", table, section))
        table.finish()
    if not tokens:
        section.error("token", "no token is named", f'add [keystore.{name}.token.a] with token_label = "…"')
    _token_defaults(section)
    return Pkcs11Keystore(name, tuple(tokens), _standby(section, len(tokens)))


def _standby(section: Section, tokens: int) -> bool:
    standby = section.flag("standby")
    if standby and tokens < 2:
        section.error(
            "standby",
            "there is no second token that could be the standby",
            "add the second token, or remove standby",
        )
    return standby


def _token(name: str, own: Section, shared: Section | None) -> Pkcs11Token:
    """Return one token. Keys missing in its table *own* are taken from the table *shared* by all."""
    _check_ways(own)

    def where(key: str) -> Section:
        return own if shared is None or own.has(key) else shared

    where("module").require(
        "module", "write the path of the vendor's library, as in /usr/lib/softhsm/libsofthsm2.so"
    )
    login: Login = where("login").choice("login", ("pin", "protected", "none"), "pin")
    pin_file = where("pin_file")
    if login == "pin":
        pin_file.require(
            "pin_file", "write the path of the file with the user PIN; only the key service reads it"
        )
    elif own.has("pin_file"):
        own.error("pin_file", f'is not read with login = "{login}"', "remove it, or the login")
    return Pkcs11Token(
        name,
        module=where("module").path_of("module", own.base),
        token_label=own.text("token_label") or None,
        token_serial=own.text("token_serial") or None,
        slot=own.integer("slot", 0, 0, _SLOT_MAX) if own.has("slot") else None,
        login=login,
        pin_file=pin_file.path_of("pin_file", own.base) if login == "pin" else None,
        sessions=where("sessions").integer("sessions", 4, 1, 256),
        call_deadline_s=where("call_deadline").duration("call_deadline", 5, 1, _HOUR),
        idle_canary_s=where("idle_canary").duration("idle_canary", 30, 1, _DAY),
        retry_longest_s=where("retry_longest").duration("retry_longest", 15, 1, _HOUR),
        quirks=_quirks(where("quirks")),
    )


def _check_ways(own: Section) -> None:
    """Report a token that is not named by its label, its serial number, both of them, or its slot."""
    ways = [key for key in _WAYS if own.has(key)]
    if not ways:
        own.error("", "no token is named", f"write one of {', '.join(_WAYS)}")
    elif "slot" in ways and len(ways) > 1:
        what = f"{' and '.join(ways)} name the token more than once"
        own.error(ways[-1], what, "write the slot alone, or token_label and token_serial")


def _quirks(section: Section) -> tuple[str, ...]:
    names = section.texts("quirks")
    for name in names:
        if name not in QUIRKS:
            section.error("quirks", f'"{name}" is no known quirk', f"there are: {', '.join(QUIRKS)}")
    return names


def _token_defaults(section: Section) -> None:
    """Mark the keys that are defaults for tokens as known, even if each token sets them itself."""
    for key in _SHARED:
        section.has(key)


def _check_directories(root: Section, found: dict[str, Keystore]) -> None:
    directories: dict[Path, str] = {}
    for store in found.values():
        if isinstance(store, SoftwareKeystore):
            other = directories.setdefault(store.directory, store.name)
            if other != store.name:
                root.problems.error(
                    ("keystore", store.name),
                    f'shares the directory of keystore "{other}"',
                    "give each key store a directory",
                )


def _check_tokens(root: Section, found: dict[str, Keystore]) -> None:
    """Refuse a token that is configured twice: it would count as two that can replace each other."""
    names: set[str] = set()
    tokens: dict[object, str] = {}
    for store in found.values():
        for token in store.tokens if isinstance(store, Pkcs11Keystore) else ():
            what = (token.module, token.token_label, token.token_serial, token.slot)
            other = tokens.setdefault(what, token.name)
            _, _, own = token.name.removeprefix(store.name).partition(".")
            path = ("keystore", store.name, *(("token", own) if own else ()))
            if token.name in names:
                root.problems.error(path, f'another token has the name "{token.name}"', "choose another name")
            elif other != token.name:
                root.problems.error(path, f'is also the token of "{other}"', "configure each token once")
            names.add(token.name)
