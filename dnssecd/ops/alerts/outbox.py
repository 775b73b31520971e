"""From a note to what is sent by each way that is configured."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from email.errors import MessageError

from dnssecd.config.model import AlertsConfig, MailConfig
from dnssecd.ops.alerts import message, payload, text, words
from dnssecd.ops.alerts.channel_command import CommandWay
from dnssecd.ops.alerts.channel_mail import MailWay
from dnssecd.ops.alerts.channel_webhook import WebhookWay
from dnssecd.ops.alerts.channels import Way, WayName
from dnssecd.ops.alerts.lifecycle import Settings
from dnssecd.ops.alerts.note import Note, Sender, Written
from dnssecd.store.alert_queue import Delivery


class Unwritable(Exception):
    """A message cannot be put into the form its way needs."""


@dataclass(frozen=True, slots=True)
class Office:
    """The configured ways, and in whose name is spoken."""

    config: AlertsConfig
    sender: Sender
    ways: dict[WayName, Way] = field(default_factory=dict)

    def message_id(self, at: float, *parts: str) -> str:
        mail = self.config.mail
        return message.message_id(self.sender.host, mail.sender if mail else "", at, *parts)

    def delivery(self, way: WayName, note: Note, id: str) -> Delivery | None:
        """*note* for *way*; None: nothing, for a way is not told by itself that it does not work.

        Raises Unwritable where an address cannot be written into a header.
        """
        kept = _without(note, way)
        if not kept.due:
            return None
        try:
            return self._delivery(way, kept, id)
        except (ValueError, MessageError) as error:
            raise Unwritable(str(error)) from error

    def _delivery(self, way: WayName, note: Note, id: str) -> Delivery:
        written = text.write(note, self.sender)
        recipients: tuple[str, ...] = ()
        if way == "mail":
            assert self.config.mail is not None
            to, cc = _addressed(self.config.mail, note)
            body = message.compose(
                written,
                sender=self.config.mail.sender,
                name=self._name(),
                to=to,
                cc=cc,
                at=note.at,
                message_id=id,
                references=message.references(alert.thread for alert, _ in note.due),
                headers=message.note_headers(note),
            )
            recipients = tuple(dict.fromkeys((*to, *cc)))
        else:
            body = payload.note_payload(note, id, self.sender, written.subject)
        covers = tuple(alert.event.key for alert, _ in note.due)
        return Delivery(way, note.kind, id, recipients, body, note.at, covers)

    def _name(self) -> str:
        return f"dnssecd on {words.one_line(self.sender.host, 64)}"

    def mail(self, kind: str, written: Written, at: float, id: str, to: tuple[str, ...] = ()) -> Delivery:
        """A mail that is about no alert: digest or test. to: default as configured."""
        config = self.config.mail
        assert config is not None
        body = message.compose(
            written,
            sender=config.sender,
            name=self._name(),
            to=to or config.to,
            at=at,
            message_id=id,
            headers={"X-Dnssecd-State": kind},
        )
        return Delivery("mail", kind, id, to or config.to, body, at)


def open_office(
    config: AlertsConfig, host: str, version: str, context: ssl.SSLContext | None = None
) -> Office:
    """The office for *config*. context: trust for TLS; default: the system's."""
    ways: dict[WayName, Way] = {}
    settings = Settings()
    escalate_to: tuple[str, ...] = ()
    if config.mail is not None:
        ways["mail"] = MailWay(config.mail, host, context=context)
        settings, escalate_to = Settings(config.mail.escalate_after), config.mail.escalate_to
    if config.webhook is not None:
        ways["webhook"] = WebhookWay(config.webhook, context=context)
    if config.command is not None:
        ways["command"] = CommandWay(config.command)
    return Office(config, Sender(host, version, settings, escalate_to), ways)


def _without(note: Note, way: WayName) -> Note:
    pairs = [
        (due, details)
        for due, details in zip(note.due, note.details, strict=True)
        if note.kind == "over" or (due[0].event.name, due[0].event.subject) != ("alert-undeliverable", way)
    ]
    return replace(note, due=[due for due, _ in pairs], details=[details for _, details in pairs])


def _addressed(mail: MailConfig, note: Note) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """To and Cc: whom an alert was escalated to hears of it until it is over."""
    if note.kind == "escalation":
        return (mail.escalate_to, mail.to) if mail.escalate_to else (mail.to, ())
    escalated = any(alert.escalated_at is not None for alert, _ in note.due)
    return mail.to, mail.escalate_to if escalated else ()
