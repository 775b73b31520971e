"""The mails of one hand-over, from asking to the closing one, compared with golden/*.txt.

DNSSECD_WRITE_GOLDEN=1 writes them anew: read them then, as somebody who was woken up does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnssecd.core.keys.evidence import ParentSight
from dnssecd.core.keys.keyset import Keyset, ds_rdata
from dnssecd.daemon.parent.automation import DsAutomation
from tests.unit.alerts.rig import Rig
from tests.unit.core_parent import keysets
from tests.unit.core_parent.keysets import APEX
from tests.unit.daemon_parent.rig import BY_HAND, ZoneWithDs, settle

GOLDEN = Path(__file__).with_name("golden")
HOUR, DAY = 3_600, 86_400


class Life:
    """A zone whose parent is a person's business, with the alert engine's mails."""

    def __init__(self, home: Path) -> None:
        self.rig = Rig(home)
        self.automation = DsAutomation(self.rig.events, self.rig.clock, may_act=lambda zone: True)
        self.zone = ZoneWithDs()
        self.rig.details = lambda event: self.automation.details(self.zone, event)
        self.sights: tuple[ParentSight, ...] = ()

    def wanted(self, keyset: Keyset) -> None:
        async def say() -> None:
            self.automation.ds_wanted(self.zone, keyset, BY_HAND)
            await settle()

        self.rig.loop.run_until_complete(say())

    def has(self, *numbers: int) -> None:
        """The parent's one server has the DS of these keys from now on."""
        rdatas = tuple(ds_rdata(APEX, keysets.key(number).rdata) for number in numbers)
        self.sights = (ParentSight("ns1.nic.example [192.0.2.1]", rdatas, 300, int(self.rig.clock.now())),)
        self.poll()

    def poll(self) -> None:
        async def say() -> None:
            self.automation.ds_seen(self.zone, self.sights)
            await settle()

        self.rig.loop.run_until_complete(say())

    def go(self, seconds: float, step: float = 300) -> None:
        """Let time pass, the parent being asked now and then."""
        for _ in range(int(seconds // step)):
            self.rig.go(step, step=step)
            self.poll()

    @property
    def mails(self) -> list[str]:
        return [parcel.body.decode("ascii").replace("\r\n", "\n") for parcel in self.rig.way.sent]

    def close(self) -> None:
        self.rig.loop.run_until_complete(self.automation.close())
        self.rig.stop()


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = Life(tmp_path)
    yield made
    made.close()


def judge(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("DNSSECD_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def prose(mail: str) -> str:
    """A mail without the data, which are the same in each."""
    head, rule, data = mail.partition("-" * 72)
    return head + rule + "\n[…]\n" + data[data.rindex("\n-- \n") :] if rule else mail


def test_from_asking_to_closing(life: Life) -> None:
    life.has(1)
    life.wanted(keysets.replaced())
    life.has(1)
    life.go(HOUR / 4)
    assert len(life.mails) == 1
    judge("mail_asks", life.mails[0])

    life.go(DAY + HOUR)
    judge("mail_late", prose(life.mails[1]))
    assert "Subject: [dnssecd] CHANGED: ERROR example.com. ds-handover" in life.mails[1]

    life.go(2 * DAY)
    escalated = next(mail for mail in life.mails[2:] if "ESCALATED" in mail.partition("\n\n")[0])
    judge("mail_escalated", prose(escalated))
    assert "To: boss@example.com\nCc: dns-ops@example.com" in escalated

    life.go(2 * DAY)
    reminded = next(mail for mail in life.mails if "REMINDER" in mail.partition("\n\n")[0])
    judge("mail_reminds", prose(reminded))

    before = len(life.mails)
    life.has(2)
    life.go(HOUR)
    assert len(life.mails) == before + 1
    judge("mail_closes", life.mails[-1])
    life.go(2 * DAY)
    assert len(life.mails) == before + 1, "and that was all"


def test_a_removal_is_asked_for_and_closed_too(life: Life) -> None:
    life.has(1)
    life.wanted(keysets.insecure())
    life.go(HOUR / 4)
    judge("mail_asks_removal", prose(life.mails[0]))
    life.has()
    life.go(HOUR / 4)
    judge("mail_closes_removal", life.mails[-1])
