"""Presets of policies: what each sets, what overrides it, and what is shown of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dnssecd.config import Config, ConfigErrors
from dnssecd.config.diff import diff
from dnssecd.config.load import parse
from dnssecd.config.presets import PRESETS

DAY = 86_400
ROOT = Path(__file__).parents[3]
BASE = """
[server]
[keystore.local]
[policy.default]
{policy}
[zone."example."]
file = "zone"
"""


def read(policy: str) -> Config:
    return parse(BASE.format(policy=policy), Path("/etc/dnssecd/config.toml"))


def test_no_preset_is_as_before() -> None:
    policy = read("").policies["default"]
    assert (policy.preset, policy.from_preset, policy.denial) == ("", (), "nsec3")


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_sets_what_it_has(name: str) -> None:
    """Written into the file, its settings make the same policy."""
    by_name = read(f'preset = "{name}"').policies["default"]
    assert by_name.preset == name
    written = read("\n".join(by_name.from_preset)).policies["default"]
    assert by_name != written, "the name differs"
    values = {key: value for key, value in vars_of(by_name).items() if key not in ("preset", "from_preset")}
    assert values == {key: vars_of(written)[key] for key in values}
    assert values != {key: vars_of(read("").policies["default"])[key] for key in values}


def vars_of(policy: object) -> dict[str, object]:
    return {name: getattr(policy, name) for name in policy.__dataclass_fields__}  # type: ignore[attr-defined]


def test_single_keys_override() -> None:
    policy = read('preset = "sp800-81r3"\nzonemd = false\nzsk = { algorithm = "ed25519" }').policies[
        "default"
    ]
    assert policy.zonemd is False
    assert policy.signature_validity == 7 * DAY
    assert policy.ksk is not None
    assert policy.zsk is not None
    assert (policy.zsk.algorithm, policy.zsk.lifetime) == (15, 365 * DAY), "the lifetime is the preset's"
    assert (policy.ksk.algorithm, policy.ksk.lifetime) == (15, 3 * 365 * DAY)
    assert policy.from_preset == (
        'ksk = { lifetime = "3y" }',
        'zsk = { lifetime = "1y" }',
        'denial = "nsec"',
        "nsec3_opt_out = false",
        'signature_validity = "7d"',
    )


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(
    "own", ["csk = {}", 'denial = "nsec"', 'denial = "nsec3"', 'signature_validity = "40d"']
)
def test_a_preset_never_contradicts_the_file(name: str, own: str) -> None:
    policy = read(f'preset = "{name}"\n{own}').policies["default"]
    assert (policy.csk is not None) == (own == "csk = {}")


def test_an_unknown_preset_is_an_error() -> None:
    with pytest.raises(ConfigErrors, match='"tlds" is not allowed; did you mean "tld"'):
        read('preset = "tlds"')


def test_a_typing_error_beside_a_preset_is_found() -> None:
    with pytest.raises(ConfigErrors, match="zonemdd: is not a known key"):
        read('preset = "tld"\nzonemdd = true')


def test_the_difference_names_the_preset_once() -> None:
    changes = [str(change) for change in diff(read(""), read('preset = "rfc9276"')).changes]
    assert changes == [
        "~ policy.default.denial: nsec3 -> nsec",
        "~ policy.default.preset:  -> rfc9276",
    ]


def test_the_documentation_lists_all_settings() -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    rows = dict(
        re.findall(r'^\| `"([\w-]+)"` \| (`.*) \|$', text.partition("| preset | sets |")[2], flags=re.M)
    )
    for name in PRESETS:
        listed = re.findall("`([^`]+)`", rows[name])
        settings = read(f'preset = "{name}"').policies["default"].from_preset
        assert [one for one in listed if not one.startswith("csk")] == list(settings)
