"""A real SMTP server (aiosmtpd) that fares as a test wants it to, and a certification authority of its own."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import email
import email.policy
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.peers.process import free_port

USER, PASSWORD = "dnssecd", "correct horse"


@dataclass
class Mail:
    """One mail as taken: envelope and content, and how it came."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    tls: bool
    user: str | None

    @property
    def id(self) -> str:
        return str(self.message["Message-ID"])

    @property
    def text(self) -> str:
        return str(self.message.get_content()).replace("\r\n", "\n")


@dataclass
class Fate:
    """What the server does. recipients: answer per address. data: answer to the message ("": take it).

    silent: say nothing after the message until the client goes. forget: take the message, and break off
    instead of saying so.
    """

    recipients: dict[str, str] = field(default_factory=dict)
    data: str = ""
    silent: bool = False
    forget: bool = False


class MailServer:
    """Listens on one port, also when it is started again. mails: what was taken, in order."""

    def __init__(
        self, tls: str = "none", context: ssl.SSLContext | None = None, *, auth: bool = False
    ) -> None:
        self.port = free_port()
        self.mails: list[Mail] = []
        self.fate = Fate()
        self.auths: list[str] = []
        self.came = threading.Condition()
        self._tls, self._context, self._auth = tls, context, auth
        self._controller: Controller | None = None

    def start(self) -> None:
        more: dict[str, Any] = {}
        if self._tls == "tls":
            more["ssl_context"] = self._context
        elif self._tls == "starttls":
            more |= {"tls_context": self._context, "require_starttls": True}
        if self._auth:
            more |= {"authenticator": self._authenticate, "auth_required": True}
            more |= {"auth_require_tls": self._tls == "starttls"}  # it does not see that "tls" is secure, too
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, ready_timeout=10, **more)
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    @contextlib.contextmanager
    def running(self) -> Iterator[MailServer]:
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def wait(self, count: int, timeout: float = 30.0) -> list[Mail]:
        """The mails, once there are *count*."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.mails) >= count, timeout), [m.text for m in self.mails]
            return list(self.mails)

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.auths.append(mechanism)
        good = (data.login.decode(), data.password.decode()) == (USER, PASSWORD)
        return AuthResult(success=good, auth_data=data.login.decode(), handled=False)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.fate.recipients:
            return self.fate.recipients[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.fate.data:
            return self.fate.data
        if self.fate.silent:
            await asyncio.get_running_loop().create_future()
        assert isinstance(envelope.content, bytes)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        assert envelope.mail_from is not None
        assert server.transport is not None
        tls = server.transport.get_extra_info("sslcontext") is not None
        user = session.auth_data if session.authenticated else None
        mail = Mail(envelope.mail_from, list(envelope.rcpt_tos), message, tls, user)
        with self.came:
            self.mails.append(mail)
            self.came.notify_all()
        if self.fate.forget:
            server.transport.abort()
        return "250 OK"


class Authority:
    """Makes certificates for 127.0.0.1 and localhost."""

    def __init__(self, directory: Path) -> None:
        self.ca_file = directory / "ca.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        certificate = self._sign(self._name, self._key, ca=True)
        self.ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._directory = directory

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))

    def server(self) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        path = self._directory / "server.pem"
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(pem + self._sign(name, key, ca=False).public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
