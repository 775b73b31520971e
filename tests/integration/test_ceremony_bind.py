"""BIND as the other side of a ceremony: files as dnssec-ksr writes them, with records that BIND's tools made.

Debian 12 has no dnssec-ksr (BIND 9.20): header, empty lines and last line are as in its source.
"""

import subprocess
import time
from pathlib import Path

import pytest

from dnssecd.core.ceremony.accept import Signer, accept_response
from dnssecd.core.ceremony.bundles import read_bundles_request, read_bundles_response
from dnssecd.core.ceremony.report import ds_digest
from dnssecd.core.ceremony.request import hash_of_file
from dnssecd.core.dns.key_records import time_text
from dnssecd.core.dns.rrtypes import CDS, DNSKEY
from dnssecd.core.keys.keyset import SigningKey, key_tag
from dnssecd.core.keys.signed_ahead import SignedAhead
from tests.integration.ceremony_machine import CeremonyMachine
from tests.unit.core_ceremony.world import DAY, STORES, ZONE, A, ordered

pytestmark = pytest.mark.integration

NAME = "example.com."


def run(home: Path, *words: str) -> str:
    done = subprocess.run(words, cwd=home, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def header(kind: str, at: int) -> str:
    return f";; {kind} 1.0 {time_text(at)} ({time.strftime('%a %b %e %H:%M:%S %Y', time.gmtime(at))})"


def last_line(kind: str, at: int) -> str:
    return f";; {kind} 1.0 generated at {time.strftime('%a %b %e %H:%M:%S %Y', time.gmtime(at))} by 9.20.4"


def zsk(home: Path) -> str:
    """The DNSKEY record of a new ZSK, as BIND writes it."""
    name = run(home, "dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "-L", "3600", NAME).strip()
    lines = (home / f"{name}.key").read_text().splitlines()
    return next(line for line in lines if not line.startswith(";"))


@pytest.mark.parametrize("bundles", [1, 2])
def test_a_request_is_signed_to_the_end_that_its_form_does_not_have(tmp_path: Path, bundles: int) -> None:
    now = int(time.time())
    keys = [zsk(tmp_path) for _ in range(bundles)]
    starts = [now + number * 20 * DAY for number in range(bundles)]
    lines = [
        line
        for start, key in zip(starts, keys, strict=True)
        for line in (header("KeySigningRequest", start), key)
    ]
    request = tmp_path / "request.ksr"
    request.write_text("\n".join([*lines, last_line("KeySigningRequest", now)]) + "\n")
    machine = CeremonyMachine(tmp_path, NAME)
    ksk = machine.keygen()
    digest = hash_of_file(request.read_text())
    assert digest.hex() == run(tmp_path, "sha256sum", "request.ksr").split()[0]
    output = tmp_path / "response.skr"
    order = ("sign", str(request), "-o", str(output), "--confirm", digest.hex()[:8])
    refused = machine.run(*order)
    assert refused.status == 2, refused
    assert "BIND's form does not say when its last DNSKEY RRset ends" in refused.err
    assert "give it with --to" in refused.err
    early = machine.run(*order, "--to", time_text(now - DAY))
    assert early.status == 1, early
    assert "after the given end" in early.err
    done = machine.run(*order, "--to", "+60d", "--cds")
    assert done.ok, done
    text = output.read_text()
    assert text.startswith(f";; SignedKeyResponse 1.0 {time_text(now)} "), "in the form of the request"
    assert run(tmp_path, "sha256sum", str(output)).split()[0] in done.out.replace(" ", "").replace("\n", "")
    response = read_bundles_response(text, now)
    last = read_bundles_request(request.read_text(), ttl=1, validity_s=14 * DAY, now=now, stop=now + 60 * DAY)
    signer = Signer(
        ZONE, frozenset(last.zsks), frozenset(), SignedAhead(STORES),
        accepted=frozenset({ds_digest(ZONE, response.ksks[0])}),
    )  # fmt: skip
    taken = accept_response(response, signer, now)
    key = SigningKey("ksk", 13, 257, ksk, response.ksks[0][4:], "vault")
    rdatas = tuple(sorted({response.ksks[0], last.slots[-1].sets[0][0]}))
    assert taken.ahead.until(DNSKEY, rdatas, (key,), starts[-1]) >= now + 60 * DAY


def test_a_response_with_records_as_bind_writes_them_is_imported(tmp_path: Path) -> None:
    now = int(time.time())
    name = run(
        tmp_path, "dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "-f", "KSK", "-L", "3600",
        "-P", "sync", "now", NAME,
    ).strip()  # fmt: skip
    our_zsk = f"{NAME} 3600 IN DNSKEY {' '.join(_words(A.rdata))}"
    zone = tmp_path / "zone"
    zone.write_text(f"{NAME} 3600 IN SOA {NAME} {NAME} 1 2 3 4 5\n{NAME} 3600 IN NS ns.test.\n{our_zsk}\n")
    bundles: list[str] = []
    for number in range(6):
        inception, expiration = now + number * 7 * DAY - 3600, now + (number * 7 + 14) * DAY
        run(
            tmp_path, "dnssec-signzone", "-q", "-S", "-P", "-x", "-z", "-O", "full", "-o", NAME, "-f", "signed",
            "-s", time_text(inception), "-e", time_text(expiration), "zone",
        )  # fmt: skip
        records = (tmp_path / "signed").read_text().splitlines()
        wanted = ("DNSKEY", "CDS", "CDNSKEY")
        records = [line for line in records if line.startswith(NAME)]
        found = [line for line in records if set(wanted) & set(line.split()[3:5])]
        assert len(found) == 7, found  # two DNSKEYs, CDS, CDNSKEY, and a signature of each set
        bundles += [header("SignedKeyResponse", now + number * 7 * DAY), *found, ""]
    text = "\n".join([*bundles, last_line("SignedKeyResponse", now)]) + "\n"
    response = read_bundles_response(text, now)
    (ksk,) = response.ksks
    signer = Signer(
        ZONE, frozenset(ordered(A)), frozenset(), SignedAhead(STORES),
        accepted=frozenset({ds_digest(ZONE, ksk)}),
    )  # fmt: skip
    taken = accept_response(response, signer, now)
    key = SigningKey("ksk", 13, 257, key_tag(ksk), ksk[4:], "vault")
    assert f"+{key.tag:05}" in name
    assert taken.ahead.until(DNSKEY, tuple(sorted({ksk, A.rdata})), (key,), now) >= now + 49 * DAY
    assert [each for each in response.sets if each.rtype == CDS]


def _words(rdata: bytes) -> list[str]:
    from dnssecd.core.dns.key_records import rdata_text

    return rdata_text(DNSKEY, rdata).split()
