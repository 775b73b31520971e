"""A lying token meets the independent verification: it is evicted, and the version is made with the other one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.launch import launched_signer
from dnssecd.keyservice_settings import KeystoreSettings, SignerSettings, TokenSettings
from dnssecd.pipeline.jobs.job import Tools
from dnssecd.pipeline.jobs.verify_published import verify_published
from dnssecd.pipeline.workers.checker_pool import spread_checker
from tests.faults.hsm.faulty import FaultyHsm, cloned_keys
from tests.integration.hsm.softhsm import MODULE
from tests.pipeline_zone import ZONE, PipelineZone

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]
ORIGIN = text_to_wire("example.")
MANY = "".join(f"h{number} IN A 192.0.2.1\n" for number in range(400))


def settings(hsm: FaultyHsm, *tokens: TokenSettings) -> SignerSettings:
    store = KeystoreSettings(name="local", type="pkcs11", tokens=tokens)
    return SignerSettings(
        socket=str(hsm.path / "run" / "s"), state_dir=str(hsm.path / "state"), keystores=(store,)
    )


@pytest.fixture
def zone(hsm: FaultyHsm, tmp_path: Path) -> Iterator[PipelineZone]:
    """Tokens "dns" (well) and "twin" (behind the shim) with the zone's keys."""
    hsm.make_token("twin")
    cloned_keys(hsm, "dns", "twin")
    one = settings(hsm, hsm.token("dns", module=MODULE), hsm.token("twin"))
    with launched_signer(one), SignerClient(one.socket, owners=None) as signer:
        for role, cka_id in (("ksk", "f0"), ("zsk", "f1")):
            signer.adopt(ORIGIN, role, 13, cka_id=cka_id)  # type: ignore[arg-type]
        made = PipelineZone(tmp_path, one.socket)
        yield made
        made.close()


def token_states(zone: PipelineZone) -> dict[str, str]:
    return {token.name: token.state for token in zone.signer.status().stores[0].tokens}


def test_what_verification_finds_evicts_the_token(hsm: FaultyHsm, zone: PipelineZone) -> None:
    """One signature in 90 is bad: the service's own samples are likely to miss it, the verification never does."""
    assert zone.load(ZONE).result == "published"
    assert token_states(zone) == {"dns": "ok", "twin": "ok"}
    hsm.orders("corrupt 90")
    outcome = zone.load(ZONE + MANY)
    assert outcome.result == "published", "in one go, with the other token"
    assert token_states(zone) == {"dns": "ok", "twin": "evicted"}
    audit = zone.signer.audit()
    assert audit.ok
    assert {"warning", "wrong signature"} & {entry.event for entry in audit.entries}
    with spread_checker() as checker:
        tools = Tools(zone.signer, checker, zone.now, 20260921, zone.tools().monotonic)
        assert verify_published(zone.db, zone.spec, tools).result == "unchanged"
    hsm.orders()
    assert "used again: twin" in zone.signer.test_store("local")
    assert zone.load(ZONE + MANY + "more IN A 192.0.2.1\n").result == "published"


def test_the_only_token_lies(hsm: FaultyHsm, tmp_path: Path) -> None:
    """Nothing is published, the previous version is kept; when the token is well again work continues."""
    one = settings(hsm, hsm.token("dns"))
    with launched_signer(one):
        zone = PipelineZone(tmp_path, one.socket)
        assert zone.load(ZONE).result == "published"
        serial = zone.serial()
        hsm.orders("corrupt 90")
        outcome = zone.load(ZONE + MANY)
        assert outcome.result == "failed"
        assert outcome.problems[0].event in ("verification-failed", "signing-failed")
        assert zone.serial() == serial
        assert token_states(zone) == {"dns": "evicted"}
        hsm.orders()
        zone.signer.test_store("local")
        assert zone.load(ZONE + MANY).result == "published"
        zone.close()
