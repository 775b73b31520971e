"""How zones went dark through input, serials, alarms and neighbours."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dns.message
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest

from dnssecd.clock import FakeClock
from dnssecd.daemon.key_usage import KeyUsage
from dnssecd.daemon.known_peers import KnownPeers
from dnssecd.daemon.server_reports import LAG_EVENT_S, PeerReports, SecondaryHooks
from dnssecd.daemon.tls_reports import TlsReports
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.ops.event_kinds import EVENT_KINDS
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.pipeline.jobs.load import load_file
from dnssecd.publish.firstcheck import first_check
from dnssecd.publish.watch import Judgement, Ledger, Sighting, WatchHooks
from dnssecd.replacing import replace
from tests.lessons.servers import answering
from tests.pipeline_zone import ZONE, PipelineZone
from tests.unit.alerts.rig import MAIL, Rig

DAY = 86_400
HOSTS = "".join(f"host{number} IN A 192.0.2.{number}\n" for number in range(60))


def test_se_2009_missing_final_dots(zone: PipelineZone) -> None:
    """Every owner becomes `zone.zone.`: the guard holds it back, and only an explicit word lets it through."""
    assert zone.load(ZONE + HOSTS).result == "published"
    serial = zone.serial()
    doubled = ZONE + "".join(f"host{number}.example IN A 192.0.2.{number}\n" for number in range(60))
    held = zone.load(doubled)
    assert (held.result, held.problems[0].event) == ("rejected", "delta-guard")
    assert "--accept-change" in held.problems[0].remedy
    assert zone.serial() == serial
    assert zone.load(doubled, accept_change=True).result == "published"


@pytest.mark.parametrize("text", ["", "\n", "$TTL 300\n", "$TTL 300\n@ IN NS ns1\nns1 IN A 192.0.2.1\n"])
def test_cascade_no_path_from_published_to_empty(zone: PipelineZone, text: str) -> None:
    assert zone.load(ZONE).result == "published"
    with zone.db.snapshot() as snapshot:
        before = list(snapshot.scan())
    outcome = zone.load(text)
    assert outcome.result in ("rejected", "retry")
    with zone.db.snapshot() as snapshot:
        assert list(snapshot.scan()) == before


def test_cascade_a_file_that_is_gone_takes_nothing_back(zone: PipelineZone) -> None:
    assert zone.load(ZONE).result == "published"
    zone.file.unlink()
    assert load_file(zone.db, zone.spec, zone.file, zone.tools()).result != "published"
    assert zone.serial() == 1


def test_arin_2016_serial_goes_backwards(tmp_path: Path, signer: str) -> None:
    """The first serial exceeds what secondaries serve, later ones only go forward, and what goes back is reported."""
    zone = PipelineZone(tmp_path, signer)
    assert zone.load(ZONE, serial_floor=2_016_010_100).serial == 2_016_010_101
    lower = ZONE.replace("host 1 3600", "host 7 3600") + "more IN A 192.0.2.9\n"
    assert zone.load(lower).serial == 2_016_010_102, "an input serial below is no reason to go back"
    zone.close()
    told: list[Judgement] = []

    class Hooks(WatchHooks):
        def seen(self, judgement: Judgement) -> None:
            told.append(judgement)

    ledger = Ledger(Hooks())
    ledger.published(2_016_010_102, 0.0)
    for serial in (2_016_010_102, 2_016_010_101):
        ledger.record(Sighting("example.", "ns1", serial, 10.0, True))
    assert [judgement.backwards for judgement in told] == [False, True]


def test_arin_2016_a_secondary_that_stays_behind_is_reported(tmp_path: Path) -> None:
    """It answers well and continues with an old serial: after minutes that is an alert, until it has the new one."""
    clock = FakeClock()
    events = EventCore(tmp_path / "events.sqlite", clock)
    metrics, peers = Metrics(), KnownPeers(cast(Any, SimpleNamespace(secondaries={}, primaries={}, zones={})))
    tls = TlsReports(events, peers, metrics.server.tls_handshakes, clock.monotonic, Mailbox())
    stored: dict[str, int] = {}
    ledger = Ledger(SecondaryHooks(metrics, events, PeerReports(tls, KeyUsage(clock.now)), stored.get))
    began = clock.now()
    ledger.published(8, began)
    fires = []
    for after, serial in ((1.0, 7), (LAG_EVENT_S / 2, 7), (2 * LAG_EVENT_S, 7), (2 * LAG_EVENT_S + 1, 8)):
        ledger.record(Sighting("example.", "ns1", serial, began + after, True))
        fires.append(events.is_firing("secondary-lagging", "example.", "ns1"))
    assert fires == [False, False, True, False]
    # A worker committed 9, and the secondary has it before the daemon notes that: no alert. 10 was never made.
    for made, serial, fired in ((9, 9, False), (9, 10, True)):
        stored["example."] = made
        ledger.record(Sighting("example.", "ns1", serial, began, True))
        assert events.is_firing("serial-backwards", "example.", "ns1") is fired
    events.close()


async def test_apnic_2012_a_stand_by_signer_had_other_keys() -> None:
    """Before it publishes anything, a daemon looks what is served: a DNSKEY it does not hold stops it."""
    theirs = dns.rrset.from_text("example.", 300, "IN", "DNSKEY", "256 3 13 " + "A" * 86 + "==")
    soa = dns.rrset.from_text("example.", 300, "IN", "SOA", "ns1.example. host.example. 7 1 1 1 1")
    async with answering({dns.rdatatype.DNSKEY: theirs, dns.rdatatype.SOA: soa}) as live:
        found = await first_check("example.", [live], [], [b"\1\1\3\x0d" + b"\1" * 64], lambda: 0.0)
    assert found.foreign
    assert found.highest_serial == 7


def test_arpa_2010_expiry_alarm_ignored(tmp_path: Path) -> None:
    """An acknowledgement does not silence it: it escalates, and comes again until signatures are renewed."""
    assert not EVENT_KINDS["runway-low"].mutable
    rig = Rig(tmp_path)
    rig.events.raise_event("runway-low", "example.", "the first RRSIG expires in 90.0 h")
    rig.go(600)
    rig.events.acknowledge("runway-low", "example.", "somebody")
    rig.go(4 * DAY, step=600)
    recipients = {address for parcel in rig.way.sent for address in parcel.recipients}
    assert "boss@example.com" in recipients
    assert len(rig.way.sent) > 5
    rig.stop()


def test_arpa_2010_a_daily_mail_proves_that_mail_arrives(tmp_path: Path) -> None:
    """Nothing is wrong, and every morning a mail says so: its absence is the alarm that no machine can ignore."""
    rig = Rig(tmp_path, mail=replace(MAIL, heartbeat="daily"))
    rig.go(70)
    rig.go(3 * DAY, step=600)
    assert len(rig.way.sent) == 4, "the first soon after the start, then one a day"
    assert all("all well" in subject for subject in rig.way.subjects)
    rig.stop()
