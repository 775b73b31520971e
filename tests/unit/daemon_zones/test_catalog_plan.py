"""What a catalog changes here: additions, groups, owners, members that are refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dnssecd.config import parse
from dnssecd.config.added import AddedZone, with_added
from dnssecd.core.zone.catalog import Member
from dnssecd.daemon.zones.catalog_plan import CatalogPlan, plan_members

TEXT = """
[server]
[keystore.local]
[policy.default]
[primary.up]
address = "192.0.2.10"
[zone-template.plain]
source = "primaries"
primaries = ["up"]
[zone-template.gold]
source = "primaries"
primaries = ["up"]
soa_expire = "follow"
[zone-template.narrow]
source = "primaries"
primaries = ["up"]
other_signers = { s = { servers = ["192.0.2.1"] } }
[zone-template.files]
file = "/tmp/{zone}.zone"
[zone-template.hooks]
file = "/tmp/{zone}.zone"
parent = { hook = "/bin/registrar {zone}" }
[zone."own.example."]
file = "own.zone"
[catalog."c1.example."]
consume = { primaries = ["up"], template = "plain", groups = { gold = "gold", files = "files", hooks = "hooks" } }
[catalog."c2.example."]
consume = { primaries = ["up"], groups = { gold = "gold" } }
"""


def member(zone: str, *groups: str, label: str = "x", coo: str = "") -> Member:
    return Member(zone, label, groups, coo)


class Here:
    """The records and the configuration with them."""

    def __init__(self, *added: AddedZone, text: str = TEXT, orphans: tuple[str, ...] = ()) -> None:
        self.records, self.orphans = {one.zone: one for one in added}, set(orphans)
        self.text = text
        self.config, _ = with_added(parse(text, Path("/etc/c.toml")), added)

    def plan(self, catalog: str, *members: Member) -> CatalogPlan:
        return plan_members(
            self.config.catalogs[catalog],
            {one.zone: one for one in members},
            self.records,
            self.config,
            self.config.zones.keys() | self.orphans,
            7,
        )

    def take(self, catalog: str, *members: Member) -> None:
        plan = self.plan(catalog, *members)
        self.records.update((name, record) for name, (record, _) in plan.put.items())
        self.config, _ = with_added(parse(self.text, Path("/etc/c.toml")), self.records.values())


def test_members_come_change_and_leave() -> None:
    here = Here()
    here.take("c1.example.", member("a.example."), member("b.example.", "gold"))
    assert {name: one.template for name, one in here.records.items()} == {
        "a.example.": "plain",
        "b.example.": "gold",
    }
    assert here.config.zones["b.example."].soa_expire == "follow"
    same = here.plan("c1.example.", member("a.example."), member("b.example.", "gold"))
    assert (same.put, same.gone, same.refused) == ({}, [], {})
    changed = here.plan("c1.example.", member("a.example.", "gold"), member("b.example.", "unknown", "gold"))
    assert {name: record.template for name, (record, _) in changed.put.items()} == {"a.example.": "gold"}
    assert here.plan("c1.example.", member("a.example.")).gone == ["b.example."]
    assert here.plan("c1.example.").gone == ["a.example.", "b.example."]


@pytest.mark.parametrize(
    ("catalog", "one", "why"),
    [
        ("c1.example.", member("own.example."), "configuration file"),
        ("c1.example.", member("c1.example."), "it is a catalog"),
        ("c1.example.", member("c2.example."), "it is a catalog"),
        ("c1.example.", member("by-hand.example."), "zone add"),
        ("c1.example.", member("theirs.example."), "member of the catalog c2.example."),
        ("c2.example.", member("a.example."), "no template for its group (none)"),
        ("c1.example.", member("x" * 64 + "."), "not a DNS name"),
        ("c1.example.", member(".".join(["a" * 60] * 4) + "."), "NSEC3"),
        ("c1.example.", member("orphan.example."), "without configuration"),
        ("c1.example.", member("old.example."), "no longer configured"),
        ("c1.example.", member("www.own.example."), "lies in the zone own.example."),
        ("c1.example.", member("a.b.by-hand.example."), "lies in the zone by-hand.example."),
        ("c1.example.", member("a.orphan.example."), "lies in the zone orphan.example."),
        ("c1.example.", member("a.theirs.example."), "lies in the zone theirs.example."),
        ("c1.example.", member("example."), "above a zone"),
        ("c1.example.", member("."), "above a zone"),
        ("c1.example.", member("-rf.example.", "hooks"), "as an option"),
    ],
)
def test_members_that_are_refused(catalog: str, one: Member, why: str) -> None:
    here = Here(
        AddedZone(zone="by-hand.example.", template="plain"),
        AddedZone(zone="theirs.example.", template="gold", catalog="c2.example."),
        AddedZone(zone="old.example.", template="gold", catalog="c3.example."),
        orphans=("orphan.example.",),
    )
    plan = here.plan(catalog, one, member("good.example.", "gold"))
    assert list(plan.put) == ["good.example."]
    (told,) = plan.refused.values()
    assert why in told


def test_a_member_changes_its_owner_by_its_old_catalog_s_word() -> None:
    here = Here(AddedZone(zone="m.example.", template="gold", catalog="c2.example.", coo="c1.example."))
    plan = here.plan("c1.example.", member("m.example."))
    assert plan.put["m.example."][0].catalog == "c1.example."
    said = AddedZone(zone="m.example.", template="gold", catalog="c3.example.", coo="c1.example.")
    assert "m.example." in Here(said).plan("c1.example.", member("m.example.")).put, (
        "it said so while followed"
    )


def test_an_orphan_comes_back_by_the_catalog_that_it_is_of() -> None:
    mine = AddedZone(zone="m.example.", template="gone", catalog="c1.example.")
    here = Here(mine, orphans=("m.example.",))
    assert "m.example." not in here.config.zones
    assert here.plan("c1.example.", member("m.example.")).put["m.example."][0].template == "plain"


def test_members_of_one_catalog_may_lie_in_one_another() -> None:
    here = Here()
    here.take("c1.example.", member("a.test."), member("b.a.test."))
    assert list(here.records) == ["a.test.", "b.a.test."]
    plan = here.plan("c1.example.", member("a.test."), member("b.a.test."), member("test."))
    assert (list(plan.put), plan.refused) == (["test."], {})


def test_names_that_the_catalog_may_decide_on() -> None:
    text = TEXT.replace('template = "plain", ', 'template = "plain", within = ["Own.example", "test"], ')
    here = Here(text=text)
    plan = here.plan(
        "c1.example.", *map(member, ("www.own.example.", "test.", "a.test.", "atest.", "b.example."))
    )
    assert list(plan.put) == ["www.own.example.", "test.", "a.test."]
    assert set(plan.refused) == {"atest.", "b.example."}
    assert "consume.within" in plan.refused["atest."]


def test_many_members_at_once_are_planned_in_linear_time() -> None:
    text = TEXT.replace('template = "plain", ', 'template = "plain", max_members = 2000, ')
    members = [member(f"z{number}.fleet.test.", label=str(number)) for number in range(2_000)]
    started = time.process_time()
    plan = Here(text=text).plan("c1.example.", *members)
    assert len(plan.put) == 2_000
    assert time.process_time() - started < 10


def test_a_name_that_no_file_can_have_stops_neither_the_plan_nor_other_members() -> None:
    """Presentation form has four characters for an octet; file names have 255 octets at most."""
    long = ".".join(["\\000" * 40] * 3) + ".example."
    plan = Here().plan("c1.example.", member(long, "files"), member("good.example.", "files"))
    assert "good.example." in plan.put
