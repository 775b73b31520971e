"""``[anchors]`` and ``anchors`` of a zone: what is refused, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd.config import ConfigErrors
from dnssecd.config.diff import diff
from dnssecd.config.load import parse
from dnssecd.config.model import Config

TEXT = """[server]
[keystore.local]
[policy.default]
{policy}
[zone."a."]
file = "/dev/null"
anchors = {anchors}
{zone}
{table}
"""
ISLAND = 'parent = "none"'


def read(
    here: Path, *, policy: str = "", zone: str = ISLAND, table: str = "directory", anchors: str = "true"
) -> Config:
    """A configuration with one zone; table "directory": with a directory alone."""
    if table == "directory":
        table = f'[anchors]\ndirectory = "{here}"'
    return parse(TEXT.format(policy=policy, zone=zone, table=table, anchors=anchors), here / "c.toml")


def refused(here: Path, **parts: str) -> str:
    with pytest.raises(ConfigErrors) as caught:
        read(here, **parts)
    return str(caught.value)


@pytest.mark.parametrize("parts", [{}, {"zone": "", "policy": "rfc5011 = true"}])
def test_islands_and_rfc_5011_may(tmp_path: Path, parts: dict[str, str]) -> None:
    config = read(tmp_path, **parts)
    assert config.zones["a."].anchors
    assert config.anchors.directory == tmp_path
    assert not [warning for warning in config.warnings if "anchors" in warning.where]


def test_a_zone_with_a_parent_may_not(tmp_path: Path) -> None:
    assert "would make it bogus after the next KSK rollover" in refused(tmp_path, zone="")


def test_an_unsigned_zone_may_not(tmp_path: Path) -> None:
    assert "signs nothing" in refused(tmp_path, policy="signed = false")


def test_a_directory_is_needed(tmp_path: Path) -> None:
    assert "is missing, and a. should have anchors published" in refused(tmp_path, table="")
    assert "directory is missing" in refused(tmp_path, table='[anchors]\ninterval = "1h"')
    assert read(tmp_path, table="", anchors="false").anchors.directory is None


def test_a_directory_that_does_not_exist_is_a_warning(tmp_path: Path) -> None:
    config = read(tmp_path, table='[anchors]\ndirectory = "/nowhere/www"')
    assert any("install -d" in warning.remedy for warning in config.warnings)


@pytest.mark.parametrize("url", ["ftp://a.test/", "https:///x", "https://u:p@a.test/", "https://a.test/?x=1"])
def test_the_url_is_one_of_a_directory(tmp_path: Path, url: str) -> None:
    table = f'[anchors]\ndirectory = "{tmp_path}"\nurl = "{url}"'
    assert "is not the URL of a directory" in refused(tmp_path, table=table)


def test_certificate_and_key_come_together(tmp_path: Path) -> None:
    table = f'[anchors]\ndirectory = "{tmp_path}"\nsign_key = "k.pem"'
    assert "sign_certificate is missing" in refused(tmp_path, table=table)


def test_files_that_cannot_sign_are_a_warning(tmp_path: Path) -> None:
    table = f'[anchors]\ndirectory = "{tmp_path}"\nsign_key = "k.pem"\nsign_certificate = "c.pem"'
    config = read(tmp_path, table=table)
    assert any("no anchors are published until" in warning.remedy for warning in config.warnings)


def test_a_change_is_shown(tmp_path: Path) -> None:
    old = read(tmp_path)
    new = read(tmp_path, table=f'[anchors]\ndirectory = "{tmp_path}"\ninterval = "5m"')
    assert [str(change) for change in diff(old, new).changes] == ["~ anchors.interval: 1h -> 5m"]
