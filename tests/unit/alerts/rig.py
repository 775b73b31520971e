"""An engine on a fake clock, with ways that are told how to fare; what was sent is kept as parsed mail."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path

from prometheus_client import CollectorRegistry

from dnssecd.clock import FakeClock
from dnssecd.config.model import AlertsConfig, MailConfig
from dnssecd.ops.alerts.channels import Channel, ChannelName, Parcel, Sent
from dnssecd.ops.alerts.delivery import DeliveryLoop
from dnssecd.ops.alerts.digest import Facts
from dnssecd.ops.alerts.engine import Engine
from dnssecd.ops.alerts.lifecycle import Settings
from dnssecd.ops.alerts.metrics import AlertMetrics
from dnssecd.ops.alerts.note import Sender
from dnssecd.ops.alerts.outbox import Outbox
from dnssecd.ops.events import EventCore
from dnssecd.store.event_log import Event

#: 2023-11-14 22:13:20 UTC: a Tuesday night.
NIGHT = 1_700_000_000.0
ZONE = "example.com."

MAIL = MailConfig(
    host="mail.example.com",
    port=587,
    sender="dnssecd@example.com",
    to=("dns-ops@example.com",),
    tls="starttls",
    user=None,
    password=None,
    escalate_to=("boss@example.com",),
    escalate_after=86_400,
    heartbeat="never",
)


@dataclass
class FakeWay:
    """Keeps what it is given; *fate* may raise instead, or say who was refused."""

    name: ChannelName = "mail"
    target: str = "mail.example.com port 587"
    sent: list[Parcel] = field(default_factory=list)
    fate: Callable[[Parcel], Sent] = lambda parcel: Sent()

    async def send(self, parcel: Parcel) -> Sent:
        sent = self.fate(parcel)
        self.sent.append(parcel)
        return sent

    @property
    def mails(self) -> list[EmailMessage]:
        return [parse(parcel.body) for parcel in self.sent]

    @property
    def texts(self) -> list[str]:
        return [mail.get_content().replace("\r\n", "\n") for mail in self.mails]

    @property
    def subjects(self) -> list[str]:
        return [mail["Subject"].removeprefix("[dnssecd] ") for mail in self.mails]


def parse(body: bytes) -> EmailMessage:
    message = email.message_from_bytes(body, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


async def _deliver(delivery_loop: DeliveryLoop) -> None:
    while await delivery_loop.step() == 0:
        pass


def outbox(*channels: Channel, mail: MailConfig | None = MAIL) -> Outbox:
    """Speaks by *ways* (named as they are), with the addresses of *mail*."""
    settings = Settings(mail.escalate_after) if mail else Settings()
    sender = Sender("hidden1", "0.1.0", settings, mail.escalate_to if mail else ())
    return Outbox(AlertsConfig(mail=mail), sender, {way.name: way for way in channels})


class Rig:
    """Everything but the network. restart() is what kill -9 and a new start are to the databases."""

    def __init__(self, directory: Path, *channels: FakeWay, mail: MailConfig = MAIL) -> None:
        self.clock = FakeClock(NIGHT)
        self.directory = directory
        self.channels = channels or (FakeWay(),)
        self.mail_config = mail
        self.deadline: float | None = None
        self.details: Callable[[Event], str] = lambda event: ""
        self.valid_until: dict[str, float] = {}
        self.facts: Callable[[], Facts] = Facts
        self.loop = asyncio.new_event_loop()
        self.start()

    @property
    def way(self) -> FakeWay:
        return self.channels[0]

    def start(self) -> None:
        self.registry = CollectorRegistry()
        self.events = EventCore(self.directory / "events.sqlite", self.clock)
        self.engine = Engine(
            self.directory / "alerts.sqlite",
            self.events,
            self.clock,
            AlertMetrics(self.registry),
            outbox(*self.channels, mail=self.mail_config),
            deadline=lambda event: self.deadline if event.name == "runway-low" else None,
            details=lambda event: self.details(event),
            valid_until=lambda zone: self.valid_until.get(zone),
        )

    def stop(self) -> None:
        self._close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def restart(self) -> None:
        self._close()
        self.start()

    def _close(self) -> None:
        self.engine.close()
        self.events.close()

    def go(self, seconds: float = 0.0, step: float = 10.0) -> None:
        """Let *seconds* pass, looking and delivering every *step* seconds."""
        self.look()
        left = seconds
        while left > 0:
            self.clock.advance(min(step, left))
            left -= step
            self.look()

    def look(self) -> None:
        self.engine.tick(self.facts() if self.engine.digest_due() else None)
        for name, delivery_loop in self.engine.delivery_loops.items():
            if self.engine.store.next_try(name) is not None:
                self.loop.run_until_complete(_deliver(delivery_loop))

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"dnssecd_alert_{name}", labels)
