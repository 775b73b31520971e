"""CDS and CDNSKEY at the signalling names of RFC 9615: data of the zone, which its ZSK signs."""

from __future__ import annotations

from pathlib import Path

from dnssecd.core.dns.names import owner_key, text_to_wire
from dnssecd.core.dns.rrset import unpack
from dnssecd.core.dns.rrtypes import CDNSKEY, CDS, DNSKEY, SOA
from tests.pipeline_zone import ZONE, PipelineZone

SIGNAL = "_dsboot.child.test._signal.ns1"
KEY = "257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ=="
TEXT = ZONE + f"{SIGNAL} CDS 1 13 2 {'AB' * 32}\n{SIGNAL} CDNSKEY {KEY}\n"


def test_the_zsk_signs_them_and_they_stay_signed(tmp_path: Path, signer: str) -> None:
    zone = PipelineZone(tmp_path, signer)
    assert zone.load(TEXT).result == "published"
    owner = owner_key(text_to_wire(f"{SIGNAL}.example."), zone.spec.origin)

    def tags(name: bytes, covered: int) -> set[int]:
        with zone.db.snapshot() as snapshot:
            sigs = snapshot.rrsigs(name, covered)
            assert sigs is not None
            return {rdata[16] << 8 | rdata[17] for rdata in unpack(sigs.rdata)}

    zsk, ksk = tags(b"", SOA), tags(b"", DNSKEY)
    assert zsk != ksk
    assert tags(owner, CDS) == tags(owner, CDNSKEY) == zsk
    assert zone.load(TEXT).result == "unchanged", "their signatures are those they should have"
    assert zone.resign().result == "unchanged"
