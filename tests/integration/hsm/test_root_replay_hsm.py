"""The real root zone with its keys in an HSM: served by NSD, Knot and BIND, accepted by all referees."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.hsm.daemon import keep_keys_in, pkcs11_keystore
from tests.integration.hsm.softhsm import SoftHsm
from tests.integration.test_root_replay import Replay, check_validation
from tests.peers.process import Servers
from tests.peers.rootzone import RootEditor, root_version
from tests.peers.tsig import TsigKey
from tests.peers.world import start_world

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

#: Those of the twelve versions that change more than the SOA.
VERSIONS = (1, 5, 8, 10, 12)
EDITS = 12
SEED = 4


def test_root_zone_signed_in_an_hsm(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(peer_dir / "hsm")
    hsm.make_token("dns")
    first = root_version(shared, VERSIONS[0])
    world = start_world(servers, peer_dir, tsig_key, ".", first, start_daemon=False)
    keep_keys_in(world.daemon.config, pkcs11_keystore(hsm, "dns"))
    world.daemon.start()
    replay = Replay(world)
    served = replay.first(first)
    resolvers = world.resolvers(servers, served)
    check_validation(resolvers, served)
    for number in VERSIONS[1:]:
        judges = resolvers if number == VERSIONS[-1] else None
        replay.step(f"version {number}", root_version(shared, number), resolvers=judges)

    editor = RootEditor(root_version(shared, VERSIONS[-1]), SEED)
    for number, edit in enumerate(editor.edits(EDITS), start=1):
        replay.step(
            f"edit {number} ({edit.what})", edit.text, resolvers=resolvers if number == EDITS else None
        )
    world.check_followed_by_ixfr()

    assert world.daemon.cli_json("key", "audit")["ok"]
    (token,) = world.daemon.cli_json("keystore", "list")["stores"][0]["tokens"]
    assert token["state"] == "ok"
    assert token["signatures"] >= replay.signatures
    assert world.daemon.cli_json("alerts", "list")["alerts"] == []
    assert world.daemon.stop() == 0
    assert {(key["private"], key["extractable"]) for key in hsm.inspect("dns")} == {(True, False)}
