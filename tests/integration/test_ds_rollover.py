"""KSK roll-overs with a real parent on BIND, a validator watching: by push, CDS, NOTIFY, hook, and by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.integration.dsacts import (
    Scanner,
    add_dsync,
    hand_over,
    roll_ksk,
    scan,
    set_parent,
    task,
    wait_replaced,
    wait_task,
)
from tests.integration.rollover_world import CHILD, RolloverWorld, start_rollover_world
from tests.peers.dnssecd import settled
from tests.peers.process import Servers
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

HOOK = """import json, subprocess, sys
sys.path.insert(0, {repository!r})
request = json.load(sys.stdin)
open({log!r}, "a").write(json.dumps(request) + "\\n")
if len(open({log!r}).readlines()) == 1:
    sys.exit("the registrar is busy")
lines = ["server 127.0.0.1 {port}", "zone test.", "update delete " + request["zone"] + " DS"]
for ds in request["ds"]:
    lines.append("update add %s 2 DS %d %d %d %s" % (request["zone"], *(
        ds[name] for name in ("key_tag", "algorithm", "digest_type", "digest"))))
done = subprocess.run(["nsupdate", "-k", {key!r}], input="\\n".join([*lines, "send", ""]), text=True)
sys.exit(done.returncode)
"""


def severity(world: RolloverWorld) -> str:
    """Of the handover as it fires, "" when it does not."""
    alerts = world.daemon.zone_status(CHILD)["alerts"]
    return next((str(each["severity"]) for each in alerts if each["name"] == "ds-handover"), "")


@pytest.fixture
def world(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> RolloverWorld:
    return start_rollover_world(servers, peer_dir, tsig_key)


def test_push_without_operator_action_from_the_first_ds_on(world: RolloverWorld, tsig_key: TsigKey) -> None:
    set_parent(world, push=world.parent.address, push_tsig=tsig_key.name)
    world.wait_settled()
    assert len(world.ds()) == 1
    witness = world.witness()
    wait_replaced(world, roll_ksk(world))
    witness.stop()
    assert world.daemon.metric("dnssecd_parent_ds_ways_total", way="push", result="done") >= 2
    assert "ds push" in world.daemon.cli("zone", "history", CHILD).out


@pytest.mark.soak
def test_cds_scanned_by_bind(world: RolloverWorld) -> None:
    world.secure()
    witness = world.witness()
    wait_replaced(world, roll_ksk(world), lambda: scan(world))
    witness.stop()


def test_notify_without_operator_action(world: RolloverWorld) -> None:
    world.secure()
    with Scanner(lambda: scan(world)) as scanner:
        add_dsync(world, scanner.port)
        witness = world.witness()
        wait_replaced(world, roll_ksk(world))
        witness.stop()
        assert set(scanner.notified) == {f"{CHILD} CDS"}
    assert not world.daemon.metric("dnssecd_event_firing", event="ds-handover", zone=CHILD)


@pytest.mark.soak
def test_hook_brings_it_to_the_registrar_and_is_tried_again(world: RolloverWorld) -> None:
    log, script = world.home / "hook.log", world.home / "hook.py"
    text = HOOK.format(
        repository=str(world.home), log=str(log), port=world.parent.port, key=str(world.key.file(world.home))
    )
    script.write_text(text)
    set_parent(world, hook=[sys.executable, str(script)])
    world.wait_settled()
    requests = [json.loads(line) for line in log.read_text().splitlines()]
    assert requests[0]["task"] == "submit"
    assert requests[0]["id"] == requests[1]["id"]
    assert world.daemon.metric("dnssecd_parent_ds_ways_total", way="hook", result="failed") == 1
    wait_replaced(world, roll_ksk(world))
    assert json.loads(log.read_text().splitlines()[2])["task"] == "replace"


@pytest.mark.soak
def test_by_hand_and_late(world: RolloverWorld) -> None:
    wait_task(world, "submit")
    world.wait(lambda: severity(world) in ("warning", "error"), "people are told")
    shown = world.daemon.cli("ds", "show", CHILD).out
    assert "to be added" in shown
    assert "<secDNS:add>" in shown
    settled(lambda: task(world), 5.0)
    hand_over(world)
    world.wait_settled()
    witness = world.witness()
    old = roll_ksk(world)
    wait_task(world, "replace")
    settled(lambda: [key["ds"] for key in world.key_list() if key["tag"] == old], 8.0)
    world.wait(lambda: severity(world) == "error", "a late hand-over is an error")
    assert not world.daemon.cli("ds", "check", CHILD).ok
    hand_over(world)
    wait_replaced(world, old)
    witness.stop()
    assert world.daemon.cli("ds", "check", CHILD).ok
    assert not world.daemon.metric("dnssecd_event_firing", event="ds-handover", zone=CHILD)
    assert task(world) == "nothing"
