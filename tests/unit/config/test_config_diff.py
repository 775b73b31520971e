"""The difference between two configurations."""

from pathlib import Path

from dnssecd.config import Config, parse
from dnssecd.config.diff import ConfigDiff, diff

BASE = """
[server]
[keystore.local]
[policy.default]
[policy.other]
[tsig."t."]
secret = "c2VjcmV0IHNlY3JldCBzZWNyZXQ="
[secondary.ns1]
address = "192.0.2.1:53"
[zone."a.example."]
policy = "default"
source = "dynamic"
secondaries = ["ns1"]
[zone."b.example."]
policy = "other"
source = "dynamic"
"""


def read(text: str) -> Config:
    return parse(text, Path("/etc/dnssecd/config.toml"))


def change(old: str, new: str) -> ConfigDiff:
    return diff(read(BASE), read(BASE.replace(old, new)))


def test_nothing_changed() -> None:
    assert change("", "") == ConfigDiff((), (), (), ())


def test_zones_come_and_go() -> None:
    found = change("b.example.", "c.example.")
    assert (found.added, found.removed, found.changed) == (("c.example.",), ("b.example.",), ())
    assert [str(one) for one in found.changes] == ['- zone."b.example."', '+ zone."c.example."']


def test_a_policy_changes_its_zones() -> None:
    found = change("[policy.other]", "[policy.other]\ndenial = 'nsec'\nmanual = ['zsk', 'ksk']")
    assert found.changed == ("b.example.",)
    assert [str(one) for one in found.changes] == [
        "~ policy.other.denial: nsec3 -> nsec",
        "~ policy.other.manual: [] -> [ksk, zsk]",
    ]


def test_settings_are_shown_as_they_are_written() -> None:
    new = "[policy.other]\nsignature_validity = '20d'\nzsk = { algorithm = 'ed25519', lifetime = '60d' }"
    shown = [str(one) for one in change("[policy.other]", new).changes]
    assert "~ policy.other.signature_validity: 30d -> 20d" in shown
    assert "~ policy.other.zsk.algorithm: ecdsap256sha256 -> ed25519" in shown
    assert any(one.startswith("~ policy.other.zsk.lifetime: ") and one.endswith("-> 60d") for one in shown)


def test_the_key_store_of_a_role_changes_its_zones() -> None:
    text = BASE.replace("[policy.default]", "[keystore.vault]\ndirectory = '/vault'\n[policy.default]")
    moved = text.replace("[policy.other]", "[policy.other]\nksk = { keystore = 'vault' }")
    found = diff(read(text), read(moved))
    assert found.changed == ("b.example.",)
    assert [str(one) for one in found.changes] == ["~ policy.other.ksk.keystore: local -> vault"]
    elsewhere = moved.replace("'/vault'", "'/elsewhere'")
    assert diff(read(moved), read(elsewhere)).changed == ("b.example.",), "the store of one role moves"


def test_a_secondary_changes_its_zones() -> None:
    found = change("192.0.2.1:53", "192.0.2.2:53")
    assert found.changed == ("a.example.",)
    assert "~ secondary.ns1.address: 192.0.2.1:53 -> 192.0.2.2:53" in map(str, found.changes)


def test_secrets_are_not_shown() -> None:
    found = change("c2VjcmV0IHNlY3JldCBzZWNyZXQ=", "b3RoZXIgb3RoZXIgb3RoZXI=")
    assert [str(one) for one in found.changes] == ['~ tsig."t.".secret: Secret(…) -> Secret(…)']
    assert "secret secret" not in repr(found)


def test_what_needs_a_restart() -> None:
    found = change("[server]", '[server]\nstate_dir = "/srv/dnssecd"')
    assert any(one.needs_restart for one in found.changes)


def test_secondaries_are_named_once() -> None:
    """The servers to check are the secondaries by default: a change of these is one line, without their settings."""
    more = '[secondary.ns2]\naddress = "192.0.2.2:53"\n[zone."a.example."]'
    text = BASE.replace('[zone."a.example."]', more)
    both = read(text.replace('["ns1"]', '["ns1", "ns2"]'))
    assert list(map(str, diff(read(text), both).changes)) == [
        '~ zone."a.example.".secondaries: [ns1] -> [ns1, ns2]'
    ]
    written = read(text.replace('["ns1"]', '["ns1"]\ncheck_servers = ["ns1", "ns2"]'))
    assert list(map(str, diff(read(text), written).changes)) == [
        '~ zone."a.example.".check_servers: [ns1] -> [ns1, ns2]'
    ]
    moved = change("192.0.2.1:53", "192.0.2.2:53")
    assert list(map(str, moved.changes)) == ["~ secondary.ns1.address: 192.0.2.1:53 -> 192.0.2.2:53"]


def test_a_table_that_may_be_absent_is_one_line() -> None:
    mail = '[alerts.mail]\nsmtp = "localhost:25"\nfrom = "a@example.com"\nto = ["b@example.com"]\n[server]'
    text = BASE.replace("[server]", mail)
    assert [
        list(map(str, diff(*pair).changes)) for pair in ((read(BASE), read(text)), (read(text), read(BASE)))
    ] == [
        ["+ alerts.mail"],
        ["- alerts.mail"],
    ]
