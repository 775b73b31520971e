"""Where NOTIFY(CDS) goes (RFC 9859 section 4.1), on a parent that is a dictionary."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdatatype
import dns.rrset
import pytest

from dnssecd.publish.dsync import (
    DsyncUnknown,
    Endpoint,
    Found,
    Lookup,
    find_endpoints,
    notify_message,
    notify_parent,
)


class World:
    """Names with DSYNC (or addresses); every other name is denied by the SOA of ``parent``."""

    def __init__(self, parent: str, records: dict[tuple[str, str], str], failing: str = "") -> None:
        self.parent = dns.name.from_text(parent)
        self.records = records
        self.failing = failing
        self.asked: list[str] = []

    @property
    def lookup(self) -> Lookup:
        async def look(name: dns.name.Name, rtype: dns.rdatatype.RdataType) -> Found:
            if rtype == dns.rdatatype.DSYNC:
                self.asked.append(str(name))
            if str(name) == self.failing:
                return Found(failure="SERVFAIL")
            text = self.records.get((str(name), dns.rdatatype.to_text(rtype)))
            if text is None:
                return Found(soa=self.parent)
            return Found(dns.rrset.from_text_list(name, 300, "IN", rtype, text.split("; ")))

        return look


async def test_the_child_s_own_record() -> None:
    world = World("example.", {("child._dsync.example.", "DSYNC"): "CDS NOTIFY 5359 cds.example."})
    assert await find_endpoints("child.example.", world.lookup) == [
        Endpoint("cds.example.", 5359, "child._dsync.example.")
    ]
    assert world.asked == ["child._dsync.example."]


async def test_one_for_all_children() -> None:
    world = World("example.", {("_dsync.example.", "DSYNC"): "CDS NOTIFY 53 all.example."})
    assert [e.target for e in await find_endpoints("child.example.", world.lookup)] == ["all.example."]
    assert world.asked == ["child._dsync.example.", "_dsync.example."]


async def test_a_delegation_several_labels_below_the_parent() -> None:
    """The example of RFC 9859 section 4.1."""
    name = "subsub.sub.child._dsync.example."
    world = World("example.", {(name, "DSYNC"): "CDS NOTIFY 53 deep.example."})
    assert [e.target for e in await find_endpoints("subsub.sub.child.example.", world.lookup)] == [
        "deep.example."
    ]
    assert world.asked == ["subsub._dsync.sub.child.example.", name]


async def test_no_endpoint_is_found_in_few_questions() -> None:
    for zone in ("child.example.", "subsub.sub.child.example.", "example.", "a.b.c.d.e.f.example."):
        world = World("example." if zone != "example." else ".", {})
        assert await find_endpoints(zone, world.lookup) == []
        assert len(world.asked) <= 3


async def test_the_root_has_no_parent() -> None:
    assert await find_endpoints(".", World(".", {}).lookup) == []


async def test_a_soa_from_elsewhere_leads_nowhere() -> None:
    world = World("evil.test.", {})
    assert await find_endpoints("sub.child.example.", world.lookup) == []
    assert all("evil" not in name for name in world.asked)


async def test_only_notify_for_cds_counts() -> None:
    text = (
        "CSYNC NOTIFY 53 csync.example.; CDS 128 53 private.example.; "
        "CDS NOTIFY 54 b.example.; CDS NOTIFY 53 a.example."
    )
    world = World("example.", {("child._dsync.example.", "DSYNC"): text})
    assert [e.target for e in await find_endpoints("child.example.", world.lookup)] == [
        "a.example.",
        "b.example.",
    ]


async def test_a_failure_is_no_denial() -> None:
    world = World("example.", {}, failing="_dsync.example.")
    with pytest.raises(DsyncUnknown, match="SERVFAIL"):
        await find_endpoints("child.example.", world.lookup)
    outcome = await notify_parent("child.example.", world.lookup)
    assert (outcome.offered, outcome.ok) == (False, False)


async def test_a_target_without_address_is_reported() -> None:
    world = World("example.", {("child._dsync.example.", "DSYNC"): "CDS NOTIFY 53 cds.example."})
    outcome = await notify_parent("child.example.", world.lookup)
    assert (outcome.offered, outcome.ok) == (True, False)
    assert "cds.example. has no address" in outcome.detail


def test_the_message_is_a_notify_with_qtype_cds() -> None:
    wire = notify_message("child.example.").to_wire()
    message = dns.message.from_wire(wire)
    assert message.opcode() == dns.opcode.NOTIFY
    assert message.flags & dns.flags.AA
    assert not message.flags & dns.flags.RD
    assert [(str(q.name), q.rdtype) for q in message.question] == [("child.example.", dns.rdatatype.CDS)]
