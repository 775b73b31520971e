"""Work outside after a commit is done at least once, also when the owner dies before it: `published`, NOTIFY."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.cluster.daemons import ZONE, Cluster
from tests.integration.hsm.softhsm import SoftHsm
from tests.peers.postgres import Postgres
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.updates import NOERROR

pytestmark = pytest.mark.integration

#: Fails while there is a file ``down``.
SCRIPT = """#!/bin/sh
test -e {home}/down && exit 1
cat >> {home}/told
echo >> {home}/told
"""


def test_the_owner_dies_before_it_ran_the_command(
    servers: Servers, peer_dir: Path, postgres: Postgres, tsig_key: TsigKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node that takes over has started after that version, and runs the command for it all the same."""
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(peer_dir / "hsm")
    hsm.make_token("dns")
    cluster = Cluster(peer_dir, postgres, hsm, tsig_key, take_over_after="6s")
    script = peer_dir / "published"
    script.write_text(SCRIPT.format(home=peer_dir))
    script.chmod(0o755)
    for node in cluster.nodes.values():
        node.config["zone"][ZONE]["published"] = [str(script)]
        servers.start(node)
    servers.start(cluster.secondary)
    owner = cluster.wait_owner(timeout=60)
    other = next(name for name in cluster.nodes if name != owner)
    told = peer_dir / "told"

    def serials() -> list[int]:
        lines = told.read_text().splitlines() if told.exists() else []
        return [json.loads(line)["serial"] for line in lines if line]

    wait_until(lambda: cluster.takes(owner, "first"), "updates are taken", 60)
    first = cluster.nodes[owner].serial(ZONE)
    wait_until(lambda: serials()[-1:] == [first], "the command ran", 30)
    (peer_dir / "down").touch()
    assert cluster.update(owner, "second") == NOERROR
    last = cluster.nodes[owner].serial(ZONE)
    assert last is not None
    wait_until(lambda: cluster.nodes[other].serial(ZONE) == last, "the other node follows", 60)
    cluster.nodes[other].stop()
    cluster.nodes[other].start()
    wait_until(
        lambda: cluster.nodes[owner].metric("dnssecd_events_firing", event="published-command-failed") == 1,
        "the command failed", 60,
    )  # fmt: skip
    cluster.nodes[owner].kill()
    (peer_dir / "down").unlink()
    wait_until(lambda: serials()[-1:] == [last], "the other node ran the command", 60)
    assert cluster.owner() == other
    cluster.secondary.wait_serial(ZONE, last)
    # The earlier owner comes back: it neither runs the command nor has an alert for it any more.
    cluster.nodes[owner].start()
    wait_until(
        lambda: cluster.nodes[owner].metric("dnssecd_events_firing", event="published-command-failed") == 0,
        "its alert ended", 60,
    )  # fmt: skip
    assert serials().count(last) == 1
