"""A wildcard certificate by ACME: lego proves the name by RFC 2136 to the daemon, pebble looks at a secondary."""

from __future__ import annotations

import json
import os
import socket
import ssl
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.peers.dnssecd import Dnssecd
from tests.peers.named import Named
from tests.peers.paths import program
from tests.peers.process import LOOPBACK, ServerProcess, Servers, free_port
from tests.peers.tools import Result, run
from tests.peers.tsig import TsigKey
from tests.peers.updates import dynamic_zone_text
from tests.peers.world import World, start_world

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

ZONE = "acme.test."
CHALLENGE = f"_acme-challenge.{ZONE}"


class Pebble(ServerProcess):
    """Let's Encrypt's test server; it asks the server at port ``dns`` on loopback for challenges."""

    name = "pebble"

    def __init__(self, directory: Path, dns: int) -> None:
        super().__init__(directory)
        self.port, self.management, self.dns = free_port(), free_port(), dns
        self.certificate = directory / "server.pem"
        _self_signed(self.certificate, directory / "server.key")
        config = {
            "listenAddress": f"{LOOPBACK}:{self.port}",
            "managementListenAddress": f"{LOOPBACK}:{self.management}",
            "certificate": str(self.certificate),
            "privateKey": str(directory / "server.key"),
            "httpPort": free_port(),
            "tlsPort": free_port(),
        }
        (directory / "config.json").write_text(json.dumps({"pebble": config}))

    def command(self) -> list[str]:
        config = str(self.directory / "config.json")
        return [program("pebble"), "-strict", "-config", config, "-dnsserver", f"{LOOPBACK}:{self.dns}"]

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "PEBBLE_VA_SLEEPTIME": "2", "PEBBLE_WFE_NONCEREJECT": "20"}

    def is_ready(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex((LOOPBACK, self.port)) == 0

    def get(self, path: str) -> bytes:
        context = ssl.create_default_context(cafile=self.certificate)
        url = f"https://{LOOPBACK}:{self.management}{path}"
        with urllib.request.urlopen(url, timeout=10, context=context) as answer:
            return bytes(answer.read())

    def issuers(self) -> list[x509.Certificate]:
        """What it signs with: its intermediate, signed by its root."""
        return [x509.load_pem_x509_certificate(self.get(f"/{kind}/0")) for kind in ("intermediates", "roots")]


def _self_signed(certificate: Path, key_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pebble")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.touch(mode=0o600)
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )


def lego(home: Path, daemon: Dnssecd, pebble: Pebble, key: TsigKey, *domains: str) -> Result:
    """Order a certificate for ``domains``; lego finds the zone, and puts the challenge there, by the daemon."""
    environment = {
        "PATH": os.environ["PATH"],
        "LEGO_CA_CERTIFICATES": str(pebble.certificate),
        "RFC2136_NAMESERVER": f"{LOOPBACK}:{daemon.port}",
        "RFC2136_TSIG_ALGORITHM": f"{key.algorithm}.",
        "RFC2136_TSIG_KEY": key.name,
        "RFC2136_TSIG_SECRET": key.secret,
        "RFC2136_TTL": "60",
    }
    words = ["--path", str(home / "lego"), "--server", f"https://{LOOPBACK}:{pebble.port}/dir"]
    words += ["--email", "hostmaster@acme.test", "--accept-tos", "--dns", "rfc2136", "--dns.disable-cp"]
    words += ["--dns.resolvers", f"{LOOPBACK}:{daemon.port}"]
    for domain in domains:
        words += ["--domains", domain]
    return run("lego", *words, "run", timeout=120, env=environment)


@pytest.fixture
def world(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> World:
    """A file zone in which a key of its own may put TXT at one name, and a named secondary."""
    text = dynamic_zone_text(ZONE)
    made = start_world(servers, peer_dir, tsig_key, ZONE, text, kinds=[Named], start_daemon=False)
    grant = {"tsig": "acme.", "names": [CHALLENGE], "types": ["TXT"]}
    config = made.daemon.config
    config["tsig"]["acme."] = {"algorithm": "hmac-sha512", "secret": TsigKey().secret}
    config["zone"][ZONE] |= {"allow_update": [grant], "allow_query": ["127.0.0.0/8"]}
    made.daemon.start()
    made.daemon.wait_serial_other_than(ZONE, None)
    return made


def acme_key(world: World) -> TsigKey:
    written = world.daemon.config["tsig"]["acme."]
    return TsigKey("acme.", written["algorithm"], written["secret"])


def test_a_wildcard_certificate(servers: Servers, peer_dir: Path, world: World) -> None:
    daemon, named = world.daemon, world.secondaries["named"]
    before = world.check_agreement(daemon.serial(ZONE) or 0)
    pebble = servers.start(Pebble(peer_dir / "pebble", named.port))
    done = lego(peer_dir, daemon, pebble, acme_key(world), "acme.test", "*.acme.test")
    assert done.ok, f"{done}\n{pebble.log_tail()}\n{daemon.log_tail()}"

    (path,) = (peer_dir / "lego" / "certificates").glob("*acme.test.crt")
    certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"acme.test", "*.acme.test"}
    intermediate, root = pebble.issuers()
    certificate.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(root)

    serial = daemon.serial(ZONE)
    assert serial is not None
    named.wait_serial(ZONE, serial)
    after = daemon.zone_content(ZONE)
    assert not [line for line in after if line.startswith(CHALLENGE)], "the challenges are gone again"
    assert daemon.metric("dnssecd_updates_total", rcode="NOERROR") >= 4, "two challenges, put and taken away"
    unsigned = {line for line in after if line.split()[3] in ("A", "NS")}
    assert unsigned <= before
    world.check_followed_by_ixfr()
    world.check_export_and_referees(after)


def test_a_key_without_a_grant_gets_no_certificate(servers: Servers, peer_dir: Path, world: World) -> None:
    pebble = servers.start(Pebble(peer_dir / "pebble", world.secondaries["named"].port))
    serial = world.daemon.serial(ZONE)
    done = lego(peer_dir, world.daemon, pebble, world.key, "acme.test")
    assert not done.ok
    assert "REFUSED" in done.text
    done = lego(peer_dir, world.daemon, pebble, acme_key(world), "host1.acme.test")
    assert not done.ok, "the grant is for another name"
    assert world.daemon.serial(ZONE) == serial
