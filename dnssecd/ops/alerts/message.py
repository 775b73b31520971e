"""From text to a message as it goes over SMTP (RFC 5322), with the headers of automatic mail.

Auto-Submitted (RFC 3834) and Precedence keep vacation programs from answering; References group what is said
about one alert; the X-Dnssecd headers are for filters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from hashlib import sha256

from dnssecd.ops.alerts.note import Note, Written

_POLICY = SMTP.clone(cte_type="7bit")
_REFERENCES_MAX = 20


def message_id(host: str, sender: str, at: float, *parts: str) -> str:
    """A Message-ID that is the same whenever the same is said: a message sent twice is seen to be one."""
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
) -> bytes:
    """The message, lines ended by CRLF. name: of the sender, for people.

    Raises ValueError or email.errors.MessageError where an address cannot be written.
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
    ascii_short = written.body.isascii() and all(len(line) < 900 for line in written.body.splitlines())
    message.set_content(written.body, cte="7bit" if ascii_short else "quoted-printable")
    return message.as_bytes()


def note_headers(note: Note) -> dict[str, str]:
    """Headers of a message about alerts: of the worst of them."""
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
    """What a message refers to: the first and latest of each alert's thread, the latest of the worst last."""
    found = [one for thread in reversed(list(threads)) for one in thread]
    unique = list(dict.fromkeys(reversed(found)))
    return list(reversed(unique[:_REFERENCES_MAX]))
