"""Build mail messages (RFC 5322) from text, with the headers of automatic mail.

Auto-Submitted (RFC 3834) and Precedence prevent answers of vacation programs; References group the messages about one
alert; the X-Dnssecd headers are for filters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage, MIMEPart
from email.policy import SMTP
from email.utils import format_datetime
from hashlib import sha256

from dnssecd.ops.alerts.note import Note, Written

_POLICY = SMTP.clone(cte_type="7bit")
_REFERENCES_MAX = 20


def message_id(host: str, sender: str, at: float, *parts: str) -> str:
    """Return a Message-ID that depends on *parts* only, so that a message sent twice is recognized."""
    digest = sha256("\0".join([host, f"{at:.6f}", *parts]).encode(errors="replace")).hexdigest()[:32]
    domain = sender.rpartition("@")[2]
    return f"<dnssecd.{digest}@{domain if domain.isascii() else 'localhost'}>"


def compose(
    written: Written,
    *,
    sender: str,
    name: str,
    to: Sequence[str],
    cc: Sequence[str] = (),
    at: float,
    message_id: str,
    references: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    sealed: bytes | None = None,
) -> bytes:
    """Return the message with CRLF line ends. name: display name of the sender. sealed: the MIME entity of S/MIME.

    Raise ValueError or email.errors.MessageError for an address that cannot be written.
    """
    message = EmailMessage(_POLICY)
    message["From"] = Address(name, addr_spec=sender)
    message["To"] = [Address(addr_spec=address) for address in to]
    if cc:
        message["Cc"] = [Address(addr_spec=address) for address in cc]
    message["Subject"] = written.subject
    message["Date"] = format_datetime(datetime.fromtimestamp(at, UTC))
    message["Message-ID"] = message_id
    if references:
        message["In-Reply-To"] = references[-1]
        message["References"] = " ".join(references)
    message["Auto-Submitted"] = "auto-generated"
    message["Precedence"] = "bulk"
    message["X-Auto-Response-Suppress"] = "All"
    for name, value in (headers or {}).items():
        message[name] = value
    if sealed is not None:
        return message.as_bytes().rstrip(b"\r\n") + b"\r\nMIME-Version: 1.0\r\n" + sealed
    _fill(message, written.body)
    return message.as_bytes()


def entity(written: Written) -> bytes:
    """Return the text as a MIME entity: its own headers and body, with CRLF line ends."""
    part = MIMEPart(_POLICY)
    _fill(part, written.body)
    return part.as_bytes()


def _fill(part: MIMEPart, body: str) -> None:
    ascii_short = body.isascii() and all(len(line) < 900 for line in body.splitlines())
    part.set_content(body, cte="7bit" if ascii_short else "quoted-printable")


def note_headers(note: Note) -> dict[str, str]:
    """Return the headers of a message about alerts: those of the worst alert."""
    event = note.due[0][0].event
    headers = {
        "X-Dnssecd-Event": event.name,
        "X-Dnssecd-Severity": event.severity,
        "X-Dnssecd-Zone": event.zone or "-",
        "X-Dnssecd-State": note.due[0][1],
    }
    if event.severity == "critical" and note.kind != "over":
        headers |= {"Importance": "high", "X-Priority": "1 (Highest)"}
    return headers


def references(threads: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the References: first and latest mail of each alert's thread; the latest of the worst alert is last."""
    found = [one for thread in reversed(list(threads)) for one in thread]
    unique = list(dict.fromkeys(reversed(found)))
    return list(reversed(unique[:_REFERENCES_MAX]))
