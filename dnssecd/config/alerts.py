"""``[alerts.*]``: how alerts leave the machine."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from dnssecd.config.model import DAY, AlertsConfig, MailConfig, Secret, WebhookConfig
from dnssecd.config.reader import Section
from dnssecd.config.values import Bad, exposed, read_secret_file
from dnssecd.config.zones import command

_MAILBOX = re.compile(r"[^@\s<>]+@[^@\s<>]+")
_HOST_PORT = re.compile(r"(?:\[([^\]]+)\]|([^:\s]+))(?::(\d{1,5}))?")


def alerts(root: Section, *, read_secrets: bool) -> AlertsConfig:
    section = root.table("alerts")
    if section is None:
        return AlertsConfig()
    mail, webhook, program = section.table("mail"), section.table("webhook"), section.table("command")
    found = AlertsConfig(
        mail=_mail(mail, read_secrets) if mail else None,
        webhook=_webhook(webhook, read_secrets) if webhook else None,
        command=_command(program) if program else None,
    )
    section.finish()
    return found


def _mail(section: Section, read_secrets: bool) -> MailConfig:
    host, port = _smtp(section)
    section.require("from", 'write from = "dnssecd@example.com"')
    if section.require("to", 'write to = ["dns-ops@example.com"]') and section.raw("to") == []:
        section.error("to", "nobody is to get the mail", 'write to = ["dns-ops@example.com"]')
    user = section.text("user") or None
    if (user is None) != (not section.has("password_file")):
        missing = "user" if user is None else "password_file"
        section.error("", f"{missing} is missing", "give user and password_file, or neither")
    mail = MailConfig(
        host=host,
        port=port,
        sender=_mailbox(section, "from", section.text("from", "dnssecd@localhost.invalid")),
        to=_mailboxes(section, "to"),
        tls=section.choice("tls", ("none", "starttls", "tls"), "none"),
        user=user,
        password=_secret(section, "password_file", read_secrets),
        escalate_to=_mailboxes(section, "escalate_to"),
        escalate_after=section.duration("escalate_after", DAY, low=1),
        heartbeat=section.choice("heartbeat", ("daily", "weekly", "never"), "daily"),
    )
    if user and mail.tls == "none" and not _is_loopback(host):
        section.error(
            "user", "the password would cross the network in clear", 'write tls = "starttls" or "tls"'
        )
    section.finish()
    return mail


def _smtp(section: Section) -> tuple[str, int]:
    text = section.text("smtp", "localhost:25")
    match = _HOST_PORT.fullmatch(text)
    port = int(match[3] or 25) if match else 0
    if match is None or not 0 < port <= 65_535:
        section.error("smtp", f'"{text}" is no mail server', 'write "mail.example.com:587"')
        return "localhost", 25
    return match[1] or match[2], port


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _mailboxes(section: Section, key: str) -> tuple[str, ...]:
    return tuple(_mailbox(section, key, text) for text in section.texts(key))


def _mailbox(section: Section, key: str, text: str) -> str:
    if not _MAILBOX.fullmatch(text):
        section.error(key, f'"{text}" is no mail address', 'write "name@example.com"')
    return text


def _secret(section: Section, key: str, read_secrets: bool) -> Secret | None:
    """The first line of the file named at *key*."""
    path = section.optional_path(key)
    if path is None or not read_secrets:
        return None
    if told := exposed(path):
        section.warn(key, told, f"chmod o-r {path}, and change the secret")
    try:
        return Secret(read_secret_file(path).split(b"\n", 1)[0].rstrip(b"\r"))
    except Bad as bad:
        section.error(key, bad.what, bad.remedy)
        return None


def _webhook(section: Section, read_secrets: bool) -> WebhookConfig:
    section.require("url", 'write url = "https://alerts.example.com/hook"')
    url = section.text("url", "https://localhost/")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        section.error("url", "is no http(s) address", 'write url = "https://alerts.example.com/hook"')
    bearer = _secret(section, "bearer_file", read_secrets)
    section.finish()
    return WebhookConfig(url, bearer)


def _command(section: Section) -> tuple[str, ...] | None:
    section.require("run", 'write run = "/path/to/program"; it gets each alert as JSON on standard input')
    parts = command(section, "run")
    section.finish()
    return parts or None
