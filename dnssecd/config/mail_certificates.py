"""The certificates and keys for S/MIME of mail and trust anchors: read, and checked as receivers of mail check them.

Imported only where such files are configured: the library is large.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from dnssecd.bounded_file import TooLarge, read_at_most
from dnssecd.config.model_operation import SmimeConfig
from dnssecd.core.utc import minute

FILE_OCTETS_MAX = 1 << 18
SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class Unusable(Exception):
    """A certificate or key cannot be used; the message names the file and the reason."""


@dataclass(frozen=True, slots=True)
class Signer:
    """The certificate and key that sign, and the certificates between it and its root."""

    certificate: x509.Certificate
    key: SigningKey
    chain: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class Validity:
    """A certificate of the configuration: what it is for, its file, and its last moment (epoch seconds)."""

    use: str
    path: Path
    until: float


def read_signer(config: SmimeConfig, sender: str | None, now: float | None = None) -> Signer:
    """Return what signs mail of *sender*; None: what signs files. Raise Unusable.

    now: the certificate must be valid then (epoch seconds).
    """
    assert config.certificate is not None
    assert config.key is not None
    certificate, *chain = _certificates(config.certificate)
    key = _private_key(config.key)
    if _spki(certificate) != key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo):
        raise Unusable(f"{config.key} is not the key of the certificate in {config.certificate}")
    if now is not None:
        _check_time(certificate, config.certificate, now)
    _check_use(certificate, config.certificate, sender)
    return Signer(certificate, key, tuple(chain))


def read_recipient(path: Path) -> x509.Certificate:
    """Return the certificate that mail is encrypted to; also an expired one. Raise Unusable."""
    certificate = _certificates(path)[0]
    if not isinstance(certificate.public_key(), rsa.RSAPublicKey):
        raise Unusable(f"{path} has no RSA key: mail can be encrypted to RSA keys only")
    return certificate


def list_validity(config: SmimeConfig, signs: str = "mail") -> list[Validity]:
    """Return until when each certificate is valid; those that cannot be read are left out. signs: what is signed."""
    places = [(f"signs {signs}", config.certificate)] if config.certificate else []
    places += [(f"encrypts mail to {address}", path) for address, path in config.recipients.items()]
    found = []
    for use, path in places:
        with suppress(Unusable):
            certificate = _certificates(path)[0]
            found.append(Validity(use, path, certificate.not_valid_after_utc.timestamp()))
    return found


def certificates_for(addresses: Iterable[str], recipients: Mapping[str, Path]) -> list[x509.Certificate]:
    """Return the certificate of each recipient. Raise Unusable for one that has none or whose file is unusable."""
    found = []
    for address in addresses:
        path = recipients.get(address.lower())
        if path is None:
            raise Unusable(f"there is no certificate for {address} in recipient_certificates")
        found.append(read_recipient(path))
    return found


def _read(path: Path) -> bytes:
    try:
        return read_at_most(path, FILE_OCTETS_MAX)
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None
    except TooLarge:
        raise Unusable(f"{path} is larger than a certificate or key can be") from None


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise Unusable(f"{path} is not a certificate in PEM form: {error}") from None


def _private_key(path: Path) -> SigningKey:
    content = _read(path)
    try:
        key = load_pem_private_key(content, None)
    except TypeError:
        raise Unusable(
            f"{path} is encrypted: write it without a passphrase, readable for the daemon only"
        ) from None
    except Exception:  # the library's text may quote the key
        raise Unusable(f"{path} is not a private key in PEM form") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise Unusable(f"{path} is neither an RSA nor an ECDSA key")
    return key


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_time(certificate: x509.Certificate, path: Path, now: float) -> None:
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    if moment > certificate.not_valid_after_utc:
        raise Unusable(
            f"the certificate in {path} expired at {minute(certificate.not_valid_after_utc.timestamp())}"
        )
    if moment < certificate.not_valid_before_utc:
        begin = minute(certificate.not_valid_before_utc.timestamp())
        raise Unusable(f"the certificate in {path} is valid from {begin} on only")


def _check_use(certificate: x509.Certificate, path: Path, sender: str | None) -> None:
    """Check what receivers of signed mail check (RFC 8550 §4.4.2, §3); absent extensions restrict nothing."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        mailboxes = {name.lower() for name in names.get_values_for_type(x509.RFC822Name)}
    except x509.ExtensionNotFound:
        mailboxes = set()
    if mailboxes and sender is not None and sender.lower() not in mailboxes:
        raise Unusable(f"the certificate in {path} is for {', '.join(sorted(mailboxes))}, not for {sender}")
    try:
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not {ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(uses):
        raise Unusable(f"the certificate in {path} is not for S/MIME (no emailProtection)")
