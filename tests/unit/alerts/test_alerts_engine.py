"""Who is told what and when: events on a fake clock, and the mail that comes of them."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnssecd.ops.alerts.channels import ChannelDown, Parcel, Rejected, Sent
from dnssecd.ops.alerts.digest import Facts
from dnssecd.ops.alerts.grouping import PER_HOUR_MAX
from dnssecd.ops.alerts.lifecycle import Alert
from dnssecd.replacing import replace
from dnssecd.store.alert_queue import AlertStore
from tests.unit.alerts.rig import MAIL, NIGHT, ZONE, FakeWay, Rig

MINUTE, HOUR, DAY = 60, 3600, 86_400


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.stop()


def down(parcel: Parcel) -> Sent:
    raise ChannelDown("connection refused")


def up(parcel: Parcel) -> Sent:
    return Sent()


def test_fire_and_resolve(rig: Rig) -> None:
    rig.events.raise_event("input-error", ZONE, "line 3: no such type")
    rig.go(50)
    assert rig.way.sent == [], "it settles: people edit files"
    rig.go(20)
    assert rig.way.subjects == ["ERROR example.com. input-error"]
    assert rig.way.sent[0].recipients == MAIL.to
    rig.events.resolve("input-error", ZONE)
    rig.go(MINUTE)
    assert rig.way.subjects[1:] == ["RESOLVED: example.com. input-error"]
    first, last = rig.way.mails
    assert last["In-Reply-To"] == first["Message-ID"], "mail programs show both together"
    rig.go(DAY, step=600)
    assert len(rig.way.sent) == 2


def test_an_alert_that_clears_immediately_is_not_sent_unless_critical(rig: Rig) -> None:
    rig.events.raise_event("input-error", ZONE, "cut")
    rig.events.raise_event("verification-failed", ZONE, "bad RRSIG")
    rig.go(5)
    rig.events.resolve("input-error", ZONE)
    rig.events.resolve("verification-failed", ZONE)
    rig.go(10 * MINUTE)
    assert rig.way.subjects == ["RESOLVED: example.com. verification-failed"]
    assert "fired only briefly" in rig.way.texts[0]


def test_a_higher_count_sends_nothing_and_a_new_cause_not_immediately(rig: Rig) -> None:
    rig.events.raise_event("signing-failed", ZONE, "3 signatures failed")
    rig.go(MINUTE)
    for number in range(40):
        rig.events.raise_event("signing-failed", ZONE, f"{number} signatures failed")
        rig.go(MINUTE)
    assert len(rig.way.sent) == 1, "numbers are no news"
    rig.events.raise_event("signing-failed", ZONE, "the token is gone")
    rig.go(25 * MINUTE, step=60)
    assert rig.way.subjects[1:] == ["CHANGED: ERROR example.com. signing-failed"]
    assert "the token is gone" in rig.way.texts[1]
    assert "seen 42 times" in rig.way.texts[1]


def test_a_worse_alert_is_sent_soon_even_if_it_was_acknowledged(rig: Rig) -> None:
    rig.events.raise_event("secondary-lagging", ZONE, "behind", subject="ns1")
    rig.go(6 * MINUTE)
    rig.events.acknowledge("secondary-lagging", ZONE, "alice")
    rig.events.raise_event("secondary-lagging", ZONE, "behind", subject="ns1", severity="critical")
    rig.go(2 * MINUTE)
    assert rig.way.subjects[1:] == ["CHANGED: CRITICAL example.com. secondary-lagging (ns1)"]
    assert "The severity increased from warning." in rig.way.texts[1]


def test_what_fires_together_is_one_mail_worst_first(rig: Rig) -> None:
    for server in ("ns1", "ns2"):
        rig.events.raise_event("secondary-unreachable", ZONE, f"{server}: timeout", subject=server)
    rig.events.raise_event("signer-unreachable", None, "refused")
    rig.events.raise_event("runway-low", ZONE, "2.0 h")
    rig.go(10 * MINUTE)
    assert rig.way.subjects == ["CRITICAL example.com. runway-low and 3 more"]
    text = rig.way.texts[0]
    assert text.index("runway-low") < text.index("signer-unreachable") < text.index("secondary-unreachable")
    rig.events.resolve("secondary-unreachable", ZONE, None)
    rig.events.resolve("signer-unreachable", None)
    rig.go(2 * MINUTE)
    assert rig.way.subjects[1:] == ["RESOLVED: daemon signer-unreachable and 2 more"]


def test_thousands_of_zones_are_one_short_mail(rig: Rig) -> None:
    for number in range(2_000):
        rig.events.raise_event("secondary-lagging", f"z{number:05}.example.", "behind", subject="ns1")
    rig.go(5 * MINUTE, step=MINUTE)
    (mail,) = rig.way.mails
    assert mail["Subject"].endswith("and 1999 more")
    assert "and 1980 more of this kind; all: dnssecd alerts list" in mail.get_content()
    assert len(rig.way.sent[0].body) < 10_000


def test_an_alert_that_comes_and_goes_does_not_ring_each_time(rig: Rig) -> None:
    for _ in range(60):
        rig.events.raise_event("secondary-unreachable", ZONE, "timeout", subject="ns1")
        rig.go(6 * MINUTE, step=30)
        rig.events.resolve("secondary-unreachable", ZONE, "ns1")
        rig.go(30, step=30)
    assert len(rig.way.sent) < 5, "over for half a minute is not over"


def test_no_more_than_some_mails_an_hour_and_none_is_lost(rig: Rig) -> None:
    zones = [f"z{number}.example." for number in range(40)]
    for zone in zones:
        rig.events.raise_event("input-error", zone, "cut")
        rig.go(2 * MINUTE, step=60)
    assert len(rig.way.sent) <= 2 * PER_HOUR_MAX
    rig.go(HOUR, step=60)
    told = "".join(rig.way.texts)
    assert all(zone in told for zone in zones)


def test_critical_alerts_do_not_wait_for_the_hour_to_end(rig: Rig) -> None:
    for number in range(PER_HOUR_MAX + 3):
        rig.events.raise_event("input-error", f"z{number}.example.", "cut")
        rig.go(2 * MINUTE, step=60)
    rig.events.raise_event("verification-failed", ZONE, "bad RRSIG")
    rig.go(70)
    assert rig.way.subjects[-1].startswith("CRITICAL example.com. verification-failed")


def test_reminders_and_escalation_until_acknowledged(rig: Rig) -> None:
    rig.events.raise_event("ds-missing", ZONE, "no DS")
    rig.go(DAY + HOUR, step=600)
    assert rig.way.subjects == [
        "ERROR example.com. ds-missing",
        "ESCALATED: ERROR example.com. ds-missing",
    ]
    escalated = rig.way.mails[1]
    assert (escalated["To"], escalated["Cc"]) == ("boss@example.com", "dns-ops@example.com")
    rig.go(DAY, step=600)
    assert rig.way.subjects[2:] == ["REMINDER 1: ERROR example.com. ds-missing"]
    assert "boss@example.com" in rig.way.sent[2].recipients, "who was called in hears of it until it is over"
    rig.events.acknowledge("ds-missing", ZONE, "alice")
    rig.go(10 * DAY, step=600)
    assert rig.way.subjects[3:] == ["ACKNOWLEDGED by alice: example.com. ds-missing"]
    rig.events.resolve("ds-missing", ZONE)
    rig.go(2 * MINUTE)
    assert rig.way.subjects[4:] == ["RESOLVED: example.com. ds-missing"]
    assert "boss@example.com" in rig.way.sent[4].recipients


def test_acknowledged_in_time_is_not_escalated(rig: Rig) -> None:
    rig.events.raise_event("ds-missing", ZONE, "no DS")
    rig.go(HOUR, step=60)
    rig.events.acknowledge("ds-missing", ZONE, "alice")
    rig.go(10 * DAY, step=600)
    assert len(rig.way.sent) == 1


def test_expiry_cannot_be_muted_and_escalates_before_it_is_too_late(rig: Rig) -> None:
    rig.deadline = NIGHT + 6 * HOUR
    rig.events.raise_event("runway-low", ZONE, "6.0 h")
    rig.go(MINUTE)
    rig.events.acknowledge("runway-low", ZONE, "alice")
    rig.go(3 * HOUR, step=60)
    at = [subject.partition(":")[0] for subject in rig.way.subjects]
    assert at[1:3] == ["REMINDER 1", "REMINDER 2"], "acknowledged, and yet"
    assert "ESCALATED" in at, "half-way to the expiry, not after a day"
    assert "boss@example.com" in rig.way.sent[-1].recipients
    count = len(at)
    rig.go(3 * HOUR, step=60)
    assert len(rig.way.sent) - count > 5, "more often as the time comes near"
    rig.go(5 * HOUR, step=60)
    assert rig.way.subjects[-1].startswith("REMINDER"), "and every hour after it"


def test_info_is_in_the_digest_only(rig: Rig) -> None:
    rig.events.raise_event("notify-unanswered", ZONE, "x", subject="ns1", severity="info")
    rig.go(DAY, step=600)
    assert rig.way.sent == []


def test_a_restart_tells_nothing_twice_and_loses_nothing(rig: Rig) -> None:
    rig.events.raise_event("input-error", ZONE, "cut")
    rig.go(2 * MINUTE)
    rig.events.raise_event("disk-low", None, "3 MiB")
    rig.go(30)
    rig.restart()
    rig.go(2 * MINUTE)
    assert rig.way.subjects == ["ERROR example.com. input-error", "ERROR daemon disk-low"]
    rig.events.resolve("input-error", ZONE)
    rig.events.resolve("disk-low", None)
    rig.events.flush()
    rig.restart()
    rig.go(2 * MINUTE)
    assert rig.way.subjects[2:] == ["RESOLVED: daemon disk-low and 1 more"]
    assert (
        rig.way.mails[2]["References"].split() == [mail["Message-ID"] for mail in rig.way.mails[1::-1]][::-1]
    )


def test_events_from_before_alerts_were_configured_are_sent(tmp_path: Path) -> None:
    rig = Rig(tmp_path, FakeWay())
    configured = rig.engine.outbox
    rig.engine.use(replace(configured, channels={}))
    rig.events.raise_event("input-error", ZONE, "cut")
    rig.go(10 * MINUTE)
    assert rig.way.sent == []
    rig.engine.use(configured)
    rig.go(2 * MINUTE)
    assert rig.way.subjects == ["ERROR example.com. input-error"]
    rig.stop()


def test_mail_down_for_days_then_up(rig: Rig) -> None:
    rig.way.fate = down
    rig.events.raise_event("ds-missing", ZONE, "no DS")
    rig.go(20 * MINUTE)
    assert rig.events.is_firing("alert-undeliverable", None, "mail")
    assert rig.metric("way_working", way="mail") == 0
    rig.go(3 * DAY, step=300)
    waiting = rig.engine.status()[0]["waiting"]
    assert 0 < waiting <= 4, "reminders of the same thing do not pile up"
    assert rig.engine.status()[0]["error"] == "connection refused"
    rig.way.fate = up
    rig.go(20 * MINUTE)
    assert not rig.events.is_firing("alert-undeliverable", None, "mail")
    assert rig.way.subjects[0] == "ERROR example.com. ds-missing"
    assert rig.engine.status()[0]["waiting"] == 0
    assert rig.metric("way_working", way="mail") == 1


def test_a_way_that_is_down_is_told_by_the_others(tmp_path: Path) -> None:
    mail, webhook = FakeWay("mail", fate=down), FakeWay("webhook")
    rig = Rig(tmp_path, mail, webhook)
    rig.events.raise_event("ds-missing", ZONE, "no DS")
    rig.go(10 * MINUTE)
    bodies = [parcel.body.decode() for parcel in webhook.sent]
    assert ["alert-undeliverable" in body for body in bodies] == [False, True]
    assert rig.engine.store.queue("mail").waiting == 1, "it is not told that it is down"
    mail.fate = up
    rig.go(30 * MINUTE)
    assert mail.subjects == [
        "ERROR example.com. ds-missing",
        "RESOLVED: daemon alert-undeliverable (mail)",
    ]
    rig.stop()


def test_a_message_rejected_permanently_is_sent_again_in_another(rig: Rig) -> None:
    def reject(parcel: Parcel) -> Sent:
        raise Rejected("550 no")

    rig.way.fate = reject
    rig.events.raise_event("ds-missing", ZONE, "no DS")
    rig.go(2 * MINUTE)
    assert rig.events.is_firing("alert-undeliverable", None, "mail")
    assert rig.engine.store.queue("mail").waiting == 0
    assert rig.metric("deliveries_total", way="mail", result="rejected") == 1
    rig.way.fate = up
    rig.go(2 * HOUR, step=60)
    assert rig.way.subjects[0] == "REMINDER 1: ERROR example.com. ds-missing"
    assert not rig.events.is_firing("alert-undeliverable", None, "mail")


def test_one_bad_recipient_keeps_no_other_from_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path, mail=replace(MAIL, to=("a@example.com", "b@example.com", "c@example.com")))
    rig.way.fate = lambda parcel: Sent({"b@example.com": "451 later"}, {"c@example.com": "550 unknown"})
    rig.events.raise_event("ds-missing", ZONE, "no DS")
    rig.go(60)
    assert rig.events.is_firing("alert-undeliverable", None, "mail to c@example.com")
    rig.way.fate = up
    rig.go(2 * MINUTE)
    assert [parcel.recipients for parcel in rig.way.sent[:2]] == [
        ("a@example.com", "b@example.com", "c@example.com"),
        ("b@example.com",),
    ]
    assert rig.way.sent[0].id == rig.way.sent[1].id
    rig.stop()


def test_digest_proves_delivery(tmp_path: Path) -> None:
    rig = Rig(tmp_path, mail=replace(MAIL, heartbeat="daily"))
    rig.facts = lambda: Facts(served=12, waiting=1, runway=(13 * DAY, ZONE))
    rig.go(70)
    assert rig.way.subjects == ["hidden1: all well, 13 zones"], "the first soon after the start"
    assert rig.way.mails[0]["Date"].datetime.timestamp() == NIGHT + 60
    rig.restart()
    rig.go(2 * DAY, step=600)
    hours = [mail["Date"].datetime.strftime("%H:%M") for mail in rig.way.mails[1:]]
    assert [hour[:2] for hour in hours] == ["06", "06"]
    rig.stop()


def test_a_weekly_digest_comes_on_mondays_and_a_missed_one_at_the_start(tmp_path: Path) -> None:
    rig = Rig(tmp_path, mail=replace(MAIL, heartbeat="weekly"))
    rig.go(8 * DAY, step=1800)
    days = [mail["Date"].datetime.strftime("%a %H") for mail in rig.way.mails]
    assert days == ["Tue 22", "Mon 06"]
    rig.clock.advance(9 * DAY)
    rig.restart()
    rig.go(60)
    assert len(rig.way.sent) == 3
    rig.stop()


def test_a_damaged_database_is_renamed_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "alerts.sqlite"
    path.write_bytes(b"this is no database, and long enough to be looked at" * 100)
    rig = Rig(tmp_path)
    rig.go(MINUTE)
    assert rig.way.subjects == ["CRITICAL daemon store-failed (alerts)"]
    assert (tmp_path / "alerts.sqlite.damaged").exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    rig.stop()


def test_a_newer_database_is_left_alone_and_alerts_go_out(tmp_path: Path) -> None:
    path = tmp_path / "alerts.sqlite"
    AlertStore(path, Alert).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = path.read_bytes()
    rig = Rig(tmp_path)
    rig.events.raise_event("disk-low", None, "3 MiB")
    rig.go(2 * MINUTE)
    assert rig.way.subjects == ["CRITICAL daemon store-failed (alerts) and 1 more"]
    assert path.read_bytes() == before
    rig.stop()


def test_a_full_disk_is_reported_once(rig: Rig) -> None:
    def refuse() -> bool:
        return False

    real, rig.engine.store.back_to_disk = rig.engine.store.back_to_disk, refuse  # type: ignore[method-assign]
    rig.engine.store._db.execute("PRAGMA query_only = ON")  # every write fails
    rig.events.raise_event("disk-low", None, "0 MiB are free")
    rig.go(5 * MINUTE)
    assert rig.way.subjects == ["CRITICAL daemon store-failed (alerts) and 1 more"]
    assert "disk-low" in rig.way.texts[0]
    rig.engine.store.back_to_disk = real  # type: ignore[method-assign]
    rig.go(3 * MINUTE)
    assert rig.way.subjects[1:] == ["RESOLVED: daemon store-failed (alerts)"]
    rig.restart()
    rig.go(5 * MINUTE)
    assert len(rig.way.sent) == 2, "what was noted in memory is on the disk now"


def test_a_clock_set_back_delays_nothing(rig: Rig) -> None:
    rig.events.raise_event("disk-low", None, "3 MiB")
    rig.go(10)
    rig.clock.step(-30 * DAY)
    rig.go(2 * MINUTE)
    assert rig.way.subjects == ["ERROR daemon disk-low"]
    rig.go(DAY + 10 * MINUTE, step=600)
    assert len(rig.way.sent) >= 2


def test_no_secret_and_nothing_that_drives_a_terminal_leaves(rig: Rig) -> None:
    rig.events.raise_event(
        "store-failed",
        ZONE,
        "x\x1b[31m\x07\r\nBcc: evil@example.com\n-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\n-----END PRIVATE KEY-----",
        subject="a\r\nBcc: evil@example.com",
    )
    rig.go(MINUTE)
    (mail,) = rig.way.mails
    assert mail["Bcc"] is None
    assert mail["Subject"].endswith("store-failed (a Bcc: evil@example.com)")
    text = rig.way.sent[0].body.decode()
    assert "MIGH" not in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_details_go_with_an_alert_and_their_failure_does_not_stop_it(rig: Rig) -> None:
    rig.details = lambda event: f"DS for {event.zone}\n  4711 13 2 ABCD"
    rig.events.raise_event("ds-missing", ZONE, "no DS")
    rig.go(MINUTE)
    assert "Details\nDS for example.com.\n  4711 13 2 ABCD\n" in rig.way.texts[0]
    rig.details = lambda event: str(1 / 0)
    rig.events.raise_event("disk-low", None, "3 MiB")
    rig.go(2 * MINUTE)
    assert len(rig.way.sent) == 2


def test_an_address_that_cannot_be_written_stops_no_other_way(tmp_path: Path) -> None:
    webhook = FakeWay("webhook")
    rig = Rig(tmp_path, FakeWay(), webhook, mail=replace(MAIL, to=("a@b@c d",)))
    rig.events.raise_event("ds-missing", ZONE, "no DS")
    rig.go(5 * MINUTE)
    assert b"ds-missing" in webhook.sent[0].body
    assert rig.events.is_firing("alert-undeliverable", None, "mail")
    rig.stop()
