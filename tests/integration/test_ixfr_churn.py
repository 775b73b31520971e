"""What an ACME client does all day: a TXT at ``_acme-challenge`` comes and goes, and every secondary keeps up."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.peers.nameserver import ask
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.updates import (
    NOERROR,
    UpdateConnection,
    UpdateMaker,
    dynamic_world,
    dynamic_zone_text,
    percentile,
)
from tests.peers.zones import difference

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ZONE = "acme.test."
OWNER = "_acme-challenge.host1"
TIMES = 50
IN_FLIGHT = 50


def has_txt(port: int, text: str | None) -> bool:
    """Whether the server has just this TXT at the challenge's name (None: has the name no longer), signed."""
    answer = ask(port, f"{OWNER}.{ZONE}", "TXT", dnssec=True)
    if answer is None:
        return False
    found = {rrset.rdtype.name for rrset in answer.answer}
    if text is None:
        return not found and any(rrset.rdtype.name == "SOA" for rrset in answer.authority)
    return found == {"TXT", "RRSIG"} and any(f'"{text}"' in str(rrset) for rrset in answer.answer)


def test_challenge_comes_and_goes(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """After each of 100 updates every secondary has the new state by IXFR, and none asks for the zone again."""
    world = dynamic_world(servers, peer_dir, tsig_key, ZONE, text=dynamic_zone_text(ZONE, 200))
    daemon, maker = world.daemon, UpdateMaker(ZONE, tsig_key)
    serial = daemon.serial(ZONE)
    assert serial is not None
    world.check_agreement(serial)
    lags: dict[str, list[float]] = {name: [] for name in world.secondaries}
    with UpdateConnection(daemon.port) as connection:
        for step in range(2 * TIMES):
            text = f"token-{step}" if step % 2 == 0 else None
            if text is not None:
                wire = maker.wire(add=[(OWNER, 60, "TXT", text)])
            else:
                wire = maker.wire(delete=[(OWNER, "TXT", "")])
            assert connection.ask(wire) == NOERROR
            since = time.monotonic()
            assert has_txt(daemon.port, text), "answered NOERROR, but not served"
            for name, second in world.secondaries.items():
                wait_until(
                    lambda at=second, t=text: has_txt(at.port, t), f"{name} has step {step}", 10, 0.002
                )
                lags[name].append(time.monotonic() - since)
    ours = daemon.zone_content(ZONE)
    for name, second in world.secondaries.items():
        assert difference(ours, second.zone_content(ZONE)) == "", name
        half, most = percentile(lags[name], 0.5), percentile(lags[name], 0.99)
        print(f"{name}: NOERROR to served p50 {half * 1e3:.0f} ms, p99 {most * 1e3:.0f} ms")
    assert daemon.serial(ZONE) == serial + 2 * TIMES
    world.check_followed_by_ixfr()


def test_pipelined_updates(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """Fifty messages at once on one connection: each answered once, as it is done, and all carried out."""
    world = dynamic_world(servers, peer_dir, tsig_key, ZONE, kinds=())
    daemon, maker = world.daemon, UpdateMaker(ZONE, tsig_key)
    before = daemon.serial(ZONE)
    assert before is not None
    good = [maker.wire(add=[(f"p{number}", 60, "TXT", "x")]) for number in range(IN_FLIGHT - 1)]
    refused = maker.wire(add=[("other.test.", 60, "TXT", "x")])  # at once, without a turn in the queue
    wires = [good[0], refused, *good[1:]]
    with UpdateConnection(daemon.port) as connection:
        connection.send(*wires)
        answers = [connection.receive() for _ in wires]
    assert sorted(number for number, _ in answers) == sorted(
        int.from_bytes(wire[:2], "big") for wire in wires
    )
    rcodes = dict(answers)
    assert rcodes.pop(int.from_bytes(refused[:2], "big")) == 10, "NOTZONE for a name outside"
    assert set(rcodes.values()) == {NOERROR}
    content = daemon.zone_content(ZONE)
    there = {line.split()[0] for line in content if " IN TXT " in line}
    assert there == {f"p{number}.{ZONE}" for number in range(IN_FLIGHT - 1)}
    assert daemon.serial(ZONE) == before + IN_FLIGHT - 1, "the serial moves as if they had come one by one"
    versions = sum(entry.get("event") == "zone published" for entry in daemon.log_events()) - 1
    assert 1 <= versions < IN_FLIGHT - 1, "updates that wait together are committed together"
    print(f"{IN_FLIGHT - 1} updates in {versions} versions")
