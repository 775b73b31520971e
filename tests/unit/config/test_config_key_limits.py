"""Ceiling, trash and second person of a policy, the groups of roles, and what the key service gets of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dnssecd.config import Config, ConfigErrors
from dnssecd.config.groups import check_groups, group_id
from dnssecd.config.limits_file import LimitsFile
from dnssecd.config.load import parse
from dnssecd.config.signer_settings import limit_settings
from dnssecd.keyservice_settings import KeyLimits
from tests.unit.signer.preimages import wire

DAY = 86_400
BASE = """
[server]
[signer]
{signer}
[roles]
{roles}
[keystore.local]
type = "software"
[policy.default]
{policy}
[policy.strict]
validity_max = "35d"
destroy_after = "1d"
[zone."a.example."]
file = "a"
[zone."b.example."]
file = "b"
policy = "strict"
"""


def text(policy: str = "", signer: str = 'socket = "/run/s/s"', roles: str = "") -> str:
    return BASE.format(policy=policy, signer=signer, roles=roles)


def read(policy: str = "", **others: str) -> Config:
    return parse(text(policy, **others), Path("/etc/dnssecd/config.toml"))


def errors(policy: str, **others: str) -> str:
    with pytest.raises(ConfigErrors) as raised:
        read(policy, **others)
    return "\n".join(map(str, raised.value.errors))


def test_defaults() -> None:
    policy = read().policies["default"]
    assert (policy.validity_max, policy.destroy_after, policy.two_person) == (60 * DAY, 30 * DAY, False)
    roles = read().roles
    assert (roles.viewer, roles.operator, roles.key_officer) == (None, None, None)


def test_the_default_ceiling_is_never_below_the_signatures_of_the_policy() -> None:
    policy = read('signature_validity = "90d"').policies["default"]
    assert policy.validity_max == 90 * DAY + 3600


def test_a_ceiling_that_forbids_all_signatures_is_an_error() -> None:
    assert "would refuse every signature" in errors('validity_max = "30d"')  # 30d, and an hour back
    assert read('validity_max = "31d"').policies["default"].validity_max == 31 * DAY


def test_a_second_person_needs_a_group_and_a_key_service_of_its_own() -> None:
    found = errors("two_person = true", signer="")
    assert "cannot tell a second person from the daemon" in found
    assert "[roles] key_officer" in found
    assert read("two_person = true", roles='key_officer = "officers"').roles.key_officer == "officers"


def test_limits_for_the_key_service() -> None:
    limits = limit_settings(read("two_person = true", roles='key_officer = "officers"'))
    assert limits.default == KeyLimits(
        validity_s_max=60 * DAY, destroy_after_s=30 * DAY, two_person=True
    )  # also of zones that the file does not have
    strict = KeyLimits(validity_s_max=35 * DAY, destroy_after_s=DAY, two_person=False)
    assert (limits.kinds, limits.zones) == ((strict,), {wire("b.example.").hex(): 0})


def test_the_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text())
    file = LimitsFile(path)
    assert file.read_if_changed() is None
    path.write_text(text('validity_max = "50d"'))
    found = file.read_if_changed()
    assert found is not None
    assert found.default.validity_s_max == 50 * DAY
    path.write_text(text('validity_max = "1d"'))
    with pytest.raises(ValueError, match="would refuse every signature"):
        file.read_if_changed()
    assert file.read_if_changed() is None  # until it is changed again
    os.unlink(path)
    with pytest.raises(ValueError, match="cannot be read"):
        file.read_if_changed()


def test_a_group_that_the_host_does_not_have_is_an_error_of_the_host() -> None:
    config = read(roles='operator = "no-such-group"\nviewer = "12345"\nkey_officer = "root"')
    with pytest.raises(ConfigErrors, match=r"roles\.operator"):
        check_groups(config)
    assert group_id("12345") == 12_345
    assert group_id("root") == 0
    assert group_id(None) is None


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("tag_range = 5", "pair of key tags"),
        ("tag_range = [1]", "pair of key tags"),
        ("tag_range = [true, 9]", "pair of key tags"),
        ("tag_range = [9, 1]", "no range"),
        ("tag_range = [0, 65536]", "no range"),
        ("tag_range = [0, 4094]", "4096 tags or more"),
        ("foreign_keys = 'keep'", "foreign_keys"),
    ],
)
def test_ranges_of_key_tags_that_are_refused(written: str, why: str) -> None:
    assert why in errors(written)


def test_each_signer_has_a_range_of_key_tags() -> None:
    policies = read("tag_range = [0, 32767]\nforeign_keys = 'input'").policies
    assert (policies["default"].tag_range, policies["default"].foreign_keys) == ((0, 32_767), "input")
    assert (policies["strict"].tag_range, policies["strict"].foreign_keys) == ((0, 65_535), "strip")
