"""S/MIME 4.0 (RFC 8551): mail that is signed, and encrypted where the recipients' certificates are configured.

A certificate or key that cannot be used never stops a mail. What cannot be signed is sent unsigned and says so. What
cannot be encrypted is sent as a notice without content, because others must not read the content.
"""

from __future__ import annotations

import email.encoders
from collections.abc import Iterable, Sequence
from email.message import Message
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from dnssecd.config.mail_certificates import Signer, Unusable, certificates_for, read_signer
from dnssecd.config.model import MailConfig
from dnssecd.ops.alerts import message, words
from dnssecd.ops.alerts.note import Written
from dnssecd.ops.cms import sign_detached
from dnssecd.replacing import replace

_FAULTS = (ValueError, TypeError, UnsupportedAlgorithm)
_NEWLINE = b"\r\n"


def seal(written: Written, mail: MailConfig, recipients: Sequence[str], at: float) -> bytes:
    """Return the MIME entity of a mail to *recipients*: signed and encrypted as the configuration wants it.

    at: epoch seconds; certificates must be valid then.
    """
    smime = mail.smime
    signer: Signer | None = None
    if smime.certificate is not None:
        try:
            signer = read_signer(smime, mail.sender, at)
        except Unusable as error:
            written = _with_word(written, f"This message is not signed: {error}.")
    certificates: list[x509.Certificate] = []
    if smime.recipients:
        try:
            certificates = certificates_for(recipients, smime.recipients)
        except Unusable as error:
            written = _notice(written, str(error))
    entity = message.entity(written)
    if signer is not None:
        try:
            entity = sign(entity, signer)
        except _FAULTS as error:  # a key that the library cannot use after all
            entity = message.entity(_with_word(written, f"This message is not signed: {error}."))
    return encrypt(entity, certificates) if certificates else entity


def _with_word(written: Written, word: str) -> Written:
    return replace(written, body="\n".join([*words.wrap(word), "", written.body]))


def _notice(written: Written, why: str) -> Written:
    """Return what may be sent where the content cannot be encrypted."""
    lines = [
        *words.wrap(f"The content of this message is left out, because it cannot be encrypted: {why}."),
        "",
        "See it on the host that sent this:",
        "    dnssecd alerts list",
    ]
    return replace(written, body="\n".join(lines) + "\n")


def sign(entity: bytes, signer: Signer) -> bytes:
    """Return a multipart/signed entity (RFC 8551 §3.5.3) around an entity with CRLF line ends."""
    signature = sign_detached(entity, signer)
    boundary = b"=_dnssecd_" + sha256(entity + signature).hexdigest()[:40].encode()
    return _NEWLINE.join(
        (
            b'Content-Type: multipart/signed; protocol="application/pkcs7-signature";',
            b' micalg=sha-256; boundary="' + boundary + b'"',
            b"",
            b"This is a signed message (S/MIME).",
            b"--" + boundary,
            entity,
            b"--" + boundary,
            _attachment(signature, "pkcs7-signature", "smime.p7s"),
            b"--" + boundary + b"--",
            b"",
        )
    )


def encrypt(entity: bytes, recipients: Iterable[x509.Certificate]) -> bytes:
    """Return an enveloped-data entity (RFC 8551 §3.3), AES-256-CBC."""
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(entity)
    builder = builder.set_content_encryption_algorithm(algorithms.AES256)
    for certificate in recipients:
        builder = builder.add_recipient(certificate)
    content = builder.encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])
    return _attachment(content, "pkcs7-mime; smime-type=enveloped-data", "smime.p7m")


def _attachment(content: bytes, subtype: str, name: str) -> bytes:
    part = Message()
    part.set_payload(content)
    email.encoders.encode_base64(part)
    lines = [
        f'Content-Type: application/{subtype}; name="{name}"',
        "Content-Transfer-Encoding: base64",
        f'Content-Disposition: attachment; filename="{name}"',
        "",
        *str(part.get_payload()).splitlines(),
    ]
    return _NEWLINE.join(line.encode() for line in lines)
