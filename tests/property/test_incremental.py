"""Whatever sequence of edits led there, the chain and the signatures are those of signing from scratch."""

import random
from pathlib import Path

import pytest

from dnssecd.core.dns.rrset import RRset
from dnssecd.core.signing.denial import DenialParameters
from tests.property.zones import Zone, base, changes_between, random_edit

NSEC = DenialParameters("nsec")
NSEC3 = DenialParameters("nsec3")
OPT_OUT = DenialParameters("nsec3", opt_out=True)


@pytest.mark.parametrize("parameters", [NSEC, NSEC3, OPT_OUT], ids=["nsec", "nsec3", "optout"])
@pytest.mark.parametrize("seed", range(12))
def test_incremental_is_from_scratch(tmp_path: Path, parameters: DenialParameters, seed: int) -> None:
    rng = random.Random(seed)
    content = base()
    zone = Zone(tmp_path / "zone", parameters)
    zone.apply(changes_between({}, content))
    for step in range(12):
        new = random_edit(rng, content)
        zone.apply(changes_between(content, new))
        content = new
        scratch = Zone(tmp_path / f"scratch{step}", parameters)
        scratch.apply(changes_between({}, content))
        assert zone.dump() == scratch.dump(), f"seed {seed} step {step}"
        scratch.db.close()
    zone.db.close()


@pytest.mark.parametrize("seed", range(6))
def test_switches_between_kinds_are_from_scratch(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    content = base()
    for _ in range(15):
        content = random_edit(rng, content)
    kinds = [NSEC, NSEC3, OPT_OUT, NSEC, OPT_OUT, NSEC3, NSEC]
    zone = Zone(tmp_path / "zone", kinds[0])
    zone.apply(changes_between({}, content))
    for step, kind in enumerate(kinds[1:]):
        new = random_edit(rng, content)
        zone.apply(changes_between(content, new), kind)
        content = new
        scratch = Zone(tmp_path / f"scratch{step}", kind)
        scratch.apply(changes_between({}, content))
        assert zone.dump() == scratch.dump()
        scratch.db.close()
    zone.db.close()


def test_an_edit_signs_only_what_it_touches(tmp_path: Path) -> None:
    content = base()
    for number in range(200):
        owner = b"h%03d\x00" % number
        content[owner, 1] = RRset(owner, 1, 300, b"\x00\x04\x0a\x00\x00\x01")
    zone = Zone(tmp_path / "zone", NSEC3)
    zone.apply(changes_between({}, content))
    edited = dict(content)
    edited[b"h100\x00", 1] = RRset(b"h100\x00", 1, 300, b"\x00\x04\x0a\x00\x00\x02")
    zone.apply(changes_between(content, edited))
    assert zone.signed == 1
    added = dict(edited)
    added[b"new\x00", 1] = RRset(b"new\x00", 1, 300, b"\x00\x04\x0a\x00\x00\x02")
    zone.apply(changes_between(edited, added))
    assert zone.signed == 3  # the RRset, its NSEC3 and the NSEC3 before it
    zone.db.close()
