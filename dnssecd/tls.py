"""TLS for transfers (RFC 9103): contexts, the judgement of a peer's certificate, and faults as data.

TLS 1.3 only, ALPN ``dot``. A peer is authenticated by the pin of its public key, by an authority and a name, or
by both. Certificates are files of operators: they are read when a context is made, never kept as text.
"""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dnssecd.tls_alert import AlertingContext

ALPN = "dot"
#: SHA-256 of a SubjectPublicKeyInfo in base64 (RFC 7858 §4.2 and appendix A).
_PIN = re.compile(r"[A-Za-z0-9+/]{43}=")
_FILE_OCTETS_MAX = 1 << 20
#: What ``cryptography`` raises for certificates of any octets.
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
)


class Identity(msgspec.Struct, frozen=True):
    """The files of a certificate (with its chain) and of its private key, PEM, paths as text."""

    certificate: str
    key: str


class PeerCheck(msgspec.Struct, frozen=True):
    """How a peer's certificate is judged.

    pins: its public key must have one of them. name: it must be for this name or address. ca: PEM file of
    authorities, or of the peer's own certificate; "": the system's authorities. At least pins or name is given.
    """

    name: str = ""
    ca: str = ""
    pins: tuple[str, ...] = ()

    @property
    def by_pin_only(self) -> bool:
        """Tell whether only the public key counts: issuer and dates do not (RFC 7858 §4.2)."""
        return not self.name and not self.ca


class TlsFault(StrEnum):
    """Why a TLS connection failed. The values are labels of metrics."""

    STALLED = "stalled"
    CERTIFICATE = "certificate"  # the peer's is refused here
    OUR_CERTIFICATE = "our-certificate"  # the peer refuses ours
    CLOSED = "closed"
    PROTOCOL = "protocol"
    NO_IDENTITY = "no-identity"  # we have no certificate that can be used
    FLOOD = "flood"


