"""``[alerts.*]``: the channels that deliver alerts."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from dnssecd.config.hooks import command
from dnssecd.config.mail_protection import read_smime
from dnssecd.config.model import DAY, AlertsConfig, MailConfig, Secret, WebhookConfig
from dnssecd.config.reader import Section
from dnssecd.config.values import Bad, exposed, read_secret_file

_MAILBOX = re.compile(r"[^@\s<>]+@[^@\s<>]+")
_HOST_PORT = re.compile(r"(?:\[([^\]]+)\]|([^:\s]+))(?::(\d{1,5}))?")


def alerts(root: Section, *, read_secrets: bool) -> AlertsConfig:
    """Return the channels for alerts. read_secrets: read the files with passwords and tokens."""
    section = root.table("alerts")
    if section is None:
        return AlertsConfig()
    mail, webhook, program = section.table("mail"), section.table("webhook"), section.table("command")
    found = AlertsConfig(
        mail=_mail(mail, read_secrets) if mail else None,
        webhook=_webhook(webhook, read_secrets) if webhook else None,
        command=_command(program) if program else None,
        docs_url=_docs_url(section),
    )
    section.finish()
    return found


def _mail(section: Section, read_secrets: bool) -> MailConfig:
    host, port = _smtp(section)
    section.require("from", 'write from = "dnssecd@example.com"')
    if section.require("to", 'write to = ["dns-ops@example.com"]') and section.raw("to") == []:
        section.error("to", "the list of recipients is empty", 'write to = ["dns-ops@example.com"]')
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
        smime=read_smime(section, read_files=read_secrets),
    )
    if user and mail.tls == "none" and not _is_loopback(host):
        section.error(
            "user", "the password would be sent without encryption", 'write tls = "starttls" or "tls"'
        )
    section.finish()
    return mail


def _docs_url(section: Section) -> str:
    """Return the address of the published docs/operations.md without fragment."""
    url = section.text("docs_url")
    try:
        parts = urlsplit(url)
        good = (
            parts.scheme in ("http", "https", "file")
            and not parts.fragment
            and url.isascii()
            and " " not in url
        )
    except ValueError:
        good = False
    if url and not good:
        section.error(
            "docs_url",
            f'"{url}" is not the address of a page',
            'write docs_url = "https://docs.example.com/dnssecd/operations.html"',
        )
        return ""
    return url


def _smtp(section: Section) -> tuple[str, int]:
    text = section.text("smtp", "localhost:25")
    match = _HOST_PORT.fullmatch(text)
    port = int(match[3] or 25) if match else 0
    if match is None or not 0 < port <= 65_535:
        section.error("smtp", f'"{text}" is not a mail server', 'write "mail.example.com:587"')
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
        section.error(key, f'"{text}" is not a mail address', 'write "name@example.com"')
    return text


def _secret(section: Section, key: str, read_secrets: bool) -> Secret | None:
    """Return the first line of the file named at *key*."""
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
        section.error("url", "is not an http(s) address", 'write url = "https://alerts.example.com/hook"')
    bearer = _secret(section, "bearer_file", read_secrets)
    section.finish()
    return WebhookConfig(url, bearer)


def _command(section: Section) -> tuple[str, ...] | None:
    section.require("run", 'write run = "/path/to/program"; it gets each alert as JSON on standard input')
    parts = command(section, "run")
    section.finish()
    return parts or None
