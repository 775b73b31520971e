"""``[alerts.mail]``: the files for S/MIME. A file that cannot be used is a warning, because it must not stop alerts."""

from __future__ import annotations

from pathlib import Path

from dnssecd.config.model import SmimeConfig
from dnssecd.config.reader import Section
from dnssecd.config.values import exposed


def read_smime(section: Section, *, read_files: bool) -> SmimeConfig:
    """Return the settings for signed and encrypted mail. read_files: check the files, too."""
    smime = SmimeConfig(
        section.optional_path("sign_certificate"), section.optional_path("sign_key"), _recipients(section)
    )
    if (smime.certificate is None) != (smime.key is None):
        missing = "sign_certificate" if smime.certificate is None else "sign_key"
        section.error("", f"{missing} is missing", "give sign_certificate and sign_key, or neither")
        return SmimeConfig(recipients=smime.recipients)
    if read_files and (smime.certificate is not None or smime.recipients):
        _check_files(section, smime)
    return smime


def _recipients(section: Section) -> dict[str, Path]:
    """Return the certificates of all recipients; an error for a recipient that has none."""
    table = section.raw("recipient_certificates")
    if table is None:
        return {}
    if not isinstance(table, dict) or not all(isinstance(path, str) and path for path in table.values()):
        section.error(
            "recipient_certificates",
            "is not a table of files",
            'write { "dns-ops@example.com" = "FILE.pem" }',
        )
        return {}
    found = {address.lower(): Path(section.base, path) for address, path in table.items()}
    for key in ("to", "escalate_to"):
        for address in section.texts(key):
            if address.lower() not in found:
                section.error(
                    "recipient_certificates",
                    f"there is no certificate for {address}",
                    f'add "{address}" = "FILE.pem": a mail that goes to several is encrypted to all of them',
                )
    return found


def _check_files(section: Section, smime: SmimeConfig) -> None:
    """Warn of files that cannot be used. Times are checked while the daemon runs."""
    from dnssecd.config.mail_certificates import Unusable, read_recipient, read_signer

    if smime.key is not None:
        if told := exposed(smime.key):
            section.warn("sign_key", told, f"chmod o-r {smime.key}, and get a new key and certificate")
        try:
            read_signer(smime, section.text("from"))
        except Unusable as error:
            section.warn("sign_certificate", str(error), "mail is sent unsigned until this is corrected")
    for address, path in smime.recipients.items():
        try:
            read_recipient(path)
        except Unusable as error:
            section.warn(
                "recipient_certificates",
                str(error),
                f"mail to {address} is sent without its content until this is corrected",
            )
