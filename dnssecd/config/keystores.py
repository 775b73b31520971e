"""``[keystore.*]``: encrypted files, or tokens behind PKCS#11 modules.

A PKCS#11 key store names its one token itself, or several in tables of their own::

    [keystore.hsm]
    type = "pkcs11"
    module = "/usr/lib/vendor.so"       # what is set here is the default for each token
    pin_file = "/etc/dnssecd/pin"
    [keystore.hsm.token.a]              # the first is where keys are made
    token_label = "dns-a"
    [keystore.hsm.token.b]
    token_label = "dns-b"
"""

from __future__ import annotations

from pathlib import Path

from dnssecd.config.model import Keystore, Pkcs11Keystore, Pkcs11Token, SoftwareKeystore
from dnssecd.config.peers import check_label
from dnssecd.config.reader import Section

_WAYS = ("token_label", "token_serial", "slot")
_SLOT_MAX = 2**63 - 1
_HOUR, _DAY = 3600, 86400


def keystores(root: Section, state_dir: Path) -> dict[str, Keystore]:
    """All key stores, in the order of the file."""
    found: dict[str, Keystore] = {}
    for name, section in root.children("keystore"):
        check_label(name, section)
        if section.choice("type", ("software", "pkcs11"), "software") == "pkcs11":
            found[name] = _pkcs11(name, section)
        else:
            found[name] = _software(name, section, state_dir)
        section.finish()
    _check_directories(root, found)
    _check_tokens(root, found)
    return found


def _software(name: str, section: Section, state_dir: Path) -> SoftwareKeystore:
    return SoftwareKeystore(
        name,
        section.path_of("directory", state_dir / "keys"),
        section.optional_path("passphrase_file"),
        section.flag("removable"),
        section.flag("deterministic_ecdsa"),
    )


def _pkcs11(name: str, section: Section) -> Pkcs11Keystore:
    if not section.has("token"):
        return Pkcs11Keystore(name, (_token(name, section, None),), _standby(section, 1))
    for key in _WAYS:
        if section.has(key):
            section.error(key, "the tokens are named in tables of their own", f"move {key} into one of them")
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
        section.error("standby", "there is no second token that could stand by", "name it, or remove standby")
    return standby


def _token(name: str, own: Section, shared: Section | None) -> Pkcs11Token:
    """One token; what its table *own* does not say is taken from the table *shared* by all."""
    ways = [key for key in _WAYS if own.has(key)]
    if len(ways) != 1:
        what = "no token is named" if not ways else f"{' and '.join(ways)} name the token more than once"
        own.error(ways[-1] if ways else "", what, f"write one of {', '.join(_WAYS)}")

    def where(key: str) -> Section:
        return own if shared is None or own.has(key) else shared

    where("module").require("module", "name the vendor's library, as in /usr/lib/softhsm/libsofthsm2.so")
    where("pin_file").require("pin_file", "name the file with the user PIN; only the signer reads it")
    return Pkcs11Token(
        name,
        module=where("module").path_of("module", own.base),
        token_label=own.text("token_label") or None,
        token_serial=own.text("token_serial") or None,
        slot=own.integer("slot", 0, 0, _SLOT_MAX) if own.has("slot") else None,
        pin_file=where("pin_file").path_of("pin_file", own.base),
        sessions=where("sessions").integer("sessions", 4, 1, 256),
        call_deadline_s=where("call_deadline").duration("call_deadline", 5, 1, _HOUR),
        idle_canary_s=where("idle_canary").duration("idle_canary", 30, 1, _DAY),
        retry_longest_s=where("retry_longest").duration("retry_longest", 15, 1, _HOUR),
    )


def _token_defaults(section: Section) -> None:
    """Know the keys that tokens may take from here, also where each token says them itself."""
    for key in ("module", "pin_file", "sessions", "call_deadline", "idle_canary", "retry_longest"):
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
    """No token twice: it would count as two that can stand in for one another."""
    names: set[str] = set()
    tokens: dict[object, str] = {}
    for store in found.values():
        for token in store.tokens if isinstance(store, Pkcs11Keystore) else ():
            what = (token.module, token.token_label, token.token_serial, token.slot)
            other = tokens.setdefault(what, token.name)
            _, _, own = token.name.removeprefix(store.name).partition(".")
            path = ("keystore", store.name, *(("token", own) if own else ()))
            if token.name in names:
                root.problems.error(path, f'another token is "{token.name}" already', "choose another name")
            elif other != token.name:
                root.problems.error(path, f'is the token of "{other}"', "name each token once")
            names.add(token.name)
