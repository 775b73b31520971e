"""The database of the cluster lost records, and others took their places. Against a real PostgreSQL."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from dnssecd.cluster.ownership import Taken
from dnssecd.core.verify import inline_checker
from dnssecd.pipeline.follow.apply import catch_up
from dnssecd.store.errors import LogInDoubt
from dnssecd.store.version_log import Appended, LogShorter
from tests.integration.cluster.test_zones_over_the_log import EXAMPLE, Zone
from tests.integration.cluster.world import World
from tests.pipeline_zone import ZONE

pytestmark = pytest.mark.integration


def digest(octets: bytes) -> str:
    return sha256(octets).hexdigest()


def replace_last_record(world: World) -> None:
    """A failover lost record 3; its owner, or a copy of it, wrote another one there."""
    world["a"].ownership.claim([EXAMPLE])
    world["a"].append(EXAMPLE, 2, 1, b"first")
    world["a"].append(EXAMPLE, 3, 1, b"lost")
    world.sql("DELETE FROM log WHERE sequence = 3")
    assert world["a"].append(EXAMPLE, 3, 1, b"other") == Appended()


def test_a_node_with_a_lost_record_sees_that_another_has_its_place(world: World) -> None:
    replace_last_record(world)
    assert world["b"].read(EXAMPLE, 3, digest(b"other")) == []
    with pytest.raises(LogShorter, match="other records up to 3"):
        world["b"].read(EXAMPLE, 3, digest(b"lost"))
    world["a"].log.settle(EXAMPLE, 4, 1)
    assert [row[0] for row in world["b"].read(EXAMPLE, 3, digest(b"other"))] == [4]
    with pytest.raises(LogShorter):
        world["b"].read(EXAMPLE, 3, digest(b"lost"))


def test_a_node_with_a_lost_record_does_not_take_the_zone_over(world: World) -> None:
    """It would sign other content under serials that are published."""
    replace_last_record(world)
    world.die("a")
    taker = world["b"].ownership
    assert taker.take_over({EXAMPLE: 3}, {EXAMPLE: digest(b"lost")}) == []
    assert taker.take_over({EXAMPLE: 3}, {EXAMPLE: digest(b"other")}) == [Taken(EXAMPLE, 2, 4)]


def test_an_owner_whose_log_lost_records_stops_and_says_why(
    world: World, tmp_path: Path, signer: str
) -> None:
    """Also while a version is in doubt: it is not settled, and that is reported as well."""
    zone = Zone(tmp_path / "a", signer, world["a"])
    troubles = list[Exception]()
    zone.own()
    zone.log.trouble = troubles.append
    assert zone.load(ZONE).serial == 1
    world.sql("DELETE FROM log WHERE sequence = 2")
    outcome = zone.load(ZONE + "more IN A 192.0.2.7\n", accept_change=True)
    assert outcome.problems[0].event == "log-in-doubt"
    (trouble,) = troubles
    assert isinstance(trouble, LogInDoubt)
    with pytest.raises(LogShorter):
        world["a"].log.settle(EXAMPLE, trouble.sequence, trouble.epoch)
    assert world.sql("SELECT max(sequence) FROM log") == [(1,)]
    found = catch_up(zone.db, world["a"].log, zone.spec, inline_checker, zone.now)
    assert (found.stopped, found.serial) == ("log shorter", 1)
    zone.close()
