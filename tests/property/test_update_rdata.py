"""RDATA as others see it: what we take into a zone, named takes too. It would drop the transfer otherwise."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from dnssecd.core.dns.message import FormError
from dnssecd.server.update_message import parse_update
from tests.fuzz.fuzz_update import mutated, seeds
from tests.peers.nameserver import PrimaryZone
from tests.peers.process import Servers
from tests.peers.tsig import TsigKey
from tests.property.test_update import Client, UpdatedNamed
from tests.unit.core_update.build import NONE, RR, ZONE, ZONE_TEXT, message, wire_name

FORMERR = 1
#: Well formed or not, these are REFUSED; named looks closer at types it is not ours to publish.
_NEVER_TAKEN = frozenset({46, 47, 50})


def _is_form_error(wire: bytes) -> bool:
    try:
        parse_update(wire)
    except FormError:
        return True
    return False


@pytest.mark.integration
def test_named_takes_what_we_take(servers: Servers, peer_dir: Path) -> None:
    file = peer_dir / "example.zone"
    file.write_text("$ORIGIN example.\n" + ZONE_TEXT)
    named = servers.start(UpdatedNamed(peer_dir, [PrimaryZone(ZONE, file, TsigKey(), updates=True)]))
    rng = random.Random(7)
    samples = {
        each for seed in seeds() for rr in parse_update(seed).updates if (each := (rr.rtype, rr.rdata))[1]
    }
    taken = refused = 0
    with Client(named.port) as client:
        for rtype, rdata in sorted(samples):
            for _ in range(25):
                wire = message([RR(wire_name("zz"), rtype, NONE, 0, mutated(rng, rdata)[:300])])
                if rtype in _NEVER_TAKEN or _is_form_error(wire):
                    refused += 1
                    continue
                taken += 1
                assert client.ask(wire) != FORMERR, f"type {rtype}: {wire.hex()}"
    assert taken > 200
    assert refused > 200
