"""``dnssecd sign`` beside the C signers, on the same files: NSEC3, ECDSA P-256, to a signed zone file."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.timing import ROUNDS, Runner, interleaved, table
from tests.peers.paths import program, shared_dir
from tests.peers.tools import dnssec_verify

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

ORIGIN = "bench.example."
NAMES = 100_000
DNSSECD = [sys.executable, "-m", "dnssecd"]

#: Limits: the ratio to kzonesign without verification, to dnssec-signzone with it, memory.
KZONESIGN_MAX, SIGNZONE_MAX, MEMORY_MIB_MAX = 0.9, 0.7, 500


def bench_zone(kind: str, home: Path) -> Path:
    """A zone of the generator in shared/bench."""
    shared = shared_dir()
    assert shared is not None
    path = home / f"{kind}.zone"
    with path.open("w") as out:
        command = [sys.executable, str(shared / "bench/gen_zone.py"), kind, str(NAMES)]
        subprocess.run(command, stdout=out, check=True, timeout=120)
    return path


def ours(home: Path, zone: Path, verify: bool) -> Runner:
    out = home / "ours.signed"
    command = [*DNSSECD, "sign", str(zone), "--origin", ORIGIN, "-o", str(out)]

    def clear() -> None:
        out.unlink(missing_ok=True)
        shutil.rmtree(f"{out}.keys", ignore_errors=True)

    name = "dnssecd sign" if verify else "dnssecd sign --no-verify"
    return Runner(name, command if verify else [*command, "--no-verify"], home, clear)


def kzonesign(home: Path, zone: Path) -> Runner:
    (home / "kasp").mkdir()
    config = home / "knot.conf"
    config.write_text(f"""
server:
    rundir: "{home}"
database:
    storage: "{home}/kasp"
policy:
  - id: p
    algorithm: ecdsap256sha256
    nsec3: on
    nsec3-iterations: 0
    nsec3-salt-length: 0
    signing-threads: 2
zone:
  - domain: {ORIGIN}
    storage: "{home}"
    file: "{zone}"
    dnssec-signing: on
    dnssec-policy: p
""")
    out = home / "knot-out"
    return Runner(
        "kzonesign", [program("kzonesign"), "-c", str(config), "-o", str(out), ORIGIN], home,
        lambda: shutil.rmtree(out, ignore_errors=True),
    )  # fmt: skip


def bind_keys(home: Path) -> tuple[str, str]:
    keygen = program("dnssec-keygen")
    made = []
    for extra in (["-f", "KSK"], []):
        command = [keygen, "-q", "-a", "13", *extra, ORIGIN]
        done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=True, timeout=60)
        made.append(done.stdout.strip())
    return made[0], made[1]


def signzone(home: Path, zone: Path, keys: tuple[str, str]) -> Runner:
    with_keys = home / "with-keys.zone"
    records = "".join((home / f"{key}.key").read_text() for key in keys)
    with_keys.write_text(zone.read_text() + records)
    command = [program("dnssec-signzone"), "-q", "-3", "-", "-n", "2", "-o", ORIGIN, "-k", keys[0]]
    return Runner(
        "dnssec-signzone (verifies)", [*command, "-f", "bind.signed", str(with_keys), keys[1]], home
    )


def ldns(home: Path, zone: Path, keys: tuple[str, str]) -> Runner:
    command = [program("ldns-signzone"), "-n", "-t", "0", "-o", ORIGIN, "-f", "ldns.signed", str(zone), *keys]
    return Runner("ldns-signzone", command, home)


def crypto_floor() -> str:
    """What openssl says the signatures alone cost."""
    command = [program("openssl"), "speed", "-seconds", "2", "-multi", "2", "ecdsap256"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"256 bits ecdsa.*?([0-9.]+)\s+([0-9.]+)\s*$", done.stdout, re.MULTILINE)
    return (
        f"openssl on two cores: {found[1]} signatures/s, {found[2]} verifications/s"
        if found
        else "openssl gave none"
    )


@pytest.mark.parametrize("kind", ["tld", "flat"])
def test_signing_to_a_file(tmp_path: Path, kind: str) -> None:
    zone = bench_zone(kind, tmp_path)
    keys = bind_keys(tmp_path)
    fast, whole = ours(tmp_path, zone, verify=False), ours(tmp_path, zone, verify=True)
    knot, bind = kzonesign(tmp_path, zone), signzone(tmp_path, zone, keys)
    runners = [fast, knot, whole, bind, ldns(tmp_path, zone, keys)]
    interleaved(runners)
    verdict = dnssec_verify(tmp_path / "ours.signed", ORIGIN)
    assert verdict.ok, verdict
    print(table(f"{kind} {NAMES}", runners, {"floor": crypto_floor(), "rounds": str(ROUNDS)}))
    assert fast.wall / knot.wall <= KZONESIGN_MAX
    assert whole.wall / bind.wall <= SIGNZONE_MAX
    assert max(fast.memory_mib, whole.memory_mib) <= MEMORY_MIB_MAX