class TlsFailed(Exception):
    """A TLS connection failed: the fault, and what happened, without the name of the peer."""

    def __init__(self, fault: TlsFault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


class BadCertificate(ValueError):
    """A file with certificates or a key cannot be used; the text says which, and why."""


def is_pin(text: str) -> bool:
    """Tell whether a text is a pin: SHA-256 in base64."""
    return _PIN.fullmatch(text) is not None


def pin_of(certificate: bytes) -> str:
    """Return the pin of a certificate (DER)."""
    return _pin(x509.load_der_x509_certificate(certificate))


def _pin(certificate: x509.Certificate) -> str:
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


def read_certificates(path: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM file; raise BadCertificate."""
    try:
        with Path(path).open("rb") as file:
            octets = file.read(_FILE_OCTETS_MAX)
        return x509.load_pem_x509_certificates(octets)
    except OSError as error:
        raise BadCertificate(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise BadCertificate(f"{path} contains no certificate in PEM form, or a damaged one") from None


def server_context(identity: Identity, authorities: tuple[str, ...]) -> ssl.SSLContext:
    """Return the context of a listener; raise BadCertificate.

    authorities: PEM files; if there are any, clients are asked for a certificate, and one that they send must be
    valid by one of these files.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    _load_identity(context, identity)
    if authorities:
        context.verify_mode = ssl.CERT_OPTIONAL
        for path in authorities:
            _load_authorities(context, path)
    return context


def client_context(check: PeerCheck, identity: Identity | None) -> ResumingContext:
    """Return the context of connections to a peer; raise BadCertificate."""
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    _common(context)
    if identity is not None:
        _load_identity(context, identity)
    context.check_hostname = bool(check.name)
    if check.by_pin_only:
        context.verify_mode = ssl.CERT_NONE
    elif check.ca:
        _load_authorities(context, check.ca)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


class ResumingContext(AlertingContext):
    """A context for one peer that offers the peer's last session, if there is one, for resumption."""

    resumable: ssl.SSLSession | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Do as ``SSLContext.wrap_bio``, with the session to resume."""
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session or self.resumable)


def _context(protocol: int) -> ssl.SSLContext:
    context = AlertingContext(protocol)
    _common(context)
    return context


def _common(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3  # RFC 9103 §7.1
    context.set_alpn_protocols([ALPN])


def _load_identity(context: ssl.SSLContext, identity: Identity) -> None:
    read_certificates(identity.certificate)
    try:
        # An encrypted key would make OpenSSL ask at a terminal.
        context.load_cert_chain(identity.certificate, identity.key, password=_no_password)
    except ssl.SSLError as error:
        what = "is not the key of" if error.reason == "KEY_VALUES_MISMATCH" else "cannot be used with"
        reason = f" ({error.reason})" if error.reason else ""
        raise BadCertificate(f"{identity.key} {what} {identity.certificate}{reason}") from None
    except OSError as error:
        raise BadCertificate(f"{identity.key} cannot be read: {error.strerror or error}") from None


def _no_password() -> str:
    raise OSError("it is encrypted; dnssecd needs a key file without a passphrase")


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    read_certificates(path)
    try:
        context.load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise BadCertificate(f"{path} cannot be used: {error}") from None
    # A file may hold the peer's own certificate, or an intermediate authority, instead of a root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def judge_client(certificate: bytes | None, check: PeerCheck, now: float) -> str:
    """Return why a client's certificate is refused, "" if it is accepted.

    certificate: DER, verified by OpenSSL with the authorities of all peers; None: it sent none. now: epoch seconds.
    This binds the peer to its own authority, name and pins. Raise BadCertificate for a bad ``ca`` file.
    """
    if certificate is None:
        return "it sent no certificate"
    why = judge_verified(certificate, check, now)
    if why:
        return why
    try:
        found = x509.load_der_x509_certificate(certificate)
        names = names_of(found)
    except _UNREADABLE as error:
        return f"its certificate cannot be read: {error}"
    if check.name and check.name.lower().rstrip(".") not in names:
        return f"its certificate is for {', '.join(names) or 'no name'}, not for {check.name}"
    if check.ca and not _is_from(found, read_certificates(check.ca)):
        return f"its certificate is neither in {check.ca} nor issued by one in it"
    return ""


def judge_verified(certificate: bytes, check: PeerCheck, now: float) -> str:
    """Return why a certificate is refused whose issuer and name OpenSSL has verified as ``check`` wants it.

    Pins are checked, and the dates: a resumed session has the certificate of its first handshake.
    """
    try:
        found = x509.load_der_x509_certificate(certificate)
        pin = _pin(found)
        begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    except _UNREADABLE as error:
        return f"its certificate cannot be read: {error}"
    if check.pins and pin not in check.pins:
        return f"its public key has the pin {pin}, which is not configured"
    if check.by_pin_only:
        return ""
    moment = datetime.fromtimestamp(now, UTC)
    if moment > ends:
        return f"its certificate expired at {ends:%Y-%m-%d %H:%M} UTC"
    if moment < begins:
        return f"its certificate is valid only from {begins:%Y-%m-%d %H:%M} UTC"
    return ""


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the names and addresses that a certificate is for (subjectAltName), lower-cased, without final dot."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return []
    texts = names.get_values_for_type(x509.DNSName)
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return [text.lower().rstrip(".") for text in (*texts, *addresses)]


def _is_from(certificate: x509.Certificate, authorities: list[x509.Certificate]) -> bool:
    """Tell whether a certificate is one of the given ones or issued directly by one.

    A listener accepts the authorities of all its peers; this binds a peer to its own ones.
    """
    return any(certificate == one or _issued_by(certificate, one) for one in authorities)


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, *_UNREADABLE):
        return False
    return True


#: Alerts by which a peer refuses our certificate; OpenSSL's names.
_ALERTS = {
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the issuer of our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "our certificate has expired for it",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it refuses our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "our certificate is bad for it",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "our certificate is not of a kind that it supports",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "our certificate is revoked for it",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it requires a certificate, and we sent none",
    "TLSV1_ALERT_ACCESS_DENIED": "it denies access to our certificate",
    "TLSV1_ALERT_DECRYPT_ERROR": "it cannot verify the signature of our certificate",
}


def fault_of(error: BaseException) -> TlsFailed:
    """Return the fault that an exception of a handshake or of a TLS stream means."""
    if isinstance(error, TlsFailed):
        return error
    if isinstance(error, TimeoutError) or "SSL handshake is taking longer" in str(error):
        return TlsFailed(TlsFault.STALLED, "the TLS handshake was not finished in time")
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsFailed(TlsFault.CERTIFICATE, f"its certificate is refused: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        if reason in _ALERTS:
            return TlsFailed(TlsFault.OUR_CERTIFICATE, f"{_ALERTS[reason]} ({reason})")
        return TlsFailed(TlsFault.PROTOCOL, f"the TLS handshake failed: {reason}")
    if isinstance(error, EOFError | ConnectionError):
        return TlsFailed(TlsFault.CLOSED, "the peer closed the connection in the TLS handshake")
    return TlsFailed(TlsFault.CLOSED, str(error) or type(error).__name__)
