"""A zone whose own name begins with `*`: the label is not counted in RRSIGs of its apex (RFC 4034 §3.1.3)."""

from pathlib import Path

import pytest

from dnssecd.cli.sign import Options, run
from tests.oneshot import violations
from tests.peers.tools import kzonecheck, ldns_verify_zone

ORIGIN = "*.wild.example."
ZONE = """$TTL 300
@ SOA ns.example. h.example. 1 3600 900 1209600 300
 NS ns
ns A 192.0.2.1
* TXT "x"
www.a TXT "y"
"""


@pytest.mark.integration
@pytest.mark.parametrize("denial", ["nsec", "nsec3"])
def test_it_is_signed_and_others_verify_it(tmp_path: Path, denial: str) -> None:
    (tmp_path / "zone").write_text(ZONE)
    signed = tmp_path / "signed"
    run(Options(file=tmp_path / "zone", origin=ORIGIN, output=str(signed), denial=denial, quiet=True))
    assert violations(signed, ORIGIN) == []
    for judged in (ldns_verify_zone(signed, ORIGIN), kzonecheck(signed, ORIGIN)):
        assert judged.ok, str(judged)
