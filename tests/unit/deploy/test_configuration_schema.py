"""dnssecd/config/schema.json is what docs/configuration_schema.py writes, takes good files and refuses bad ones."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from docs import configuration_schema

ROOT = Path(__file__).parents[3]
EXAMPLE = (ROOT / "config.example.toml").read_text()
SCHEMA: dict[str, Any] = json.loads(configuration_schema.TARGET.read_text())
MINIMAL = '[server]\n[keystore.local]\n[policy.default]\n[zone."example.com."]\nfile = "x"\n'


@cache
def checker() -> Any:
    """jsonschema makes forty grammars when it is imported: that is not paid while tests are collected."""
    import jsonschema

    jsonschema.Draft7Validator.check_schema(SCHEMA)
    return jsonschema.Draft7Validator(SCHEMA)


def faults(text: str) -> list[str]:
    return [error.message for error in checker().iter_errors(tomllib.loads(text))]


def test_it_is_up_to_date() -> None:
    assert configuration_schema.TARGET.read_text() == configuration_schema.written(), (
        "run .venv/bin/python docs/configuration_schema.py"
    )


def test_it_is_a_schema() -> None:
    checker()


@pytest.mark.parametrize(
    "text", [EXAMPLE, re.sub(r"^#(?! )", "", EXAMPLE, flags=re.M), MINIMAL], ids=["example", "all", "minimal"]
)
def test_good_files(text: str) -> None:
    assert faults(text) == []


@pytest.mark.parametrize(
    "more",
    [
        "[nonsense]",
        "[server]\nlisten = []",
        '[server]\nlisten = "127.0.0.1:53"',
        '[server]\nlisten = ["localhost:53"]',
        "[server]\nclock_tolerance = 300",
        '[log]\nlevel = "verbose"',
        '[keystore.x]\ntype = "hsm"',
        '[keystore.x]\nmodule = "/usr/lib/x.so"',
        '[keystore.x]\ntype = "offline"\npin_file = "x"',
        '[tsig."k."]\nalgorithm = "hmac-md5"\nsecret = "x"',
        '[secondary.x]\ntsig = "k."',
        '[secondary.x]\naddress = "192.0.2.1"\nport = 53',
        "[secondary.x]\naddress = 53",
        '[policy.x]\nkeystore = "local"\nksk = { algorithm = "rsasha1" }',
        '[policy.x]\nkeystore = "local"\nzsk = { lifetime = 90 }',
        "[policy.x]\nheld_by_min = 1",
        '[policy.x]\nmanual = ["everything"]',
        '[policy.x]\nfreeze = ["Christmas"]',
        "[policy.x]\ntag_range = [0]",
        '[zone.x]\nsource = "axfr"',
        '[zone.x]\nmax_change = "a third"',
        '[zone.x]\nparent = "com"',
        '[zone.x]\nallow_update = [{ tsig = "k." }]',
        '[alerts.mail]\nsmtp = "localhost:25"',
        "[alerts.pager]\nnumber = 1",
    ],
)
def test_bad_files(more: str) -> None:
    table = tomllib.loads(MINIMAL)
    for name, value in tomllib.loads(more).items():
        table.setdefault(name, {}).update(value)
    assert list(checker().iter_errors(table)), more


@pytest.mark.parametrize("missing", ["server", "keystore", "policy"])
def test_tables_that_are_needed(missing: str) -> None:
    table = tomllib.loads(MINIMAL)
    del table[missing]
    assert list(checker().iter_errors(table))


def test_every_key_has_a_form_and_a_description() -> None:
    """Editors show both."""
    without = [
        path
        for path, form in keys(SCHEMA)
        if not form.get("description") or not {"type", "enum", "const", "anyOf"} & form.keys()
    ]
    assert without == []


def keys(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, form in schema.get("properties", {}).items():
        yield f"{path}.{name}", form
        yield from keys(form, f"{path}.{name}")
    for below in (schema.get("additionalProperties"), schema.get("items"), *schema.get("anyOf", ())):
        if isinstance(below, dict):
            yield from keys(below, f"{path}.*")
