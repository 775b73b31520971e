"""Presets of policies as an operator meets them: what check-config shows, what the audit says, what is then signed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.smallzone import NAMES, ZONE, small_zone
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import Servers
from tests.peers.tools import REFEREES, ldns_verify_zone
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

DELEGATIONS = "".join(f"d{number} NS ns.d{number}\nns.d{number} A 192.0.2.7\n" for number in range(20))
#: Apex, name server, hosts, and the secure delegation.
SIGNED_NAMES = range(1 + 1 + NAMES + 1)
SIGNED = "secure NS ns.elsewhere.test.\nsecure DS 4711 13 2 " + 64 * "A" + "\n"


def daemon_with(servers: Servers, home: Path, key: TsigKey, policy: dict[str, Any]) -> Dnssecd:
    path = home / "input.zone"
    path.write_text(small_zone(1, DELEGATIONS + SIGNED))
    config = daemon_config(home, DaemonPorts.free(), key, {ZONE: path}, policy=policy)
    return servers.start(Dnssecd(home / "dnssecd", config, key))


def signed_zone(daemon: Dnssecd, home: Path) -> Path:
    daemon.wait_serial_other_than(ZONE, None)
    path = home / "signed.zone"
    daemon.export(ZONE, path)
    return path


@pytest.mark.parametrize(
    ("preset", "shown", "denial", "validity_days"),
    [
        ("rfc9276", ['denial = "nsec"'], "NSEC", 30),
        (
            "sp800-81r3",
            ['signature_validity = "7d"', "zonemd = true", 'zsk = { lifetime = "1y" }'],
            "NSEC",
            7,
        ),
        ("tld", ["nsec3_opt_out = true", 'manual = ["ksk", "algorithm", "denial"]'], "NSEC3", 21),
    ],
)
def test_a_preset_from_the_file_to_the_signed_zone(
    servers: Servers,
    peer_dir: Path,
    tsig_key: TsigKey,
    preset: str,
    shown: list[str],
    denial: str,
    validity_days: int,
) -> None:
    # The backup that "tld" asks for has its own tests; without it the zone would wait for one.
    more = {"require_backup": False} if preset == "tld" else {}
    daemon = daemon_with(servers, peer_dir, tsig_key, {"preset": preset, **more})
    checked = daemon.cli("check-config")
    assert checked.ok, checked
    assert f'policy default: preset "{preset}" sets' in checked.out
    for setting in shown:
        assert setting in checked.out
    assert "require_backup" not in checked.out, "what the file says itself is not the preset's"

    signed = signed_zone(daemon, peer_dir)
    for referee in REFEREES:
        judged = referee(signed, ZONE)
        assert judged.ok, judged
    records = [line.split() for line in signed.read_text().splitlines()]
    nsec3 = [fields[4:8] for fields in records if fields[3] == "NSEC3"]
    assert bool(nsec3) == (denial == "NSEC3")
    if preset != "rfc9276":
        assert ldns_verify_zone(signed, ZONE, zonemd=True).ok
    if nsec3:
        (parameters,) = [fields[4:] for fields in records if fields[3] == "NSEC3PARAM"]
        assert parameters == ["1", "0", "0", "-"], "RFC 9276: no iterations, no salt"
        assert {tuple(fields) for fields in nsec3} == {("1", "1", "0", "-")}, "each has the opt-out flag"
        assert len(nsec3) == len(SIGNED_NAMES), "insecure delegations have none of their own"
    last = max(fields[8] for fields in records if fields[3] == "RRSIG")
    assert 0.75 < _days_from_now(last) / validity_days <= 1, "first signatures are spread, up to the validity"

    rows = _audit(daemon, preset)
    promised = [row for row in rows if f'preset = "{preset}"' in row["change"]]
    assert promised or preset == "rfc9276"
    unmet = {row["id"] for row in promised if row["verdict"] != "met"}
    assert unmet == {row["id"] for row in promised if "require_backup" in row["change"]}, rows
    if preset == "rfc9276":
        assert {row["verdict"] for row in rows} == {"met"}


def _days_from_now(expiration: str) -> float:
    at = datetime.strptime(expiration, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return (at - datetime.now(UTC)).total_seconds() / 86_400


def test_a_key_of_the_table_overrides_the_preset_and_an_unknown_preset_is_an_error(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    policy = {"preset": "sp800-81r3", "signature_validity": "14d", "zsk": {"lifetime": "90d"}}
    daemon = daemon_with(servers, peer_dir, tsig_key, policy)
    signed_zone(daemon, peer_dir)
    shown = daemon.cli("check-config").out
    assert "signature_validity" not in shown
    assert "zsk" not in shown
    assert 'ksk = { lifetime = "3y" }' in shown
    unmet = [row for row in _audit(daemon, "sp800-81r3") if row["verdict"] == "not met"]
    assert any('signature_validity = "7d"' in row["change"] and "14" in row["seen"] for row in unmet), unmet
    daemon.config["policy"]["default"]["preset"] = "rfc5155"
    daemon.write_config()
    told = daemon.cli("check-config")
    assert told.status == 1
    for known in ("rfc5155", "rfc9276", "sp800-81r3", "tld"):
        assert known in told.text


def _audit(daemon: Dnssecd, profile: str) -> list[dict[str, Any]]:
    done = daemon.cli("audit", "--profile", profile, "--json")
    assert done.out, done
    requirements: list[dict[str, Any]] = json.loads(done.out)["requirements"]
    return requirements
