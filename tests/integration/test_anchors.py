"""Trust anchors as dnssecd gives them out, validated with by real validators; signatures judged by OpenSSL."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from tests.integration.smallzone import ZONE, small_zone, wait_event
from tests.peers.certificates import Authority
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.nameserver import SecondaryZone, ask
from tests.peers.process import LOOPBACK, Servers, free_port, wait_until
from tests.peers.tools import run
from tests.peers.tsig import TsigKey
from tests.peers.unbound import Unbound
from tests.unit.core_parent.test_anchors import check_structure

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

FILES = ("anchors.ds", "anchors.named.conf", "anchors.unbound.conf", "anchors.xml")
FAST = {
    "dnskey_ttl": "2s",
    "signature_validity": "1h",
    "signature_refresh": "30m",
    "signature_jitter": "1m",
    "propagation_delay": "1s",
    "parent_propagation_delay": "1s",
    "parent_ds_ttl": "1s",
}
HOST = f"host1.{ZONE}"


class Island:
    """A daemon with a zone whose anchors are published, and a secondary that validators ask."""

    def __init__(self, servers: Servers, home: Path, key: TsigKey, **anchors: object) -> None:
        self.servers, self.home = servers, home
        self.directory = home / "www"
        self.directory.mkdir()
        source = home / "input.zone"
        source.write_text(small_zone().replace("$TTL 300", "$TTL 2").replace("604800 60", "604800 2"))
        ports = DaemonPorts.free()
        self.secondary = servers.start(Knotd(home / "knot", [SecondaryZone(ZONE, ports.dns, key)]))
        config = daemon_config(home, ports, key, {ZONE: source}, {"knot": self.secondary.port})
        config["server"]["clock_tolerance"] = "1s"
        config["policy"]["default"] |= FAST
        config["policy"]["follow"] = config["policy"]["default"] | {"rfc5011": True}
        config["zone"][ZONE]["anchors"] = True
        config["anchors"] = {"directory": self.directory, **anchors}
        self.daemon = servers.start(Dnssecd(home / "dnssecd", config, key))
        self.daemon.wait_serial_other_than(ZONE, None, 60)

    @property
    def files(self) -> Path:
        return self.directory / ZONE.rstrip(".")

    def given(self) -> list[int]:
        keys = self.daemon.cli_json("anchors", "show", ZONE)["keys"]
        return [key["tag"] for key in keys if key["standing"] == "given"]

    def wait_given(self) -> int:
        """Return the tag of the one anchor once it is given and written."""
        (tag,) = wait_until(self.given, "an anchor is given", 90)
        text = f" DS {tag} "
        path = self.files / "anchors.ds"
        wait_until(lambda: path.exists() and text in path.read_text(), "the anchor is written", 30)
        wait_until(lambda: (self.files / "anchors.xml").exists(), "the last file is written", 30)
        return int(tag)

    def configure(self) -> None:
        self.daemon.write_config()
        assert self.daemon.cli("config", "reload").ok

    # Validators

    def delv(self, anchors: Path) -> None:
        at = (f"@{LOOPBACK}", "-p", str(self.secondary.port), "-a", str(anchors), f"+root={ZONE}")
        answer = run("delv", *at, HOST, "A", timeout=30)
        assert "; fully validated" in answer.text, answer

    def unbound(self, name: str, anchors: list[str], include: str = "") -> None:
        """Unbound trusts DS or DNSKEY records, or what a further line of its configuration says."""
        home = self.home / name
        home.mkdir()
        resolver = _Unbound(home, ZONE, self.secondary.port, anchors)
        resolver.include = include
        self.servers.start(resolver)
        assert resolver.verdict(HOST, "A") == ("NOERROR", True), resolver.log_text()

    def named(self, anchors: Path) -> None:
        resolver = self.servers.start(_Resolver(self.home / "resolver", anchors, self.secondary.port))
        query = dns.message.make_query(HOST, "A", want_dnssec=True)
        query.flags |= dns.flags.AD
        answer = dns.query.udp(query, LOOPBACK, port=resolver.port, timeout=20)
        assert answer.rcode() == dns.rcode.NOERROR, resolver.log_text()
        assert answer.flags & dns.flags.AD, resolver.log_text()


class _Unbound(Unbound):
    include = ""

    def configuration(self) -> str:
        return super().configuration() + (f'include: "{self.include}"\n' if self.include else "")


class _Resolver(Named):
    """named that validates, and finds the zone at one server."""

    name = "resolver"

    def __init__(self, directory: Path, anchors: Path, authority: int) -> None:
        super().__init__(directory, [])
        self.anchors, self.authority = anchors, authority

    def configuration(self) -> str:
        text = super().configuration().replace("recursion no;", "recursion yes; allow-query { any; };")
        text = text.replace("dnssec-validation no;", "dnssec-validation yes; forward only;")
        text = text.replace(
            "forward only;", f"forward only; forwarders {{ {LOOPBACK} port {self.authority}; }};"
        )
        return f'include "{self.anchors}";\n' + text

    def is_ready(self) -> bool:
        return ask(self.port, ".", "SOA") is not None


@contextmanager
def web_server(directory: Path) -> Iterator[str]:
    """Serve a directory; yield its URL."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer((LOOPBACK, free_port()), partial(Handler, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://{LOOPBACK}:{server.server_port}/a%20b"
    server.shutdown()
    server.server_close()
    thread.join()


