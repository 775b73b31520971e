"""dnssecd's own certificate: read when its files change; events for what is bad or ends soon."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.clock import FakeClock, SystemClock
from dnssecd.config.tls_model import PeerTls, TlsFiles
from dnssecd.daemon.tls_identity import BAD, EXPIRING, TlsIdentity
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from tests.peers.certificates import Authority

DAY = 86_400.0


class World:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = FakeClock(SystemClock().now())
        self.events = EventCore(home / "events", self.clock)
        self.metrics = Metrics()
        self.authority = Authority(home)
        self.own = self.authority.issue("signer.test", ends=timedelta(days=100), file="own")
        self.files: TlsFiles | None = TlsFiles(self.own.certificate, self.own.key)
        self.secondaries: dict[str, Any] = {}
        self.identity = TlsIdentity(
            cast(Any, self.config), self.events, self.clock, self.metrics.server.tls_expiration, Mailbox()
        )

    def config(self) -> SimpleNamespace:
        return SimpleNamespace(server=SimpleNamespace(tls_files=self.files), secondaries=self.secondaries)

    def firing(self) -> dict[str, str]:
        return {event.name: event.cause for event in self.events.firing()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.events.close()


def test_a_renewed_certificate_is_read(world: World) -> None:
    world.identity.look()
    first = world.identity.context()
    assert first is not None
    world.identity.look()
    assert world.identity.context() is first
    world.authority.issue("signer.test", ends=timedelta(days=200), file="own")
    world.identity.look()
    assert world.identity.context() is not first
    value = world.metrics.registry.get_sample_value("dnssecd_tls_certificate_expiration_timestamp_seconds")
    assert value == pytest.approx(world.clock.now() + 200 * DAY, abs=60)
    assert world.firing() == {}


def test_a_bad_renewal_leaves_the_previous_one_in_use(world: World) -> None:
    world.identity.look()
    first = world.identity.context()
    good = world.own.key.read_bytes()
    other = world.authority.issue("other.test", file="other")
    world.own.key.write_bytes(other.key.read_bytes())
    world.identity.look()
    assert world.firing() == {}, "key and certificate may be replaced one after the other"
    world.identity.look()
    assert "is not the key of" in world.firing()[BAD]
    assert "the previous certificate stays in use" in world.firing()[BAD]
    assert world.identity.context() is first
    world.own.key.write_bytes(good)
    world.identity.look()
    assert world.firing() == {}
    assert world.identity.context() is not first


def test_without_a_usable_certificate_there_is_none(world: World) -> None:
    world.own.certificate.write_text("nothing")
    world.identity.look()
    assert world.identity.context() is None
    assert "TLS connections are closed until it can be used" in world.firing()[BAD]
    world.files = None
    world.identity.look()
    assert world.firing() == {}


def test_the_end_of_a_certificate_is_announced(world: World) -> None:
    world.identity.look()
    world.clock.advance(87 * DAY)
    world.identity.look()
    assert "expires in 13.0 days" in world.firing()[EXPIRING]
    world.clock.advance(14 * DAY)
    world.identity.look()
    assert "has expired" in world.firing()[BAD]
    assert EXPIRING not in world.firing()
    assert world.identity.context() is not None, "peers decide, and those with a pin accept it"


def test_an_authority_that_cannot_be_read_stops_one_secondary_only(world: World) -> None:
    tls = PeerTls("a.test", world.home / "gone.pem", mutual=True)
    world.secondaries = {"a": SimpleNamespace(tls=tls), "b": SimpleNamespace(tls=None)}
    world.identity.look()
    assert world.identity.context() is not None
    assert "gone.pem cannot be read" in world.firing()[BAD]
    (world.home / "gone.pem").write_bytes(world.authority.path.read_bytes())
    world.identity.look()
    assert world.firing() == {}
