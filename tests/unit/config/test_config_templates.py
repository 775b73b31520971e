"""``include``, ``[zone-template.*]``, ``[catalog.*]``, and zones that were added at run time."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from dnssecd.config import Config, ConfigErrors, load
from dnssecd.config.added import AddedZone, with_added
from dnssecd.config.catalogs import CATALOG_POLICY
from dnssecd.config.diff import diff
from dnssecd.config.templates import _filled, is_webhook

MAIN = """
include = "zones.d/*.toml"
[server]
[keystore.local]
[policy.default]
[secondary.ns1]
address = "192.0.2.53"
[secondary.ns2]
address = "192.0.2.54"
[primary.up]
address = "192.0.2.10"
[zone-template.customers]
file = "zones/{zone}.zone"
secondaries = ["ns1"]
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "zones.d").mkdir()
    return tmp_path


def read(home: Path, more: str = "", **included: str) -> Config:
    (home / "config.toml").write_text(MAIN + more)
    for name, text in included.items():
        (home / "zones.d" / f"{name}.toml").write_text(text)
    return load(home / "config.toml")


def faults(home: Path, more: str = "", **included: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        read(home, more, **included)
    return [str(error).replace(str(home), "") for error in caught.value.errors]


def one_fault(home: Path, more: str = "", **included: str) -> str:
    (fault,) = faults(home, more, **included)
    return fault


def test_included_files_are_a_part_of_the_configuration(home: Path) -> None:
    config = read(
        home,
        a='[zone."a.example."]\nfile = "a.zone"\nsecondaries = ["ns3"]\n[secondary.ns3]\naddress = "192.0.2.55"\n',
        b='[zone."b.example."]\ntemplate = "customers"\n',
    )
    assert config.zones["a.example."].file == str(home / "zones.d/a.zone")
    assert config.zones["b.example."].file == str(home / "zones/b.example.zone")
    assert config.zones["b.example."].secondaries == ("ns1",)
    assert list(config.secondaries) == ["ns1", "ns2", "ns3"]


def test_a_file_without_zones_is_enough_when_they_come_later(home: Path) -> None:
    assert not read(home).zones


def test_an_error_names_the_file_that_has_it(home: Path) -> None:
    text = '[zone."a.example."]\nfile = "a.zone"\nsecondaries = ["ns9"]\n'
    assert one_fault(home, a=text).startswith('/zones.d/a.toml:3: zone."a.example.".secondaries[0]: ')
    assert "/zones.d/a.toml:2: is not TOML" in one_fault(home, a="\n[zone\n")
    assert one_fault(home, a="[server]\n").startswith("/zones.d/a.toml:1: server: cannot be in an included")


def test_a_table_in_two_files_is_an_error(home: Path) -> None:
    text = '[zone."a.example."]\nfile = "a.zone"\n'
    assert "/zones.d/b.toml:1: " in one_fault(home, a=text, b=text)


@pytest.mark.parametrize("include", ["missing.toml", "../x/*.toml", ""])
def test_a_file_that_must_be_there(home: Path, include: str) -> None:
    (home / "config.toml").write_text(MAIN.replace("zones.d/*.toml", include))
    with pytest.raises(ConfigErrors):
        load(home / "config.toml")


def test_an_error_in_a_template_is_reported_once_and_there(home: Path) -> None:
    bad = '[zone-template.bad]\nsecondaries = ["ns9"]\nfrob = 1\nmax_change = "x"\n'
    zones = "".join(f'[zone."z{n}.example."]\ntemplate = "bad"\nfile = "f"\n' for n in range(3))
    for text in (bad, bad + zones):
        found = faults(home, text)
        assert len(found) == 3
        assert all("/config.toml:" in fault and " zone-template.bad." in fault for fault in found)
    assert 'did you mean "customers"?' in one_fault(
        home, a='[zone."a."]\ntemplate = "customer"\nfile = "f"\n'
    )


def test_a_zone_s_own_keys_count(home: Path) -> None:
    config = read(home, '[zone."a.example."]\ntemplate = "customers"\nsecondaries = ["ns2"]\n')
    assert config.zones["a.example."].secondaries == ("ns2",)


def test_the_name_of_the_zone_in_a_template(home: Path) -> None:
    config = read(
        home,
        '[tsig."acme."]\nsecret = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0"\n'
        '[zone-template.dyn]\nfile = "{zone}"\n'
        'allow_update = [{ tsig = "acme.", names = ["_acme-challenge.{zone}."], types = ["TXT"] }]\n'
        '[zone."0/25.2.0.192.in-addr.arpa."]\ntemplate = "dyn"\n',
    )
    zone = config.zones["0/25.2.0.192.in-addr.arpa."]
    assert zone.file == str(home / "0%2F25.2.0.192.in-addr.arpa")
    assert zone.allow_update[0].names == ("_acme-challenge.0/25.2.0.192.in-addr.arpa.",)


def test_a_changed_template_is_a_difference_of_its_zones(home: Path) -> None:
    zone = '[zone."a.example."]\ntemplate = "customers"\n'
    old = read(home, zone)
    (home / "config.toml").write_text(MAIN.replace('["ns1"]', '["ns2"]') + zone)
    found = diff(old, load(home / "config.toml"))
    assert found.changed == ("a.example.",)
    assert "~ zone-template.customers.secondaries: [ns1] -> [ns2]" in list(map(str, found.changes))
    assert not diff(old, read(home, zone)).changes


def test_zones_that_were_added_are_zones_of_the_configuration(home: Path) -> None:
    config = read(home, '[zone."own.example."]\nfile = "own.zone"\n')
    added = [
        AddedZone(zone="a.example.", template="customers"),
        AddedZone(zone="b.example.", template="customers", given={"file": "/srv/b.zone"}),
        AddedZone(zone="own.example.", template="customers"),
        AddedZone(zone="lost.example.", template="gone"),
    ]
    whole, unusable = with_added(config, [AddedZone.of_document(one.document()) for one in added])
    assert list(whole.zones) == ["own.example.", "a.example.", "b.example."]
    assert whole.zones["a.example."].file == str(home / "zones/a.example.zone")
    assert whole.zones["b.example."].file == "/srv/b.zone"
    assert whole.zones["own.example."].file == str(home / "own.zone")
    assert [one.zone for one in unusable] == ["lost.example."]
    assert "gone" in unusable[0].what


def test_catalogs_are_zones_without_signatures(home: Path) -> None:
    config = read(
        home,
        '[catalog."made.example."]\nproduce = ["ns1", "ns2"]\n'
        '[catalog."used.example."]\nmax_change = "10%"\n'
        'consume = { primaries = ["up"], template = "customers", groups = { gold = "customers" } }\n',
    )
    whole, _ = with_added(config, [])
    made, used = whole.zones["made.example."], whole.zones["used.example."]
    assert (made.source, made.secondaries, made.max_change) == ("file", ("ns1", "ns2"), 1.0)
    assert (used.source, used.primaries, used.max_change) == ("primaries", ("up",), 0.1)
    assert not whole.policies[CATALOG_POLICY].signed


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "produce, or it has consume"),
        ('produce = ["ns1"]\nconsume = { primaries = ["up"], template = "customers" }', "produce, or it has"),
        ('produce = ["ns9"]', 'no secondary "ns9"'),
        ('consume = { primaries = ["up"] }', "template: is missing"),
        ('consume = { primaries = ["up"], template = "x" }', 'no zone-template "x"'),
        ('consume = { primaries = ["up"], groups = { g = "x" } }', 'no zone-template "x"'),
        ('consume = { template = "customers" }', "primaries is missing"),
    ],
)
def test_mistakes_in_a_catalog(home: Path, text: str, what: str) -> None:
    assert any(what in fault for fault in faults(home, f'[catalog."c.example."]\n{text}\n'))


