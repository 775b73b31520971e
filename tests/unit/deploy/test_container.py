"""The container file copies what is there and leaves out nothing that the installation is made from."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "deploy/container/Containerfile").read_text()


def test_what_is_copied_is_there() -> None:
    copied = [words.split()[:-1] for words in re.findall(r"^COPY (?!--from)(.+)$", TEXT, flags=re.M)]
    names = {name for line in copied for name in line}
    assert names
    assert [name for name in names if not (ROOT / name).exists()] == []
    assert {"dnssecd", "deploy", "docs", "systemd", "scripts"} <= names


def test_users_and_directories_are_those_of_the_units() -> None:
    for line in (ROOT / "systemd/tmpfiles.d/dnssecd.conf").read_text().splitlines():
        if line.startswith("d /run") or line.startswith("d /var"):
            _, path, mode, user, group, _ = line.split()
            assert f"install -d -m {mode} -o {user} -g {group} {path}" in TEXT
    assert re.findall(r"^USER (.*)$", TEXT, flags=re.M) == ["dnssecd"], "never root"
