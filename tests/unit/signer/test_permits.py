"""The checks of zones and keys that are kept: those of the keys used first go, and are made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd import keyservice_protocol as wp
from dnssecd.signer import signing
from tests.unit.signer.preimages import preimage_for
from tests.unit.signer.service_world import A, B, Bench


async def test_a_key_whose_checks_went_signs_and_still_only_for_its_zone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "PERMITS_MAX", 2)
    bench = Bench(tmp_path)
    await bench.open()
    keys = [await bench.key(A) for _ in range(3)]
    requests = [
        wp.SignRequest(1, A, key.id, [preimage_for(key, "a.test.", "www.a.test.", "A", "192.0.2.1")])
        for key in keys
    ]
    for request in (*requests, *requests):
        reply = await bench.ask(request)
        assert isinstance(reply, wp.SignReply), reply
        assert bench.service.at_once(request) is not None, "its checks are kept"
    assert bench.service.at_once(requests[0]) is None, "two keys were used since"
    foreign = wp.SignRequest(
        1, B, keys[0].id, [preimage_for(keys[0], "b.test.", "www.b.test.", "A", "192.0.2.1")]
    )
    assert (await bench.refused(foreign)).code == "unknown_key"
    await bench.close()
