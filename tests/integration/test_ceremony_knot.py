"""Knot's keymgr as the other side of a ceremony, both ways: it signs our request, and imports what we signed."""

import subprocess
import time
from pathlib import Path

import pytest

from dnssecd.core.ceremony.accept import Published, Signer, accept_response
from dnssecd.core.ceremony.bundles import (
    read_bundles_request,
    read_bundles_response,
    write_bundles_request,
    write_bundles_response,
)
from dnssecd.core.ceremony.report import ds_digest
from dnssecd.core.ceremony.signing import bundles_of, tasks_of
from dnssecd.core.dns.rrtypes import DNSKEY
from dnssecd.core.keys.keyset import SigningKey, dnskey_rdata, key_tag
from dnssecd.core.keys.signed_ahead import SignedAhead
from dnssecd.replacing import replace
from tests.integration.ceremony_machine import VAULT, accepted, wait_ready
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import Servers
from tests.peers.tsig import TsigKey
from tests.unit.core_ceremony.world import DAY, K1, KEYS, STORES, ZONE, A, B, make_request, ordered

pytestmark = pytest.mark.integration

CONFIG = """
server:
    rundir: "{place}"
database:
    storage: "{place}"
policy:
  - id: p
    algorithm: ecdsap256sha256
    offline-ksk: on
    manual: on
    ksk-lifetime: 0
    zsk-lifetime: 3d
    dnskey-ttl: 1h
    zone-max-ttl: 1h
    propagation-delay: 5m
    rrsig-lifetime: 14d
    rrsig-refresh: 7d
zone:
  - domain: example.com.
    dnssec-signing: on
    dnssec-policy: p
"""


class Keymgr:
    """Knot's key manager with a database of its own."""

    def __init__(self, place: Path) -> None:
        place.mkdir()
        self.place = place
        (place / "knot.conf").write_text(CONFIG.format(place=place))

    def __call__(self, *words: str) -> str:
        command = ["keymgr", "-c", str(self.place / "knot.conf"), "example.com.", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def file(self, name: str, text: str) -> str:
        """Write a file and return its path."""
        path = self.place / name
        path.write_text(text)
        return str(path)


def test_keymgr_signs_our_request_and_we_import_the_response(tmp_path):
    vault = Keymgr(tmp_path / "vault")
    vault("generate", "ksk=yes", "zsk=no")
    now = int(time.time())  # no earlier than the key
    request = make_request(start=now)
    asked = vault.file("request.ksr", write_bundles_request(request, "knot", now))
    answer = vault("sign-ksr", asked)
    vault("validate-skr", vault.file("response.skr", answer))
    response = read_bundles_response(answer, now)
    tag = key_tag(response.ksks[0])
    signer = Signer(
        ZONE,
        frozenset(ordered(A, B)),
        frozenset(),
        SignedAhead(STORES),
        accepted=frozenset({ds_digest(ZONE, response.ksks[0])}),
    )
    taken = accept_response(response, signer, now)
    ksk = SigningKey("ksk", 13, 257, tag, response.ksks[0][4:], "vault")
    for zsks, at in (((A,), now), ((A, B), now + 30 * DAY), ((B,), now + 32 * DAY)):
        rdatas = tuple(sorted({response.ksks[0], *ordered(*zsks)}))
        assert taken.ahead.best(DNSKEY, rdatas, (ksk,), at) is not None
    rdatas = tuple(sorted({response.ksks[0], *ordered(B)}))
    assert taken.ahead.until(DNSKEY, rdatas, (ksk,), now + 32 * DAY) > now + 90 * DAY
    running = replace(signer, ksks=frozenset(response.ksks), published=Published(rdatas, (ksk,)))
    assert accept_response(response, running, now + 33 * DAY).until > now + 90 * DAY


def test_a_zone_is_published_with_what_keymgr_signed(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    (peer_dir / "zone").write_text(
        "$TTL 300\n@ SOA ns1 host 1 3600 600 86400 300\n@ NS ns1\nns1 A 192.0.2.1\n"
    )
    config = daemon_config(peer_dir, DaemonPorts.free(), tsig_key, {"example.com.": peer_dir / "zone"})
    config["keystore"] |= VAULT
    config["policy"]["default"] |= {"ksk": {"keystore": "vault"}, "zsk": {"lifetime": "30d"}}
    daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    wait_ready(daemon, "example.com.")
    vault = Keymgr(peer_dir / "vault")
    vault("generate", "ksk=yes", "zsk=no")
    asked = vault.place / "request.ksr"
    daemon.cli_json("ksr", "export", "example.com.", "--to", "+60d", "--form", "knot", "-o", str(asked))
    response = vault.file("response.skr", vault("sign-ksr", str(asked)))
    tag = key_tag(read_bundles_response(Path(response).read_text(), int(time.time())).ksks[0])
    done = daemon.cli("skr", "import", response, "--accept-ksk", accepted(daemon, response, tag))
    assert done.ok, done
    daemon.wait_serial_other_than("example.com.", None)
    zone = daemon.zone_status("example.com.")
    assert zone["signed_ahead_until"] > time.time() + 50 * DAY
    explained = daemon.cli("explain", "example.com.").out
    assert "the KSK is off-line; the DNSKEY RRset is signed until" in explained


@pytest.mark.parametrize("form", ["knot", "bind"])
def test_keymgr_imports_what_we_sign_of_its_request(tmp_path, form):
    now = int(time.time())
    online = Keymgr(tmp_path / "online")
    online("pregenerate", "+0", "+10d")
    asked = online("generate-ksr", "+0", "+10d")
    request = read_bundles_request(asked, ttl=3600, validity_s=5 * DAY, now=now)
    assert len(request.zsks) == 4
    stage = (K1.signing,)
    tasks = tasks_of(request, (stage,), cds=False)
    signatures = [KEYS[task.key].sign(task.preimage) for task in tasks]
    text = write_bundles_response(bundles_of(request, tasks, signatures, stage), ZONE, form, now)
    if form == "bind":  # Knot reads epoch seconds only; BIND's form comes back as we wrote it
        again = read_bundles_response(text, now)
        assert set(again.ksks) == {K1.rdata}
        return
    path = online.file("response.skr", text)
    assert "OK" in online("validate-skr", path)
    assert "OK" in online("import-skr", path)
    shown = online("show-offline")
    assert shown.count("Offline records for") == len(request.slots)
    assert str(K1.tag) in shown
    assert dnskey_rdata(257, 13, K1.public) == K1.rdata
