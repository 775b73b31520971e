"""An input is what its ZONEMD and its signatures say, or it is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrset import unpack
from dnssecd.core.dns.rrtypes import DNSKEY
from dnssecd.core.keys.keyset import key_tag
from dnssecd.pipeline.export import export_text
from dnssecd.pipeline.jobs.outcome import Outcome
from tests.pipeline_zone import ZONE, PipelineZone, running_signer

Maker = Callable[..., PipelineZone]


@pytest.fixture(scope="module")
def socket() -> Iterator[str]:
    with running_signer() as path:
        yield path


@pytest.fixture
def make(tmp_path: Path, socket: str) -> Iterator[Maker]:
    made: list[PipelineZone] = []

    def maker(**spec: object) -> PipelineZone:
        home = tmp_path / str(len(made))
        home.mkdir()
        made.append(PipelineZone(home, socket, **spec))
        return made[-1]

    yield maker
    for zone in made:
        zone.close()


@pytest.fixture
def signed(make: Maker) -> tuple[str, bytes]:
    """A signed zone with ZONEMD as a text, and the DS of its KSK (RFC 4034 §5.1)."""
    other = make(zonemd=True)
    assert other.load(ZONE).result == "published"
    with other.db.snapshot() as snapshot:
        text = "".join(piece for piece, _ in export_text(snapshot, unsigned=False))
        dnskeys = snapshot.rrset(b"", DNSKEY)
    assert dnskeys is not None
    ksk = next(key for key in unpack(dnskeys.rdata) if key[1] & 1)
    digest = hashlib.sha256(text_to_wire("example.") + ksk).digest()
    return text, key_tag(ksk).to_bytes(2, "big") + bytes((ksk[3], 2)) + digest


def said(outcome: Outcome) -> str:
    return outcome.problems[0].cause if outcome.problems else ""


def test_a_signed_input_with_its_digest(make: Maker, signed: tuple[str, bytes]) -> None:
    text, ds = signed
    for spec in ({}, {"input_zonemd": "require"}, {"input_anchor": (ds,), "input_zonemd": "require"}):
        assert make(**spec).load(text).result == "published"


@pytest.mark.parametrize("mode", ["check", "require"])
def test_a_changed_record_does_not_pass(make: Maker, signed: tuple[str, bytes], mode: str) -> None:
    text, _ = signed
    zone = make(input_zonemd=mode)
    assert zone.load(text).result == "published"
    outcome = zone.load(text.replace("192.0.2.2", "192.0.2.66"))
    assert (outcome.result, outcome.problems[0].event) == ("rejected", "input-error")
    assert "does not verify: the digest of the zone is sha384" in said(outcome)
    assert zone.serial() == 1
    assert make(input_zonemd="ignore").load(text.replace("192.0.2.2", "192.0.2.66")).result == "published"


def test_a_digest_of_another_serial(make: Maker, signed: tuple[str, bytes]) -> None:
    text, _ = signed
    lines = [line for line in text.splitlines(keepends=True) if "\tRRSIG\t" not in line]
    plain = "".join(lines).replace("host.example. 1 ", "host.example. 2 ")
    assert "serial 1, the SOA has 2" in said(make().load(plain))


def test_an_unknown_scheme(make: Maker) -> None:
    text = ZONE + f"@ IN ZONEMD 1 240 1 {'00' * 48}\n"
    checked = make().load(text)
    assert checked.result == "published"
    assert any("cannot be checked: scheme 240" in warning.cause for warning in checked.warnings)
    assert "scheme 240, hash algorithm 1 not known" in said(make(input_zonemd="require").load(text))


def test_a_digest_that_must_be_there(make: Maker) -> None:
    assert "has no ZONEMD at its apex" in said(make(input_zonemd="require").load(ZONE))
    assert make().load(ZONE).result == "published"


def test_signatures_lead_to_the_anchor(make: Maker, signed: tuple[str, bytes]) -> None:
    text, ds = signed
    zone = make(input_anchor=(ds,), input_zonemd="ignore")
    assert zone.load(text).result == "published"
    forged = zone.load(text.replace("192.0.2.2", "192.0.2.66"))
    assert "do not lead to input_anchor" in said(forged)
    assert "www.example." in said(forged)
    assert "is not signed" in said(zone.load(ZONE))
    other = make(input_anchor=(ds[:-1] + bytes((ds[-1] ^ 1,)),), input_zonemd="ignore")
    assert "do not lead to input_anchor" in said(other.load(text))
    late = make(input_anchor=(ds,), input_zonemd="ignore")
    late.now += 60 * 86_400
    assert "do not lead to input_anchor" in said(late.load(text))
    assert zone.serial() == 1
