"""The status page of a real daemon: what it shows is what `dnssecd status` says; who may read it; its certificate."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.integration.smallzone import ZONE, small_zone, wait_event
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.named import Named
from tests.peers.nameserver import SecondaryZone
from tests.peers.process import LOOPBACK, Servers, free_port, wait_until
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

ZONES = [ZONE, "odd/name.test.", "c.test."]
TOKEN = "a-token-of-more-than-twenty-characters"


class Site:
    """The page of a daemon, asked over TLS with a token."""

    def __init__(self, port: int, certificate: Path, token: str) -> None:
        self._base, self.token = f"https://localhost:{port}", token
        self._context = ssl.create_default_context(cafile=str(certificate))

    def get(self, path: str) -> str:
        request = urllib.request.Request(
            f"{self._base}{path}", headers={"Authorization": f"Bearer {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=20, context=self._context) as answer:
            body: bytes = answer.read()
        return body.decode()

    def status(self, path: str = "/") -> int:
        try:
            self.get(path)
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def json(self, path: str) -> Any:
        return json.loads(self.get(path))


def make_certificate(home: Path) -> tuple[Path, Path]:
    crt, key = home / "page.crt", home / "page.key"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=localhost", "-addext", f"subjectAltName=DNS:localhost,IP:{LOOPBACK}"]
    command = ["openssl", "req", "-x509", *kind, *name, "-keyout", str(key), "-out", str(crt)]
    subprocess.run(command, check=True, capture_output=True)
    return crt, key


def test_the_page_of_a_daemon(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    files = {name: peer_dir / f"{number}.zone" for number, name in enumerate(ZONES)}
    for name, path in files.items():
        path.write_text(small_zone(names=2).replace(ZONE, name))
    ports, page, second = DaemonPorts.free(), free_port(), free_port()
    config = daemon_config(peer_dir, ports, tsig_key, files, {"ns1": second})
    crt, key = make_certificate(peer_dir)
    token = peer_dir / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    config["status_page"] = {
        "listen": f"{LOOPBACK}:{page}",
        "token_file": str(token),
        "certificate": str(crt),
        "key": str(key),
    }
    servers.start(
        Named(peer_dir / "ns1", [SecondaryZone(name, ports.dns, tsig_key) for name in ZONES[::2]], second)
    )
    daemon = servers.start(Dnssecd(peer_dir, config, tsig_key))
    site = Site(page, crt, TOKEN)

    def served() -> bool:
        if site.status("/status.json") != 200:  # the daemon is starting
            return False
        verdict = site.json("/status.json")["verdict"]
        return bool(verdict["zones_served"] == 3 and verdict["secondaries_current"] == 2)

    wait_until(served, "the page says that all zones are served", 60, 0.5)
    # One model: the page has what the command has.
    files[ZONE].write_text("@ SOA ns1 hostmaster 2 3600 600 604800 60\n@ NS ns1\nns1 NONSENSE\n")
    wait_event(daemon, "input-error", ZONE)

    def same() -> bool:
        shown, said = site.json("/status.json"), daemon.cli_json("status")
        unstable = ("runway_seconds",)
        verdicts = [{k: v for k, v in one["verdict"].items() if k not in unstable} for one in (shown, said)]
        return verdicts[0] == verdicts[1]

    wait_until(same, "the page and the command agree", 60, 1.0)
    overview = site.get("/")
    assert "unknown type NONSENSE" in overview
    assert site.json("/status.json?show=bad")["matching"] >= 1

    view = site.json(f"/zone.json?name={ZONE}&days=30")
    assert view["zone"]["serial"] == daemon.zone_status(ZONE)["serial"]
    assert "<svg" in view["times"]["svg"]
    assert any(entry["what"] == "published" for entry in view["history"])
    zone_page = site.get(f"/zone?name={ZONE}")
    assert zone_page.count("<svg") >= 1
    assert site.status("/zone?name=odd%2Fname.test.") == 200
    wait_until(
        lambda: site.json("/status.json")["looked_ahead"] == 3,
        "the coming steps of all zones are known",
        60,
        0.5,
    )
    assert "BEGIN:VEVENT" in site.get("/calendar.ics")

    # A new token is taken with a reload; the old one is refused.
    token.write_text(TOKEN[::-1])
    assert daemon.cli("config", "reload").ok
    assert site.status() == 401
    site.token = TOKEN[::-1]
    assert site.status() == 200
    assert daemon.metric("dnssecd_status_page_requests_total", result="denied") == 1
    assert daemon.metric("dnssecd_zones_by_security", security="bogus") == 0
    assert TOKEN not in daemon.log_path.read_text()

    # A zone that was removed is shown no longer.
    del daemon.config["zone"]["c.test."]
    daemon.write_config()
    assert daemon.cli("config", "reload", "--remove", "c.test.").ok
    assert site.status("/zone?name=c.test.") == 404
    wait_until(lambda: "c.test." not in site.get("/"), "the zone has left the page", 30, 0.5)
