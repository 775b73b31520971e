"""Zone files judged without a daemon: `check-config --zones`, `zone check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dnssecd.cli.app import build

GOOD = "$TTL 300\n@ SOA ns1 hostmaster 7 3600 600 604800 300\n@ NS ns1\nns1 A 192.0.2.53\n"
CONFIG = """
[server]
[keystore.local]
[policy.default]
keystore = "local"
[zone."a.example."]
file = "a.zone"
[zone."b.example."]
file = "b.zone"
allow_missing_glue = true
[zone."signed.example."]
file = "signed.zone"
signing = "verify-only"
[zone."d.example."]
source = "dynamic"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG)
    for name in ("a", "b"):
        (tmp_path / f"{name}.zone").write_text(GOOD)
    (tmp_path / "signed.zone").write_text(GOOD)
    return tmp_path


def invoke(home: Path, *words: str) -> Result:
    return CliRunner().invoke(build(), ["--config", str(home / "config.toml"), *words])


def unwrapped(done: Result) -> str:
    return " ".join((done.stdout + done.stderr).split())


def test_good_files(home: Path) -> None:
    (home / "config.toml").write_text(CONFIG.replace('signing = "verify-only"\n', ""))
    done = invoke(home, "check-config", "--zones")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "3 zone files would be accepted"
    assert "zone file" not in invoke(home, "check-config").stdout


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("192.0.2.53", "192.0.2.999", "is not an IPv4 address"),
        ("ns1 A 192.0.2.53\n", "", "ns1.a.example."),
        ("$TTL 300", "$TTL 6000000", "is not below the signature refresh"),
        (GOOD, "", "a.zone"),
    ],
)
def test_a_bad_file(home: Path, old: str, new: str, cause: str) -> None:
    (home / "a.zone").write_text(GOOD.replace(old, new))
    for words in (("check-config", "--zones"), ("zone", "check", "a.example")):
        done = invoke(home, *words)
        assert done.exit_code == 1, done.output
        assert "a.example. would be refused" in unwrapped(done)
        assert cause in unwrapped(done)


def test_a_missing_file(home: Path) -> None:
    (home / "a.zone").unlink()
    done = invoke(home, "zone", "check", "a.example")
    assert done.exit_code == 1
    assert "No such file or directory" in unwrapped(done)


def test_the_settings_of_the_zone_count(home: Path) -> None:
    """allow_missing_glue makes an error a warning; verify-only wants a zone whose own signatures verify."""
    (home / "b.zone").write_text(GOOD.replace("ns1 A 192.0.2.53\n", ""))
    done = invoke(home, "zone", "check", "b.example")
    assert done.exit_code == 0, done.output
    assert "b.example. warning: " in done.stdout
    done = invoke(home, "zone", "check", "signed.example")
    assert done.exit_code == 1, "it is not signed"


def test_another_file_as_json(home: Path) -> None:
    new = home / "new.zone"
    new.write_text(GOOD.replace("hostmaster 7", "hostmaster 8"))
    done = invoke(home, "--json", "zone", "check", "a.example", str(new))
    found = json.loads(done.stdout)
    assert (done.exit_code, found["ok"], found["serial"], found["file"]) == (0, True, 8, str(new))
    new.write_text(GOOD + "x A 1\ny A 2\n")
    found = json.loads(invoke(home, "--json", "zone", "check", "a.example", str(new)).stdout)
    assert (found["ok"], len(found["violations"])) == (False, 2)


def test_a_zone_without_a_file(home: Path) -> None:
    done = invoke(home, "zone", "check", "d.example")
    assert done.exit_code == 1
    assert "zone check d.example. FILE" in unwrapped(done)
    assert invoke(home, "zone", "check", "e.example").exit_code == 1