def test_a_zone_that_only_some_of_a_catalog_s_secondaries_have(home: Path) -> None:
    zone = '[zone."a.example."]\ntemplate = "customers"\n'
    config = read(home, zone + '[catalog."c.example."]\nproduce = ["ns1", "ns2"]\n')
    assert any("so it is not in the catalog" in str(warning) for warning in config.warnings)


def test_a_zone_with_the_name_of_a_catalog(home: Path) -> None:
    text = '[zone."c.example."]\ntemplate = "customers"\n[catalog."c.example."]\nproduce = ["ns1"]\n'
    assert 'there is a [zone."c.example."], too' in one_fault(home, text)


@pytest.mark.parametrize(
    ("template", "zone", "expected"),
    [
        (
            'published = "/usr/bin/note --zone {zone}"',
            "ban'k'.example.",
            ["/usr/bin/note", "--zone", "ban'k'.example"],
        ),
        ("published = \"/usr/bin/note '{zone} x'\"", "a b.example.", ["/usr/bin/note", "a b.example x"]),
        ('published = ["/usr/bin/note", "{zone}"]', "a;b.example.", ["/usr/bin/note", "a;b.example"]),
        (
            'published = "https://h.example/{zone}"',
            "x/a?b=.example.",
            "https://h.example/x%2Fa%3Fb%3D.example",
        ),
    ],
)
def test_the_name_of_a_zone_is_never_more_than_a_part_of_a_word(
    template: str, zone: str, expected: object
) -> None:
    table = tomllib.loads(template)
    assert _filled(table, zone.rstrip("."))["published"] == expected


