"""Mail that is signed and encrypted, read by OpenSSL; and what happens when certificates cannot be used."""

from __future__ import annotations

import datetime
import email
import subprocess
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dnssecd.clock import FakeClock
from dnssecd.config import ConfigErrors, parse
from dnssecd.config.mail_certificates import Unusable, read_signer
from dnssecd.config.model import AlertsConfig, MailConfig, SmimeConfig
from dnssecd.ops.alerts.certificates import EXPIRING, UNUSABLE, look_at_certificates
from dnssecd.ops.alerts.note import Sender, Written
from dnssecd.ops.alerts.outbox import Outbox
from dnssecd.ops.events import EventCore
from dnssecd.replacing import replace
from tests.unit.alerts.rig import MAIL, NIGHT

DAY = 86_400
TEXT = Written("[dnssecd] a subject", "Zone:      example.com.\nThe DS to hand over: 12345 13 2 ABCD\nÄ\n")
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(number: int) -> rsa.RSAPrivateKey:
    """Return one of a few keys: making one takes a while."""
    return rsa.generate_private_key(65_537, 2048)


class Place:
    """An authority in a directory, and the certificates it makes; times around ``NIGHT``."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.authority = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])
        self.root = home / "root.pem"
        self.root.write_bytes(self.make(self.authority, self.name, days=3650).public_bytes(Encoding.PEM))

    def make(
        self, key: Key, name: x509.Name, *, days: float, address: str = "", mail: bool = True
    ) -> x509.Certificate:
        start = datetime.datetime.fromtimestamp(NIGHT, datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start - datetime.timedelta(days=100))
            .not_valid_after(start + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(not address, None), critical=True)
        )
        if address:
            names = x509.SubjectAlternativeName([x509.RFC822Name(address)])
            use = ExtendedKeyUsageOID.EMAIL_PROTECTION if mail else ExtendedKeyUsageOID.SERVER_AUTH
            builder = builder.add_extension(names, critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        return builder.sign(self.authority, hashes.SHA256())

    def put(
        self, stem: str, key: Key, address: str, *, days: float = 300, mail: bool = True
    ) -> tuple[Path, Path]:
        """Write a certificate and its key; return both paths."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, stem)])
        certificate, private = self.home / f"{stem}.pem", self.home / f"{stem}.key"
        made = self.make(key, name, days=days, address=address, mail=mail)
        certificate.write_bytes(made.public_bytes(Encoding.PEM))
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate, private

    def openssl(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["openssl", *words], cwd=self.home, capture_output=True, check=False)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def signing(place: Place, key: Key | None = None, **more: float) -> MailConfig:
    certificate, private = place.put(
        "signer", key or ec.generate_private_key(ec.SECP256R1()), MAIL.sender, **more
    )  # type: ignore[arg-type]
    return replace(MAIL, smime=SmimeConfig(certificate, private))


def sent(mail: MailConfig, at: float = NIGHT) -> bytes:
    outbox = Outbox(AlertsConfig(mail=mail), Sender("hidden1", "0.1.0"))
    return outbox.mail("test", TEXT, at, "<1@example.com>").body


