"""docs/configuration.md names every key there is, in its table, and its defaults are the real ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dnssecd.config import load
from dnssecd.config.reader import Section
from dnssecd.replacing import replace

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/configuration.md").read_text()
#: Keys that are told in prose: inline tables of a policy.
IN_PROSE = {"algorithm", "lifetime", "bits"}
MINIMAL = """
[server]
{server}
[metrics]
{metrics}
[log]
{log}
[keystore.local]
{keystore}
[keystore.hsm]
type = "pkcs11"
module = "/usr/lib/module.so"
token_label = "dns"
pin_file = "/nowhere"
{pkcs11}
[keystore.vault]
type = "offline"
{offline}
[tsig."key."]
secret = "c2VjcmV0IHRoYXQgbm9ib2R5IGtub3dzIGluIHNwaXRl"
{tsig}
[policy.default]
keystore = "local"
{policy}
[zone."example.com."]
file = "zone"
{zone}
[alerts.mail]
from = "a@example.com"
to = ["b@example.com"]
{mail}
"""


def rows() -> dict[str, list[tuple[str, str]]]:
    """Heading → (key, default) of its tables."""
    found: dict[str, list[tuple[str, str]]] = {}
    for part in re.split(r"^## ", TEXT, flags=re.M)[1:]:
        heading = part.partition("\n")[0]
        found[heading] = re.findall(r"^\| `(\w+)` \| (.+?) \|", part, flags=re.M)
    return found


def known_keys(monkeypatch: pytest.MonkeyPatch, path: Path) -> dict[str, set[str]]:
    """Kind of table → keys that the reader asks for, with every setting of the example in use."""
    asked: dict[str, set[str]] = {}
    finish = Section.finish

    def note(section: Section) -> None:
        if section.path:
            kind = "tls" if section.path[-1] == "tls" else str(section.path[0])
            asked.setdefault(kind, set()).update(section._asked)
        finish(section)

    monkeypatch.setattr(Section, "finish", note)
    example = (ROOT / "config.example.toml").read_text()
    path.write_text(re.sub(r"^#(?! )", "", example, flags=re.M))
    load(path, read_secrets=False)
    return asked


def test_every_key_is_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documented: dict[str, set[str]] = {}
    for heading, table in rows().items():
        if heading.startswith("["):
            kind = heading.strip("[]").partition(".")[0]
            documented.setdefault(kind, set()).update(key for key, _ in table)
    documented["policy"] |= IN_PROSE
    documented["tls"] = {key for key, _ in rows()["tls of a secondary or primary"]}
    documented["alerts"] |= {"mail", "webhook", "command"}
    known = known_keys(monkeypatch, tmp_path / "config.toml")
    assert known["zone-template"] <= documented["zone"], "a template has the keys of a zone"
    documented["zone-template"] = known["zone-template"]
    assert documented.keys() == known.keys()
    missing = {kind: known[kind] ^ documented[kind] for kind in known if known[kind] != documented[kind]}
    assert missing == {}, "bring docs/configuration.md up to date"


def test_documented_defaults_are_the_defaults(tmp_path: Path) -> None:
    """A file with every default written out is the same configuration as one without."""
    tables = rows()
    software, pkcs11, offline = _split(tables["[keystore.NAME]"])
    places = {
        "server": tables["[server]"],
        "metrics": tables["[metrics]"],
        "log": tables["[log]"],
        "keystore": software,
        "pkcs11": pkcs11,
        "offline": offline,
        "tsig": tables["[tsig.NAME]"],
        "policy": tables["[policy.NAME]"],
        "zone": [
            row for row in tables["[zone.NAME]"] if row[0] not in ("servers", "primaries", "tsig", "ns")
        ],
        "mail": tables["[alerts.mail]"],
    }
    written = {place: _lines(table) for place, table in places.items()}
    assert sum(text.count("\n") + 1 for text in written.values()) > 45
    path = tmp_path / "config.toml"
    path.write_text(MINIMAL.format(**dict.fromkeys(places, "")))
    minimal = load(path)
    path.write_text(MINIMAL.format(**written))
    full = load(path)
    assert replace(full, warnings=()) == replace(minimal, warnings=())


def _split(table: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Return the tables of the key stores: each begins where `type` comes again."""
    begins = [number for number, (key, _) in enumerate(table) if key == "type"]
    ends = [*begins[1:], len(table)]
    return [table[begin:end] for begin, end in zip(begins, ends, strict=True)]


def _lines(table: list[tuple[str, str]]) -> str:
    return "\n".join(
        f"{key} = {default.strip('`')}" for key, default in table if re.fullmatch("`[^`]+`", default)
    )
