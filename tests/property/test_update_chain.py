"""Updates on a signed zone in its store: the chain and signatures afterwards are those of signing from scratch.

The view that updates read is the published version itself, derived RRsets and all.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.dns.rrtypes import DNSKEY, SOA
from dnssecd.core.signing.denial import DenialParameters
from dnssecd.core.update.group import UpdateGroup
from dnssecd.core.update.types import UpdatePolicy, soa_serial
from dnssecd.core.zone.changeset import Change
from dnssecd.server.update_message import parse_update
from tests.property.updates import Generator, start
from tests.property.zones import Zone
from tests.unit.core_update.build import EVERYTHING, RR, add, delete, message

POLICY = UpdatePolicy(EVERYTHING)
CHAINS = [DenialParameters("nsec"), DenialParameters("nsec3"), DenialParameters("nsec3", opt_out=True)]
IDS = ["nsec", "nsec3", "optout"]
OWN = RRset(b"", DNSKEY, 3600, pack([b"\x01\x01\x03\x0d" + bytes(64)]))


class SignedZone:
    """A zone in a store and what it should be: always compared with one that is signed from nothing."""

    def __init__(self, path: Path, parameters: DenialParameters) -> None:
        self._path = path
        self._parameters = parameters
        self._count = 0
        self.zone = self._made(sorted([*start(), OWN]))

    def _made(self, content: list[RRset]) -> Zone:
        self._count += 1
        zone = Zone(self._path / f"zone{self._count}", self._parameters)
        zone.apply([Change(rrset.owner, rrset.rtype, None, rrset) for rrset in content])
        return zone

    def update(self, *wires: bytes, where: str = "") -> None:
        """Carry out messages as one version and compare."""
        with self.zone.db.snapshot() as view:
            group = UpdateGroup(view)
            for wire in wires:
                group.apply(parse_update(wire), POLICY)
            before = view.rrset(b"", SOA)
            changes = group.changes()
            if group.soa != before:
                changes = sorted([*changes, Change(b"", SOA, before, group.soa)])
        self.zone.apply(changes)
        content, _, _ = dump = self.zone.dump()
        assert OWN in content
        scratch = self._made(content)
        assert dump == scratch.dump(), where
        scratch.db.close()

    def content(self) -> list[RRset]:
        return self.zone.dump()[0]


@pytest.mark.parametrize("parameters", CHAINS, ids=IDS)
@pytest.mark.parametrize("seed", range(8))
def test_random_updates(tmp_path: Path, parameters: DenialParameters, seed: int) -> None:
    signed, generator = SignedZone(tmp_path, parameters), Generator(seed)
    for step in range(12):
        content = signed.content()
        soa = next(rrset for rrset in content if rrset.rtype == SOA)
        wires = [generator.message(content, soa_serial(soa)) for _ in range(1 + step % 3)]
        signed.update(*wires, where=f"seed {seed} step {step}")
    signed.zone.db.close()


STRUCTURAL: dict[str, list[RR]] = {
    "an empty non-terminal is made": [add("x.y.z", "A", "192.0.2.1")],
    "an empty non-terminal goes": [delete("*.wild")],
    "an empty non-terminal gets data": [add("wild", "A", "192.0.2.1")],
    "a delegation above names that are there": [add("wild", "NS", "ns1.other.")],
    "a delegation above glue of another": [add("ns.sub", "NS", "ns1.other.")],
    "glue is freed": [delete("sub")],
    "a delegation becomes secure": [add("wild", "NS", "a.other."), add("wild", "DS", "1 13 2 " + "00" * 32)],
    "a delegation becomes insecure": [delete("sub", "DS")],
    "a DNAME above names": [add("wild", "DNAME", "other.")],
    "a DNAME at the apex": [add("@", "DNAME", "other.")],
    "a wildcard at the apex": [add("*", "TXT", '"x"')],
    "all of the apex that may go": [delete("@"), add("@", "MX", "1 a.")],
    "CNAME for data": [delete("www"), add("www", "CNAME", "a.")],
}


@pytest.mark.parametrize("parameters", CHAINS, ids=IDS)
@pytest.mark.parametrize("what", STRUCTURAL)
def test_structural_updates_there_and_back(tmp_path: Path, parameters: DenialParameters, what: str) -> None:
    signed = SignedZone(tmp_path, parameters)
    signed.update(message(STRUCTURAL[what]), where=what)
    undo = [rr._replace(rclass=254, ttl=0) for rr in STRUCTURAL[what] if rr.rclass == 1]
    signed.update(message(undo), where=f"back: {what}")
    signed.zone.db.close()
