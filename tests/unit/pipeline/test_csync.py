"""CSYNC (RFC 7477) is published when NS or glue change, and at no other time."""

from __future__ import annotations

from pathlib import Path

import dns.rdata
import pytest

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import unpack
from dnssecd.core.dns.rrtypes import CSYNC
from dnssecd.core.update.types import NOERROR, REFUSED
from dnssecd.daemon.zones.update_policy import update_policy
from dnssecd.pipeline.jobs.update import Answer, commit_updates
from dnssecd.pipeline.version.csync import csync_rdata
from dnssecd.server.update_message import parse_update
from tests.pipeline_zone import ZONE, PipelineZone
from tests.unit.core_update.build import EVERYTHING, RR, add, delete, delete_rr, message


@pytest.fixture
def zone(signer: str, tmp_path: Path) -> PipelineZone:
    made = PipelineZone(tmp_path, signer, csync=True)
    assert made.load(ZONE).result == "published"
    return made


def csync(zone: PipelineZone) -> str | None:
    """The CSYNC record in presentation form, which must be signed; None if there is none."""
    with zone.db.snapshot() as snapshot:
        found = snapshot.rrset(APEX, CSYNC)
        if found is None:
            return None
        assert snapshot.rrsigs(APEX, CSYNC) is not None
        (rdata,) = unpack(found.rdata)
    return dns.rdata.from_wire("IN", CSYNC, rdata, 0, len(rdata)).to_text()


def edited(old: str, new: str, serial: int) -> str:
    assert old in ZONE
    return ZONE.replace("host 1 ", f"host {serial} ").replace(old, new)


def test_the_example_of_the_rfc() -> None:
    rdata = csync_rdata(66)
    assert dns.rdata.from_wire("IN", CSYNC, rdata, 0, len(rdata)).to_text() == "66 3 A NS AAAA"


def test_no_change_of_the_delegation_no_record(zone: PipelineZone) -> None:
    assert csync(zone) is None, "the parent has been given NS and glue already"
    assert zone.load(edited("www IN A 192.0.2.2", "www IN A 192.0.2.99", 2)).result == "published"
    assert csync(zone) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("@ IN NS ns1", "@ IN NS ns1\n@ IN NS ns.elsewhere.test."),
        ("ns1 IN A 192.0.2.1", "ns1 IN A 192.0.2.77"),
        ("ns1 IN A 192.0.2.1", "ns1 IN A 192.0.2.1\nns1 IN AAAA 2001:db8::53"),
        ("@ IN NS ns1", "@ IN NS www"),
    ],
)
def test_ns_and_glue(zone: PipelineZone, old: str, new: str) -> None:
    assert zone.load(edited(old, new, 7)).result == "published"
    assert csync(zone) == "2 3 A NS AAAA", "not after the serial that has the change, whatever that becomes"
    assert zone.serial() == 7
    # It stays, through loads and renewals, until the delegation changes again.
    assert zone.load(edited(old, new, 7)).result == "unchanged"
    assert zone.load(edited(old, new, 8) + "more IN A 192.0.2.8\n").result == "published"
    assert csync(zone) == "2 3 A NS AAAA"
    zone.now += 25 * 86_400
    assert zone.resign().result == "published"
    assert csync(zone) == "2 3 A NS AAAA"
    before = zone.serial()
    assert before is not None
    assert zone.load(edited("www", "www", 100)).result == "published"
    assert csync(zone) == f"{before + 1} 3 A NS AAAA"


def test_a_delegation_below_is_not_this_one(zone: PipelineZone) -> None:
    assert zone.load(edited("ns.sub IN A 192.0.2.3", "ns.sub IN A 192.0.2.33", 2)).result == "published"
    assert csync(zone) is None


def test_the_operator_s_own_record_is_left_alone(zone: PipelineZone) -> None:
    own = "@ IN CSYNC 1 1 NS\n"
    text = edited("ns1 IN A 192.0.2.1", "ns1 IN A 192.0.2.77", 2) + own
    assert zone.load(text).result == "published"
    assert csync(zone) == "1 1 NS"
    text = edited("ns1 IN A 192.0.2.1", "ns1 IN A 192.0.2.78", 3) + own
    assert zone.load(text).result == "published"
    assert csync(zone) == "1 1 NS"


def test_switched_off_nothing_is_made(signer: str, tmp_path: Path) -> None:
    zone = PipelineZone(tmp_path, signer)
    zone.load(ZONE)
    zone.load(edited("ns1 IN A 192.0.2.1", "ns1 IN A 192.0.2.77", 2))
    assert csync(zone) is None


def update(zone: PipelineZone, *rrs: RR) -> Answer:
    policy = update_policy(zone.spec, EVERYTHING, 2**16)
    return commit_updates(zone.db, zone.spec, [(parse_update(message(rrs)), policy)], zone.tools()).answers[0]


OWN = "1 1 NS"


@pytest.mark.parametrize(
    "rr", [add("@", "CSYNC", OWN), delete("@", "CSYNC"), delete_rr("@", "CSYNC", "2 3 A NS AAAA")], ids=str
)
def test_an_update_of_it_is_refused_while_the_signer_makes_it(zone: PipelineZone, rr: RR) -> None:
    assert update(zone, add("ns1", "A", "192.0.2.77")).rcode == NOERROR
    assert csync(zone) == "2 3 A NS AAAA"
    answer = update(zone, rr)
    assert answer.rcode == REFUSED
    assert answer.reason == 'example. CSYNC is made by the signer (csync = "auto") and cannot be updated'
    assert csync(zone) == "2 3 A NS AAAA"


def test_it_survives_that_an_update_deletes_all_at_the_apex(zone: PipelineZone) -> None:
    update(zone, add("ns1", "A", "192.0.2.77"))
    assert update(zone, add("@", "TXT", "x"), delete("@")).rcode == NOERROR
    assert csync(zone) == "2 3 A NS AAAA"


def test_elsewhere_and_where_the_signer_makes_none_an_update_of_it_is_carried_out(
    signer: str, tmp_path: Path
) -> None:
    zone = PipelineZone(tmp_path, signer)
    zone.load(ZONE)
    assert update(zone, add("@", "CSYNC", OWN)).rcode == NOERROR
    assert csync(zone) == OWN
    assert update(zone, add("www", "CSYNC", OWN), delete("@")).rcode == NOERROR
    assert csync(zone) is None
