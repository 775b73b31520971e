"""Watch the certificates that protect mail: an alert before one expires, and one when mail cannot be protected."""

from __future__ import annotations

from dnssecd.config.model import MailConfig
from dnssecd.core.utc import about, minute
from dnssecd.ops.events import EventCore

DAY_S = 86_400
#: The alert comes this long before a certificate expires (s).
NOTICE_S = 30 * DAY_S
#: Interval between looks (s).
LOOK_S = 3_600.0
EXPIRING, UNUSABLE = "mail-certificate-expiring", "mail-certificate-unusable"


def look_at_certificates(mail: MailConfig | None, events: EventCore, now: float) -> None:
    """Raise and resolve the events about the certificates of *mail*. now: epoch seconds. Reads files."""
    expiring: dict[str, str] = {}
    unusable: list[str] = []
    if mail is not None and (mail.smime.certificate is not None or mail.smime.recipients):
        expiring, unusable = _judge(mail, now)
    if unusable:
        events.raise_event(UNUSABLE, None, "; ".join(unusable))
    else:
        events.resolve(UNUSABLE)
    if expiring:
        events.raise_event(EXPIRING, None, "; ".join(expiring.values()))
    else:
        events.resolve(EXPIRING)


def _judge(mail: MailConfig, now: float) -> tuple[dict[str, str], list[str]]:
    """Return the certificates that expire soon, by file, and the faults of those that cannot be used."""
    from dnssecd.config.mail_certificates import Unusable, list_validity, read_recipient, read_signer

    faults = []
    if mail.smime.certificate is not None:
        try:
            read_signer(mail.smime, mail.sender, now)
        except Unusable as error:
            faults.append(f"mail is not signed: {error}")
    for address, path in mail.smime.recipients.items():
        try:
            read_recipient(path)
        except Unusable as error:
            faults.append(f"mail to {address} has no content: {error}")
    expiring = {}
    for found in list_validity(mail.smime):
        left = found.until - now
        if left < NOTICE_S:
            when = f"expires at {minute(found.until)}, in {about(left)}" if left > 0 else "has expired"
            expiring[str(found.path)] = f"the certificate that {found.use} ({found.path}) {when}"
    return expiring, faults