def openssl_verifies(content: Path, authority: Path) -> bool:
    """Judge a detached signature by both commands; files that are written meanwhile are judged again."""
    proof = content.with_name(content.name + ".p7s")
    more = ["-verify", "-binary", "-inform", "DER", "-in", proof, "-content", content, "-CAfile", authority]
    done: list[int] = []
    before: tuple[bytes, ...] = ()
    while before != (now := (content.read_bytes(), proof.read_bytes())):
        before = now
        done = [
            subprocess.run(["openssl", kind, *more], capture_output=True, check=False).returncode
            for kind in ("cms", "smime")
        ]
    assert len(set(done)) == 1, done
    return done[0] == 0


def test_validators_take_every_form(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """And each file has a signature that OpenSSL verifies; a changed file has not."""
    authority = Authority(peer_dir / "ca")
    signer = authority.issue("anchors.test")
    island = Island(servers, peer_dir, tsig_key, sign_certificate=signer.certificate, sign_key=signer.key)
    early = island.daemon.cli("anchors", "export", ZONE)
    assert early.ok or "no trust anchor to give now" in early.err, early
    tag = island.wait_given()
    out = peer_dir / "exported"
    assert island.daemon.cli("anchors", "export", ZONE, "-o", str(out)).ok
    for name in FILES:
        assert (out / name).read_bytes() == (island.files / name).read_bytes()
        assert (island.files / name).stat().st_mode & 0o777 == 0o644
        for place in (out, island.files):
            assert openssl_verifies(place / name, authority.path)
    assert island.files.stat().st_mode & 0o777 == 0o755

    island.delv(out / "anchors.named.conf")
    island.named(out / "anchors.named.conf")
    island.unbound("from-conf", [], include=str(out / "anchors.unbound.conf"))
    island.unbound("from-ds", (out / "anchors.ds").read_text().splitlines())
    document = ElementTree.parse(out / "anchors.xml").getroot()
    assert check_structure(document) == []
    (digest,) = document.findall("KeyDigest")
    ds = " ".join(digest.findtext(each) or "" for each in ("KeyTag", "Algorithm", "DigestType", "Digest"))
    assert int(digest.findtext("KeyTag") or "") == tag
    island.unbound("from-xml-ds", [f"{document.findtext('Zone')} DS {ds}"])
    public = f"{digest.findtext('Flags')} 3 {digest.findtext('Algorithm')} {digest.findtext('PublicKey')}"
    island.unbound("from-xml-key", [f"{document.findtext('Zone')} DNSKEY {public}"])

    changed = out / "anchors.xml"
    changed.write_text(changed.read_text().replace("validFrom", "validfrom"))
    assert not openssl_verifies(changed, authority.path)


def test_a_rollover_and_rfc_5011(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """The files follow the keys: the successor comes when it is safe; then validators follow by themselves."""
    island = Island(servers, peer_dir, tsig_key)
    daemon = island.daemon
    old = island.wait_given()
    assert daemon.cli("ds", "confirm", ZONE, "--key-tag", str(old)).ok
    assert daemon.cli("key", "rollover", ZONE, "--role", "ksk").ok
    new = wait_until(lambda: [tag for tag in island.given() if tag != old], "the successor is given", 90)[0]
    wait_until(lambda: f" DS {new} " in (island.files / "anchors.ds").read_text(), "it is written", 30)
    wait_until(lambda: "validUntil" in (island.files / "anchors.xml").read_text(), "XML too", 30)
    assert f" DS {old} " not in (island.files / "anchors.ds").read_text()
    island.delv(island.files / "anchors.named.conf")
    shown = daemon.cli("anchors", "show", ZONE)
    assert "another key replaces it" in shown.out

    daemon.config["zone"][ZONE]["policy"] = "follow"
    island.configure()
    wait_until(
        lambda: (island.files / "anchors.unbound.key").exists(), "the form for RFC 5011 is written", 30
    )
    assert " initial-ds " in (island.files / "anchors.named.conf").read_text()
    state = peer_dir / "follows" / "anchors.key"
    state.parent.mkdir()
    shutil.copy(island.files / "anchors.unbound.key", state)
    line = peer_dir / "follow.conf"
    line.write_text(f'server:\n    auto-trust-anchor-file: "{state}"\n')
    island.unbound("follower", [], include=str(line))


def test_what_is_published_is_looked_at(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    served = peer_dir / "served"
    served.mkdir()
    authority = Authority(peer_dir / "ca")
    signer = authority.issue("anchors.test")
    with web_server(served) as url:
        island = Island(
            servers,
            peer_dir,
            tsig_key,
            url=url,
            interval="1s",
            sign_certificate=signer.certificate,
            sign_key=signer.key,
        )
        daemon = island.daemon
        island.wait_given()
        assert url + "/small.test/anchors.xml" in (island.files / "anchors.xml").read_text()
        wait_event(daemon, "anchors-outdated")  # the web server has nothing yet
        assert not daemon.cli("anchors", "check", ZONE).ok
        shutil.copytree(island.directory, served / "a b", dirs_exist_ok=True)
        wait_event(daemon, "anchors-outdated", firing=False)
        assert daemon.cli("anchors", "check", ZONE).ok
        assert daemon.metric("dnssecd_zone_trust_anchors_current", zone=ZONE) == 1
        assert daemon.metric("dnssecd_zone_trust_anchors", zone=ZONE) == 1

        (served / "a b/small.test/anchors.ds").write_text("; an old copy\n")
        wait_event(daemon, "anchors-outdated")
        assert daemon.metric("dnssecd_zone_trust_anchors_current", zone=ZONE) == 0
        shown = daemon.cli("anchors", "check", ZONE)
        assert "anchors.ds is not what dnssecd wrote" in shown.out, shown
        shutil.copytree(island.directory, served / "a b", dirs_exist_ok=True)
        wait_event(daemon, "anchors-outdated", firing=False)

    wait_event(daemon, "anchors-outdated")  # the web server is gone
    kept = (island.files / "anchors.ds").read_bytes()

    # What others change is put right; what cannot be signed is not written.
    (island.files / "anchors.ds").write_text("; tampered with\n")
    wait_until(lambda: (island.files / "anchors.ds").read_bytes() == kept, "the file is put right", 30)
    proof = island.files / "anchors.ds.p7s"
    proof.write_bytes(b"no signature")
    wait_until(lambda: openssl_verifies(island.files / "anchors.ds", authority.path), "signed again", 30)
    signer.certificate.unlink()
    wait_event(daemon, "anchors-unpublished")
    assert (island.files / "anchors.ds").read_bytes() == kept
    assert not daemon.cli("anchors", "export", ZONE).ok
    authority.issue("anchors.test", ends=timedelta(days=3))
    wait_event(daemon, "anchors-unpublished", firing=False)
    shutil.rmtree(island.directory)
    wait_event(daemon, "anchors-unpublished")
    island.directory.mkdir()
    wait_event(daemon, "anchors-unpublished", firing=False)
    assert (island.files / "anchors.ds").read_bytes() == kept
    island.configure()
    wait_event(daemon, "anchors-certificate-expiring", "")
