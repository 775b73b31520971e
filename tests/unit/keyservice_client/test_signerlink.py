"""What the key service says of itself, as events, metrics and a call when it can be used again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from dnssecd.clock import FakeClock
from dnssecd.config import parse
from dnssecd.daemon.key_service import TOLD_FOR_S, WARNING_EVENTS, SignerLink
from dnssecd.keyservice_protocol import StatusReply, StoreStatus, TokenStatus, Warning
from dnssecd.ops.event_kinds import EVENT_KINDS
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics

SIGNER = Path(__file__).parents[3] / "dnssecd" / "signer"
TOML = """
[server]
[signer]
socket = "/nonexistent/signer.sock"
[keystore.local]
[policy.default]
[zone."example.com."]
file = "x"
"""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def events(tmp_path: Path, clock: FakeClock) -> Iterator[EventCore]:
    core = EventCore(tmp_path / "events.sqlite", clock)
    yield core
    core.close()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def link_to(
    events: EventCore,
    metrics: Metrics,
    clock: FakeClock,
    recovered: Callable[[], object] = lambda: None,
    needed_by: Callable[[str], float | None] = lambda keystore: None,
) -> SignerLink:
    config = parse(TOML, Path("/etc/dnssecd/config.toml"))
    return SignerLink(config, events, metrics, clock, recovered, needed_by)


def status(*warnings: Warning, state: str = "available", tokens: tuple[TokenStatus, ...] = ()) -> StatusReply:
    store = StoreStatus("hsm", "pkcs11", state, keys=2, queue=3, signatures=40, tokens=tokens)
    counters = {"requests.sign": 7, "errors.refused": 1, "refusals": 5, "signatures": 40}
    return StatusReply(0, 1, 1.0, (store,), warnings, counters)


def firing(events: EventCore) -> set[tuple[str, str, str]]:
    return {(event.name, event.subject, event.cause) for event in events.firing()}


def test_every_warning_of_the_service_is_an_event_that_exists() -> None:
    source = "".join(path.read_text() for path in SIGNER.rglob("*.py"))
    codes = set(re.findall(r'arnings\.add\(\s*"([^"]+)"', source))
    assert codes == set(WARNING_EVENTS)
    assert set(WARNING_EVENTS.values()) <= set(EVENT_KINDS)


def test_warnings_become_events_and_are_resolved(
    events: EventCore, metrics: Metrics, clock: FakeClock
) -> None:
    link = link_to(events, metrics, clock)
    now = int(clock.now())
    down = Warning("token down", "a", "no answer", now, now, 1)
    mode = Warning("PIN file mode", "/pin", "was 0644", now, now, 1, firing=False, once=True)
    link._take(status(down, mode))
    assert firing(events) == {
        ("token-down", "a", "no answer"),
        ("keystore-mode-fixed", "/pin", "was 0644"),
    }
    link._take(status(Warning("token down", "a", "device removed", now, now, 2), mode))
    assert ("token-down", "a", "device removed") in firing(events)
    over = Warning("token down", "a", "device removed", now, now, 2, firing=False)
    link._take(status(mode, over))
    assert firing(events) == {("keystore-mode-fixed", "/pin", "was 0644")}
    clock.advance(TOLD_FOR_S + 1)
    link._take(status(mode))
    assert firing(events) == set()


async def test_a_service_that_starts_is_waited_for_and_no_longer_than_allowed(
    events: EventCore, metrics: Metrics, clock: FakeClock
) -> None:
    link = link_to(events, metrics, clock)
    await link.settled(0.0)
    assert link.held() == "the key service is starting"
    waiting = asyncio.get_running_loop().create_task(link.settled(60.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    link._take(status())
    async with asyncio.timeout(5):
        await waiting
    assert link.held() == ""


async def test_a_service_that_fails_to_start_delays_no_caller(
    events: EventCore, metrics: Metrics, clock: FakeClock
) -> None:
    link = link_to(events, metrics, clock)
    link._down("no such directory")
    async with asyncio.timeout(5):
        await link.settled(60.0)
    assert "no such directory" in link.held()


def test_what_fired_before_a_restart_is_resolved(
    events: EventCore, metrics: Metrics, clock: FakeClock
) -> None:
    events.raise_event("token-evicted", None, "lied", subject="a")
    events.raise_event("key-missing", "example.com.", "another's business")
    link_to(events, metrics, clock)._take(status())
    assert {name for name, _, _ in firing(events)} == {"key-missing"}


def test_the_first_reason_is_kept_and_recovery_is_reported(
    events: EventCore, metrics: Metrics, clock: FakeClock
) -> None:
    told: list[str] = []
    link = link_to(events, metrics, clock, lambda: told.append(link.state()["state"]))
    link._take(status())
    assert told == [], "it was never away"
    link._down("it ended")
    link._down("next try in 0.3 s")
    assert firing(events) == {("signer-unreachable", "", "it ended")}
    assert metrics.registry.get_sample_value("dnssecd_signer_up") == 0
    assert "it ended" in link.held()
    link._take(status(state="unavailable"))
    assert told == ["ok"]
    assert link.held() == ""
    assert firing(events) == set()
    link._take(status())
    assert told == ["ok", "ok"], "the key store can be used again"
    link._take(status())
    assert len(told) == 2
    link._take(msgspec.structs.replace(status(), pid=2))
    assert len(told) == 3, "it was started again between two looks"


def test_what_is_known_against_key_stores(events: EventCore, metrics: Metrics, clock: FakeClock) -> None:
    link = link_to(events, metrics, clock)
    link._take(status())
    assert link.why_unusable(["hsm", "local"]) == ""
    link._take(status(state="unavailable"))
    assert link.why_unusable(["local"]) == ""
    assert link.why_unusable(["local", "hsm"]) == "key store hsm cannot be used"
    link._down("it ended")
    assert link.why_unusable(["local"]) == "the key service does not answer: it ended"
    link._take(status())
    assert link.why_unusable(["hsm"]) == ""


def test_a_removable_medium_that_is_away_is_no_failure(
    events: EventCore, metrics: Metrics, clock: FakeClock
) -> None:
    """A node of a cluster would prove its keys, which asks an operator for the medium."""
    link = link_to(events, metrics, clock)
    away = StoreStatus("usb", "software", "unavailable", removable=True)
    link._take(msgspec.structs.replace(status(), stores=(away,)))
    assert link.why_unusable(["usb"]) == ""


def test_tokens_as_metrics(events: EventCore, metrics: Metrics, clock: FakeClock) -> None:
    token = TokenStatus(
        "hsm.a",
        "down",
        sessions_open=3,
        sessions_busy=1,
        breaker="open",
        signatures=40,
        calls=2,
        latency_sum_s=0.5,
        latency_buckets={"0.1": 1, "+Inf": 2},
        errors={"DeviceError": 4},
        workers_replaced=6,
    )
    link = link_to(events, metrics, clock)
    link._take(status(tokens=(token,)))
    labels = {"keystore": "hsm", "token": "hsm.a"}
    value = metrics.registry.get_sample_value
    assert value("dnssecd_signer_up") == 1
    assert value("dnssecd_signer_requests_total", {"request": "sign"}) == 7
    assert value("dnssecd_signer_request_errors_total", {"code": "refused"}) == 1
    assert value("dnssecd_signer_refusals_total") == 5
    assert value("dnssecd_keystore_available", {"keystore": "hsm"}) == 1
    assert value("dnssecd_keystore_queue_signatures", {"keystore": "hsm"}) == 3
    assert value("dnssecd_token_sessions", {**labels, "state": "open"}) == 3
    assert value("dnssecd_token_sessions", {**labels, "state": "busy"}) == 1
    assert value("dnssecd_token_state", {**labels, "state": "down"}) == 1
    assert value("dnssecd_token_state", {**labels, "state": "ok"}) == 0
    assert value("dnssecd_token_breaker_state", labels) == 2
    assert value("dnssecd_token_signatures_total", labels) == 40
    assert value("dnssecd_token_errors_total", {**labels, "kind": "DeviceError"}) == 4
    assert value("dnssecd_token_workers_replaced_total", labels) == 6
    assert value("dnssecd_token_call_seconds_bucket", {**labels, "le": "0.1"}) == 1
    assert value("dnssecd_token_call_seconds_sum", labels) == 0.5
    assert value("dnssecd_token_call_seconds_count", labels) == 2
    link._down("gone")
    assert value("dnssecd_token_signatures_total", labels) is None, "nothing is known of it now"
