"""``[status_page]``: what is read, what is refused with a remedy, and what is warned of."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dnssecd.config import Config, ConfigErrors, parse
from dnssecd.config.diff import diff
from dnssecd.config.model import Address, Secret, StatusPageConfig

BASE = """
[server]
[keystore.local]
[policy.default]
[zone."a.example."]
source = "dynamic"
"""
TOKEN = "0123456789abcdef0123456789abcdef"


def read(home: Path, page: str | None) -> Config:
    text = BASE if page is None else f"{BASE}[status_page]\n{page}\n"
    return parse(text, home / "config.toml")


def write_token(home: Path, text: str, mode: int = 0o600) -> None:
    (home / "token").write_text(text)
    (home / "token").chmod(mode)


def test_there_is_no_page_by_default(tmp_path: Path) -> None:
    assert read(tmp_path, None).status_page == StatusPageConfig()
    assert read(tmp_path, "").status_page.listen is None
    assert read(tmp_path, 'listen = ""').status_page.listen is None


def test_all_settings(tmp_path: Path) -> None:
    write_token(tmp_path, TOKEN + "\n")
    page = 'listen = "[::1]"\nnames = ["Status.Example.NET."]\ntoken_file = "token"'
    found = read(tmp_path, page)
    assert found.status_page == StatusPageConfig(
        listen=Address("::1", 9534), names=("status.example.net",), token=Secret(TOKEN.encode())
    )
    assert [str(warning) for warning in found.warnings if "status_page" in str(warning)] == []
    assert TOKEN not in repr(found)


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ('listen = "localhost:80"', "is not an IP address"),
        ('names = ["http://x/"]', "is not a host name"),
        ('token_file = "missing"', "cannot be read"),
        ('certificate = "c.pem"', "key is missing"),
        ('key = "k.pem"', "certificate is missing"),
        ('certificate = "c.pem"\nkey = "k.pem"', "cannot be used: No such file"),
        ('tokens_file = "x"', "is not a known key"),
    ],
)
def test_errors(tmp_path: Path, page: str, said: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        read(tmp_path, page)
    assert said in str(caught.value.errors[0])
    assert caught.value.errors[0].line > 5


@pytest.mark.parametrize(("token", "said"), [("short", "could be guessed"), ("ü" * 30, "HTTP cannot carry")])
def test_a_token_that_cannot_be_used(tmp_path: Path, token: str, said: str) -> None:
    write_token(tmp_path, token)
    with pytest.raises(ConfigErrors) as caught:
        read(tmp_path, 'token_file = "token"')
    assert said in str(caught.value.errors[0])
    assert token not in str(caught.value.errors[0])


def test_a_key_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=x"]
    files = ["-passout", "pass:secret", "-keyout", str(tmp_path / "k.pem"), "-out", str(tmp_path / "c.pem")]
    subprocess.run(["openssl", "req", "-x509", *kind, *files], check=True, capture_output=True)
    with pytest.raises(ConfigErrors, match="passphrase"):
        read(tmp_path, 'certificate = "c.pem"\nkey = "k.pem"')


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ('listen = "192.0.2.1"', "can read the state of all zones"),
        ('listen = "192.0.2.1"\ntoken_file = "token"', "without encryption"),
    ],
)
def test_an_address_that_others_reach_is_warned_of(tmp_path: Path, page: str, said: str) -> None:
    write_token(tmp_path, TOKEN)
    assert any(said in str(warning) for warning in read(tmp_path, page).warnings)


def test_a_token_that_all_users_can_read_is_warned_of(tmp_path: Path) -> None:
    write_token(tmp_path, TOKEN, 0o644)
    warnings = read(tmp_path, 'token_file = "token"').warnings
    assert any("all users of this machine can read" in str(warning) for warning in warnings)


def test_what_needs_a_restart(tmp_path: Path) -> None:
    write_token(tmp_path, TOKEN)
    old = read(tmp_path, 'listen = "127.0.0.1"\nnames = ["a"]\ntoken_file = "token"')
    write_token(tmp_path, TOKEN[::-1])
    new = read(tmp_path, 'listen = "127.0.0.2"\nnames = ["b"]\ntoken_file = "token"')
    changes = {change.path: change.needs_restart for change in diff(old, new).changes}
    assert changes == {
        ("status_page", "listen"): True,
        ("status_page", "names"): False,
        ("status_page", "token"): False,
    }
    assert not any(TOKEN in str(change) for change in diff(old, new).changes)