def test_the_hook_of_a_parent_is_filled_word_by_word() -> None:
    table = tomllib.loads('parent = { hook = "/bin/registrar {zone} x", servers = ["192.0.2.1"] }')
    assert _filled(table, "a b' c.example")["parent"] == {
        "hook": ["/bin/registrar", "a b' c.example", "x"],
        "servers": ["192.0.2.1"],
    }


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        ('published = "/bin/note {zone}"', False),
        ('published = ["/bin/note", "{zone}.x"]', False),
        ("review = \"/bin/note '{zone}'\"", False),
        ('parent = { hook = "/bin/registrar {zone}" }', False),
        ('published = "/bin/note --zone={zone}"', True),
        ('published = "https://h.example/?z={zone}"', True),
        ('published = "/bin/note"', True),
        ('output_file = "signed/{zone}"', True),
    ],
)
def test_a_zone_whose_name_begins_with_a_hyphen_is_no_option(home: Path, command: str, allowed: bool) -> None:
    template = f'[zone-template.hooks]\nfile = "zones/{{zone}}"\n{command}\n'
    read(home, template + '[zone."a-.example."]\ntemplate = "hooks"\n')
    named = template + '[zone."-rf.example."]\ntemplate = "hooks"\n'
    if allowed:
        read(home, named)
    else:
        assert "would read the name of the zone -rf.example. as an option" in one_fault(home, named)


@pytest.mark.parametrize("program", ["httpd-note", "http-post/run", "https"])
def test_a_command_that_begins_with_http_is_a_command(home: Path, program: str) -> None:
    config = read(home, f'[zone."a.example."]\nfile = "a"\npublished = "{program} x"\n')
    (command, _) = config.zones["a.example."].published
    assert not is_webhook(command)
    assert is_webhook("http://h.example/")


def test_what_a_catalog_may_name(home: Path) -> None:
    consume = 'primaries = ["up"], template = "customers"'
    config = read(
        home, f'[catalog."c.example."]\nconsume = {{ {consume}, within = ["Test"], max_members = 5 }}\n'
    )
    catalog = config.catalogs["c.example."]
    assert (catalog.within, catalog.max_members) == (("test.",), 5)
    zone = with_added(config, [])[0].zones["c.example."]
    assert zone.max_transfer_mib == 1
    assert (
        with_added(read(home, f'[catalog."c.example."]\nconsume = {{ {consume} }}\n'), [])[0]
        .zones["c.example."]
        .max_transfer_mib
        == 10
    )
    wrong = f'[catalog."c.example."]\nconsume = {{ {consume}, within = ["a..b"], max_members = 0 }}\n'
    assert ["within" in fault or "max_members" in fault for fault in faults(home, wrong)] == [True, True]
