"""``[backup]``: where backups are, how old, when they are checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd.config import Config, ConfigErrors, parse
from dnssecd.config.diff import diff

REST = """
[server]
[keystore.local]
type = "software"
[policy.default]
keystore = "local"
[zone."z.test."]
source = "dynamic"
"""


def read(text: str, home: Path) -> Config:
    return parse(REST + text, home / "config.toml")


def test_defaults_and_values(tmp_path: Path) -> None:
    assert read("", tmp_path).backup.directory is None
    (tmp_path / "b").mkdir()
    found = read('[backup]\ndirectory = "b"\n', tmp_path)
    assert (found.backup.directory, found.backup.max_age, found.backup.check_at) == (
        tmp_path / "b", 172_800, 12_600
    )  # fmt: skip
    assert not [warning for warning in found.warnings if "backup" in str(warning)]
    other = read('[backup]\ndirectory = "b"\nmax_age = "8d"\ncheck_at = "23:05"\n', tmp_path)
    assert (other.backup.max_age, other.backup.check_at) == (691_200, 83_100)
    assert [str(change) for change in diff(found, other).changes] == [
        "~ backup.max_age: 2d -> 8d",
        "~ backup.check_at: 12600 -> 83100",
    ]


def test_a_missing_directory_is_a_warning(tmp_path: Path) -> None:
    found = read('[backup]\ndirectory = "none"\n', tmp_path)
    (warning,) = [str(warning) for warning in found.warnings if "backup" in str(warning)]
    assert "install -d -o root -g dnssecd -m 0750" in warning


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[backup]\nmax_age = "1d"\n', "directory is missing"),
        ('[backup]\ndirectory = "b"\ncheck_at = "3:30"\n', '"3:30" is not a time of day'),
        ('[backup]\ndirectory = "b"\ncheck_at = "24:00"\n', '"24:00" is not a time of day'),
        ('[backup]\ndirectory = "b"\nat = "1d"\n', "is not a known key"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        read(text, tmp_path)
    assert any(said in str(error) for error in caught.value.errors)
