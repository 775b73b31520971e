"""Convert a note into the message for each configured channel."""

from __future__ import annotations

import ssl
from email.errors import MessageError

from msgspec import Struct, field

from dnssecd.config.model import AlertsConfig, MailConfig
from dnssecd.ops.alerts import message, payload, text, words
from dnssecd.ops.alerts.channel_command import CommandChannel
from dnssecd.ops.alerts.channel_mail import MailChannel
from dnssecd.ops.alerts.channel_webhook import WebhookChannel
from dnssecd.ops.alerts.channels import Channel, ChannelName
from dnssecd.ops.alerts.lifecycle import Settings
from dnssecd.ops.alerts.note import Note, Sender, Written
from dnssecd.replacing import replace
from dnssecd.store.alert_queue import Delivery


class Unwritable(Exception):
    """A message cannot be written in the form that its channel needs."""


class Outbox(Struct, frozen=True):
    """The configured channels and the sender."""

    config: AlertsConfig
    sender: Sender
    channels: dict[ChannelName, Channel] = field(default_factory=dict)

    def message_id(self, at: float, *parts: str) -> str:
        """Return the Message-ID for *parts*, see :func:`message.message_id`."""
        mail = self.config.mail
        return message.message_id(self.sender.host, mail.sender if mail else "", at, *parts)

    def delivery(self, way: ChannelName, note: Note, id: str) -> Delivery | None:
        """Return *note* for *way*; None: nothing to send. A channel never carries the alert about its own failure.

        Raise Unwritable when an address cannot be written into a header.
        """
        kept = _without(note, way)
        if not kept.due:
            return None
        try:
            return self._delivery(way, kept, id)
        except (ValueError, MessageError) as error:
            raise Unwritable(str(error)) from error

    def _delivery(self, way: ChannelName, note: Note, id: str) -> Delivery:
        written = text.write(note, self.sender)
        recipients: tuple[str, ...] = ()
        if way == "mail":
            assert self.config.mail is not None
            to, cc = _addressed(self.config.mail, note)
            recipients = tuple(dict.fromkeys((*to, *cc)))
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
                sealed=_sealed(written, self.config.mail, recipients, note.at),
            )
        else:
            body = payload.note_payload(note, id, self.sender, written.subject)
        covers = tuple(alert.event.key for alert, _ in note.due)
        return Delivery(way, note.kind, id, recipients, body, note.at, covers)

    def _name(self) -> str:
        return f"dnssecd on {words.one_line(self.sender.host, 64)}"

    def mail(self, kind: str, written: Written, at: float, id: str, to: tuple[str, ...] = ()) -> Delivery:
        """Return a mail that is not about an alert: digest or test. to: default as configured."""
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
            sealed=_sealed(written, config, to or config.to, at),
        )
        return Delivery("mail", kind, id, to or config.to, body, at)


def open_outbox(
    config: AlertsConfig, host: str, version: str, context: ssl.SSLContext | None = None
) -> Outbox:
    """Return the channels of *config*. context: trust for TLS; default: the system's."""
    channels: dict[ChannelName, Channel] = {}
    settings = Settings()
    escalate_to: tuple[str, ...] = ()
    if config.mail is not None:
        channels["mail"] = MailChannel(config.mail, host, context=context)
        settings, escalate_to = Settings(config.mail.escalate_after), config.mail.escalate_to
    if config.webhook is not None:
        channels["webhook"] = WebhookChannel(config.webhook, context=context)
    if config.command is not None:
        channels["command"] = CommandChannel(config.command)
    return Outbox(config, Sender(host, version, settings, escalate_to, config.docs_url), channels)


def _sealed(written: Written, mail: MailConfig, recipients: tuple[str, ...], at: float) -> bytes | None:
    """Return the MIME entity of a mail that is to be signed or encrypted; None: neither is configured."""
    if mail.smime.certificate is None and not mail.smime.recipients:
        return None
    from dnssecd.ops.alerts.smime import seal  # the library is large, and few use it

    return seal(written, mail, recipients, at)


def _without(note: Note, way: ChannelName) -> Note:
    pairs = [
        (due, details)
        for due, details in zip(note.due, note.details, strict=True)
        if note.kind == "over" or (due[0].event.name, due[0].event.subject) != ("alert-undeliverable", way)
    ]
    return replace(note, due=[due for due, _ in pairs], details=[details for _, details in pairs])


def _addressed(mail: MailConfig, note: Note) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return To and Cc: recipients of an escalation get all messages about the alert until it is over."""
    if note.kind == "escalation":
        return (mail.escalate_to, mail.to) if mail.escalate_to else (mail.to, ())
    escalated = any(alert.escalated_at is not None for alert, _ in note.due)
    return mail.to, mail.escalate_to if escalated else ()