def verified(place: Place, message: bytes) -> bytes:
    """Return the text that ``openssl cms -verify`` shows for a valid signature."""
    (place.home / "mail").write_bytes(message)
    at = str(int(NIGHT))
    done = place.openssl(
        "cms", "-verify", "-in", "mail", "-CAfile", "root.pem", "-attime", at, "-purpose", "smimesign"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_openssl_verifies_the_signature_and_sees_a_change(place: Place, kind: str) -> None:
    message = sent(signing(place, rsa_key(0) if kind == "rsa" else None))
    parsed = email.message_from_bytes(message)
    assert parsed["Subject"] == TEXT.subject
    assert [part.get_content_type() for part in parsed.walk()] == [
        "multipart/signed", "text/plain", "application/pkcs7-signature"
    ]  # fmt: skip
    assert parsed.get_payload(0).get_payload(decode=True).decode() == TEXT.body.replace("\n", "\r\n")  # type: ignore[union-attr]
    assert b"12345 13 2 ABCD" in verified(place, message)
    (place.home / "mail").write_bytes(message.replace(b"12345", b"12346"))
    at = str(int(NIGHT))
    assert (
        place.openssl("cms", "-verify", "-in", "mail", "-CAfile", "root.pem", "-attime", at).returncode != 0
    )
    assert b"\n" not in message.replace(b"\r\n", b"")


def test_openssl_decrypts_with_the_key_of_each_recipient(place: Place) -> None:
    mail = replace(signing(place), to=("dns-ops@example.com", "Two@example.com"))
    one, _ = place.put("one", rsa_key(1), "dns-ops@example.com")
    two, _ = place.put("two", rsa_key(2), "two@example.com")
    smime = replace(mail.smime, recipients={"dns-ops@example.com": one, "two@example.com": two})
    message = sent(replace(mail, smime=smime))
    assert b"ABCD" not in message
    assert email.message_from_bytes(message).get_content_type() == "application/pkcs7-mime"
    (place.home / "sealed").write_bytes(message)
    for stem in ("one", "two"):
        for tool in ("cms", "smime"):
            done = place.openssl(
                tool, "-decrypt", "-in", "sealed", "-recip", f"{stem}.pem", "-inkey", f"{stem}.key"
            )
            assert done.returncode == 0, done.stderr
            assert b"12345 13 2 ABCD" in verified(place, done.stdout)
    place.put("other", rsa_key(0), "x@example.com")
    other = place.openssl("cms", "-decrypt", "-in", "sealed", "-recip", "other.pem", "-inkey", "other.key")
    assert other.returncode != 0


@pytest.mark.parametrize("what", ["expired", "gone", "mismatch", "address", "use", "passphrase", "nonsense"])
def test_what_cannot_sign_does_not_stop_the_mail(place: Place, what: str) -> None:
    mail = signing(place, days=-1 if what == "expired" else 300)
    certificate, key = mail.smime.certificate, mail.smime.key
    assert certificate is not None
    assert key is not None
    if what == "gone":
        key.unlink()
    if what == "mismatch":
        place.put("signer2", ec.generate_private_key(ec.SECP256R1()), MAIL.sender)[1].rename(key)
    if what == "address":
        mail = replace(mail, sender="other@example.com")
    if what == "use":
        place.put("signer", ec.generate_private_key(ec.SECP256R1()), MAIL.sender, mail=False)
    if what == "passphrase":
        place.openssl("ec", "-in", "signer.key", "-aes128", "-passout", "pass:secret", "-out", "signer.key")
    if what == "nonsense":
        key.write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    with pytest.raises(Unusable) as caught:
        read_signer(mail.smime, mail.sender, NIGHT)
    assert "c2VjcmV0" not in str(caught.value)
    parsed = email.message_from_bytes(sent(mail))
    assert parsed.get_content_type() == "text/plain"
    text = parsed.get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert " ".join(text.split()).startswith("This message is not signed: ")
    assert "12345 13 2 ABCD" in text


def test_what_cannot_be_encrypted_is_sent_without_its_content(place: Place) -> None:
    certificate, _ = place.put("one", ec.generate_private_key(ec.SECP256R1()), "dns-ops@example.com")
    mail = signing(place)
    mail = replace(mail, smime=replace(mail.smime, recipients={"dns-ops@example.com": certificate}))
    message = sent(mail)
    assert b"ABCD" not in message
    assert b"mail can be encrypted to RSA keys" in verified(place, message)
    assert b"dnssecd alerts list" in message


@pytest.fixture
def events(tmp_path: Path) -> Iterator[EventCore]:
    with closing(EventCore(tmp_path / "events.sqlite", FakeClock(NIGHT))) as core:
        yield core


def firing(events: EventCore) -> dict[str, str]:
    return {event.name: event.cause for event in events.firing()}


def test_an_alert_comes_before_a_certificate_expires(place: Place, events: EventCore) -> None:
    mail = signing(place, days=20)
    look_at_certificates(mail, events, NIGHT - 20 * DAY)
    assert firing(events) == {}
    look_at_certificates(mail, events, NIGHT)
    assert "signer.pem) expires at 2023-12-04 22:13 UTC, in 20d" in firing(events)[EXPIRING]
    look_at_certificates(mail, events, NIGHT + 21 * DAY)
    assert set(firing(events)) == {EXPIRING, UNUSABLE}
    assert "mail is not signed: the certificate in" in firing(events)[UNUSABLE]
    signing(place, days=400)
    look_at_certificates(mail, events, NIGHT + 21 * DAY)
    assert firing(events) == {}


def test_recipients_certificates_are_watched_too(place: Place, events: EventCore) -> None:
    path, _ = place.put("one", rsa_key(1), "dns-ops@example.com", days=5)
    mail = replace(MAIL, smime=SmimeConfig(recipients={"dns-ops@example.com": path}))
    look_at_certificates(mail, events, NIGHT)
    assert list(firing(events)) == [EXPIRING]
    path.unlink()
    look_at_certificates(mail, events, NIGHT)
    assert list(firing(events)) == [UNUSABLE]
    look_at_certificates(None, events, NIGHT)
    assert firing(events) == {}


CONFIG = """
[server]
[keystore.local]
type = "software"
[policy.default]
keystore = "local"
[zone."z.test."]
source = "dynamic"
[alerts]
docs_url = "https://docs.example.com/operations.html"
[alerts.mail]
from = "dnssecd@example.com"
to = ["dns-ops@example.com"]
"""


def warnings(place: Place, text: str) -> list[str]:
    found = parse(CONFIG + text, place.home / "config.toml")
    return [str(warning) for warning in found.warnings if "alerts" in str(warning)]


def test_the_configuration_names_faults_and_the_daemon_starts_all_the_same(place: Place) -> None:
    signing(place)
    good = 'sign_certificate = "signer.pem"\nsign_key = "signer.key"\n'
    (place.home / "signer.key").chmod(0o600)
    assert warnings(place, good) == []
    (place.home / "signer.key").chmod(0o644)
    assert "all users of this machine can read" in warnings(place, good)[0]
    assert "No such file" in warnings(place, good.replace("signer.pem", "none.pem"))[-1]
    for text, said in (
        ('sign_key = "signer.key"\n', "sign_certificate is missing"),
        (
            'recipient_certificates = { "x@example.com" = "a.pem" }\n',
            "no certificate for dns-ops@example.com",
        ),
    ):
        with pytest.raises(ConfigErrors) as caught:
            warnings(place, text)
        assert any(said in str(error) for error in caught.value.errors)


@pytest.mark.parametrize("url", ["docs/operations.md", "https://d.example/#x", "javascript:alert(1)"])
def test_the_address_of_the_documents_is_that_of_a_page(place: Place, url: str) -> None:
    with pytest.raises(ConfigErrors, match="is not the address of a page"):
        warnings(place, "") or parse(
            CONFIG.replace("https://docs.example.com/operations.html", url), place.home / "config.toml"
        )


def test_a_key_that_the_library_cannot_use_does_not_stop_the_mail(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(entity: bytes, signer: object) -> bytes:
        raise ValueError("no such curve")

    monkeypatch.setattr("dnssecd.ops.alerts.smime.sign", fail)
    assert b"This message is not signed: no such curve." in sent(signing(place))
