"""`dnssecd init --directory`: what it makes, with which modes, and that it overwrites nothing."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dnssecd.cli import init_host
from dnssecd.cli.app import build
from dnssecd.cli.common import Bad
from dnssecd.config import load

ZONE = "@ SOA ns1 hostmaster 1 3600 600 604800 60\n@ NS ns1\nns1 A 192.0.2.53\n"


@pytest.fixture
def zone(tmp_path: Path) -> Path:
    path = tmp_path / "my.zone"
    path.write_text(ZONE)
    return path


APP = build()


def dnssecd(*words: str | Path, status: int = 0) -> str:
    done = CliRunner().invoke(APP, list(map(str, words)))
    assert done.exit_code == status, done.output
    return done.output


def options(home: Path, zone: Path) -> list[str]:
    return [
        "init", "--directory", str(home), "--zone", f"example.com={zone}", "--secondary", "ns1=127.0.0.1:5301,nsd",
    ]  # fmt: skip


def modes(home: Path) -> dict[str, int]:
    return {str(path.relative_to(home)): stat.S_IMODE(path.stat().st_mode) for path in home.rglob("*")}


def test_first_run_makes_everything_and_the_second_nothing(tmp_path: Path, zone: Path) -> None:
    home = tmp_path / "home"
    first = dnssecd(*options(home, zone))
    assert modes(home) == {
        "config.toml": 0o600, "state": 0o700, "tsig": 0o755, "tsig/ns1.secret": 0o400, "zones": 0o755,
    }  # fmt: skip
    config = load(home / "config.toml")
    assert config.zones["example.com."].file == str(zone), "a zone file of one's own is used where it is"
    assert len(config.tsig["ns1-transfer."].secret.value) == 32
    assert "request-xfr: 127.0.0.1@5300 ns1-transfer." in first
    assert "primaries" not in first, "only the server that was named"
    assert f"dnssecd run --config {home}/config.toml" in first
    again = dnssecd(*options(home, zone))
    assert "created" not in again
    assert again.replace("exists ", "created").splitlines()[-8:] == first.splitlines()[-8:]


def test_nothing_is_overwritten(tmp_path: Path, zone: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text("# mine\n")
    said = dnssecd(*options(home, zone), status=1)
    assert "overwrites nothing" in said
    assert "to do: edit" in said
    assert sorted(path.name for path in home.iterdir()) == ["config.toml"], "and nothing was made"


def test_an_interrupted_run_is_completed(tmp_path: Path, zone: Path) -> None:
    home = tmp_path / "home"
    dnssecd(*options(home, zone))
    secret = (home / "tsig/ns1.secret").read_bytes()
    (home / "config.toml").unlink()
    (home / "state").rmdir()
    dnssecd(*options(home, zone))
    assert (home / "tsig/ns1.secret").read_bytes() == secret
    assert (home / "state").is_dir()


@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        ([], 2, "no zone is given"),
        (["--zone", "example.com=/nowhere"], 1, "/nowhere does not exist"),
        (["--zone", "a..b"], 2, "not a DNS name"),
        (["--zone", "example.com", "--secondary", "192.0.2.53"], 2, "has no name"),
        (["--zone", "example.com", "--secondary", "ns1=192.0.2.53"], 2, "listens on loopback only"),
        (["--zone", "example.com", "--secondary", "ns1=127.0.0.2,dnsmasq"], 2, "choose one of bind"),
        (
            ["--zone", "example.com", "--listen", "0.0.0.0", "--secondary", "ns1=192.0.2.53"],
            2,
            "give --listen",
        ),
        (
            ["--zone", "example.com", "--listen", "192.0.2.1", "--secondary", "a=[2001:db8::1]"],
            2,
            "address family",
        ),
        (
            ["--zone", "example.com", "--listen", "192.0.2.1", "--secondary", "../x=192.0.2.2"],
            1,
            "the name has",
        ),
        (["--zone", "example.com", "--listen", "host:53"], 2, "not an IP address"),
        (["--zone", "example.com", "--zone", "EXAMPLE.com."], 1, "twice"),
    ],
)
def test_mistakes(tmp_path: Path, words: list[str], status: int, what: str) -> None:
    said = dnssecd("init", "--directory", tmp_path / "home", *words, status=status)
    assert what in said
    assert not (tmp_path / "home").exists()


def test_json(tmp_path: Path, zone: Path) -> None:
    found: dict[str, Any] = json.loads(dnssecd("--json", *options(tmp_path / "home", zone)))
    assert {step["what"] for step in found["steps"]} == {"created"}
    assert set(found["secondaries"]["ns1"]) == {"nsd"}


def test_secondaries_are_printed_again(tmp_path: Path, zone: Path) -> None:
    dnssecd(*options(tmp_path / "home", zone))
    config = tmp_path / "home/config.toml"
    assert "ns1-transfer." in dnssecd("config", "secondary", "ns1", "--config", config, "--for", "bind")
    assert "did you mean" in dnssecd("config", "secondary", "ns2", "--config", config, status=1)
    wide = config.read_text().replace('"127.0.0.1:5300", "[::1]:5300"', '"0.0.0.0:5300"')
    config.write_text(wide)
    assert "--primary" in dnssecd("config", "secondary", "ns1", "--config", config, status=1)
    again = dnssecd("config", "secondary", "ns1", "--config", config, "--primary", "192.0.2.1:5300")
    assert again.count("192.0.2.1") >= 4


@pytest.mark.usefixtures("umask_zero")
def test_files_have_their_owner_before_their_content(tmp_path: Path) -> None:
    init_host.create(tmp_path / "secret", b"x", 0o400, init_host.current_owner())
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o400
    with pytest.raises(Bad, match="cannot be written"):
        init_host.create(tmp_path / "secret", b"y", 0o400, init_host.current_owner())
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert (tmp_path / "secret").read_bytes() == b"x"


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    with pytest.raises(Bad, match=str(blocker)):
        init_host.Host(lambda *_: None).directory(blocker / "below", 0o700, init_host.current_owner())


def test_units_are_found_in_a_checkout() -> None:
    assert (init_host.unit_source() / "dnssecd.service").is_file()
