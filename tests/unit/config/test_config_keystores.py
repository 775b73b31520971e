"""Key stores in the configuration: the contract's form, several tokens, and what must be refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd.config import ConfigErrors, Pkcs11Keystore, SoftwareKeystore, parse
from dnssecd.config.model import Config
from dnssecd.config.signer_settings import signer_settings

REST = """
[server]
[policy.default]
keystore = "hsm"
[zone."example.com."]
file = "example.zone"
"""
ONE = """
[keystore.hsm]
type = "pkcs11"
module = "/usr/lib/softhsm/libsofthsm2.so"
token_label = "dns"
pin_file = "pin"
sessions = 3
"""
SEVERAL = """
[keystore.hsm]
type = "pkcs11"
module = "/lib/a.so"
pin_file = "/etc/pin"
call_deadline = "2s"
standby = true
[keystore.hsm.token.b]
token_serial = "0042"
sessions = 9
[keystore.hsm.token.a]
module = "/lib/other.so"
slot = 0
pin_file = "/etc/pin-a"
idle_canary = "1m"
retry_longest = "3s"
"""


def read(text: str) -> Config:
    return parse(text + REST, Path("/etc/dnssecd/config.toml"))


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        read(text)
    return [f"{error.where}: {error.what}" for error in caught.value.errors]


def test_the_contract_s_form() -> None:
    store = read(ONE).keystores["hsm"]
    assert isinstance(store, Pkcs11Keystore)
    (token,) = store.tokens
    assert (token.name, token.token_label, token.sessions) == ("hsm", "dns", 3)
    assert token.pin_file == Path("/etc/dnssecd/pin")
    assert (token.call_deadline_s, token.idle_canary_s, token.retry_longest_s) == (5, 30, 15)
    assert not store.standby


def test_several_tokens_in_the_order_of_the_file() -> None:
    store = read(SEVERAL).keystores["hsm"]
    assert isinstance(store, Pkcs11Keystore)
    assert store.standby
    b, a = store.tokens
    assert (b.name, b.token_serial, b.sessions, b.call_deadline_s) == ("hsm.b", "0042", 9, 2)
    assert (b.module, b.pin_file) == (Path("/lib/a.so"), Path("/etc/pin"))
    assert (a.name, a.slot, a.sessions, a.call_deadline_s) == ("hsm.a", 0, 4, 2)
    assert (a.module, a.pin_file) == (Path("/lib/other.so"), Path("/etc/pin-a"))
    assert (a.idle_canary_s, a.retry_longest_s) == (60, 3)


def test_the_settings_of_the_key_service() -> None:
    settings = signer_settings(read(SEVERAL), socket=Path("/s"), state_dir=Path("/d"))
    (store,) = settings.keystores
    assert (store.type, store.standby) == ("pkcs11", True)
    assert [(one.name, one.serial, one.slot, one.label) for one in store.tokens] == [
        ("hsm.b", "0042", -1, ""),
        ("hsm.a", "", 0, ""),
    ]
    assert store.tokens[1].idle_canary_s == 60
    software = read("[keystore.hsm]\ndeterministic_ecdsa = true\n")
    assert isinstance(software.keystores["hsm"], SoftwareKeystore)
    assert signer_settings(software, socket=Path("/s"), state_dir=Path("/d")).keystores[0].deterministic_ecdsa


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (ONE + "standby = true\n", "keystore.hsm.standby: there is no second token"),
        (ONE + 'call_deadline = "0s"\n', "keystore.hsm.call_deadline: "),
        (ONE.replace('pin_file = "pin"', ""), "keystore.hsm.pin_file: is missing"),
        (SEVERAL.replace('pin_file = "/etc/pin"', ""), "keystore.hsm.pin_file: is missing"),
        (SEVERAL.replace('token_serial = "0042"', ""), "keystore.hsm.token.b: no token is named"),
        (SEVERAL.replace("slot = 0", 'slot = 0\ntoken_label = "x"'), "name the token more than once"),
        (SEVERAL.replace("standby", 'token_label = "x"\nstandby'), "keystore.hsm.token_label: the tokens have tables"),
        (SEVERAL.replace("sessions = 9", "session = 9"), "keystore.hsm.token.b.session: is not a known key"),
        (SEVERAL.replace('slot = 0', 'token_serial = "0042"').replace("/lib/other.so", "/lib/a.so"),
         'keystore.hsm.token.a: is also the token of "hsm.b"'),
        (ONE.replace("token_label", "directory = 1\ntoken_label"), "keystore.hsm.directory: is not a known key"),
        ('[keystore.hsm]\ntype = "pkcs11"\nmodule = "m"\npin_file = "p"\n[keystore.hsm.token]\n',
         "keystore.hsm.token: no token is named"),
        (ONE + ONE.replace("keystore.hsm", "keystore.twin"), 'keystore.twin: is also the token of "hsm"'),
        (SEVERAL + ONE.replace("keystore.hsm", 'keystore."hsm.a"'), 'another token has the name "hsm.a"'),
        (ONE + 'quirks = ["text-id"]\n', 'keystore.hsm.quirks: "text-id" is no known quirk'),
        (ONE + 'login = "none"\n', 'keystore.hsm.pin_file: is not read with login = "none"'),
        (ONE + 'login = "pad"\n', "keystore.hsm.login: "),
    ],
)  # fmt: skip
def test_refused(text: str, fault: str) -> None:
    found = faults(text)
    assert any(fault in one for one in found), found


def test_label_and_serial_login_and_quirks() -> None:
    text = ONE.replace('pin_file = "pin"', 'token_serial = "7"\nlogin = "none"\nquirks = ["text-ids"]')
    (token,) = signer_settings(read(text), socket=Path("/s"), state_dir=Path("/d")).keystores[0].tokens
    assert (token.label, token.serial, token.login, token.pin_file) == ("dns", "7", "none", "")
    assert token.quirks == ("text-ids",)
    shared = SEVERAL.replace("standby", 'quirks = ["search-by-id"]\nlogin = "protected"\nstandby')
    shared = shared.replace('pin_file = "/etc/pin"\n', "").replace(
        'pin_file = "/etc/pin-a"\n', 'login = "none"\n'
    )
    store = read(shared).keystores["hsm"]
    assert isinstance(store, Pkcs11Keystore)
    assert [token.login for token in store.tokens] == ["protected", "none"]
    assert [token.quirks for token in store.tokens] == [("search-by-id",)] * 2


def test_a_token_that_makes_no_keys_wants_them_given() -> None:
    text = ONE + 'quirks = ["makes-no-keys"]\n'
    assert any('write keys = "given"' in warning.remedy for warning in read(text).warnings)
    given = (text + REST).replace('keystore = "hsm"', 'keystore = "hsm"\nkeys = "given"')
    assert not any("makes none" in warning.what for warning in parse(given, Path("/etc/c.toml")).warnings)
