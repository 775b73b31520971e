"""Leases, take-over, moves, drains: who may own a zone, by the database's clock. Against a real PostgreSQL."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dnssecd.cluster import membership, retention
from dnssecd.cluster.errors import ClusterError, NameTaken, Superseded
from dnssecd.cluster.ownership import Taken, Target, give_up, move, moves, owners, preferred, withdraw
from dnssecd.cluster.retention import Progress
from dnssecd.store.version_log import Appended, Fenced, Position
from tests.integration.cluster.world import World, Written

pytestmark = pytest.mark.integration
ZONE = "example.com."


def test_two_nodes_with_one_name(world: World) -> None:
    second = world.node("a")
    with pytest.raises(NameTaken, match="a node named a is running already, at a:53"):
        second.join()
    first = world._nodes[1]
    assert first.membership.beat("", 0.0).nodes["a"].may_own
    second.join(previous=first.incarnation)
    with pytest.raises(Superseded, match="another process joined the cluster as node a"):
        first.membership.beat("", 0.0)
    world.die("a")
    world.node("a").join()


def test_a_heartbeat_is_one_statement_and_knows_all(world: World) -> None:
    world["a"].ownership.claim([ZONE])
    beat = world["b"].membership.beat("", 0.25)
    assert set(beat.nodes) == {"a", "b"}
    assert beat.nodes["b"].clock_offset_s == 0.25
    assert 9 < beat.nodes["b"].alive_s <= 10
    assert not beat.moves
    move(world["a"].database, ZONE, "b")
    assert world["b"].membership.beat("", 0.0).moves
    assert not world["a"].membership.beat("", 0.0).moves


def test_a_zone_is_taken_over_once(world: World) -> None:
    for name in ("c", "d"):
        world.node(name).join()
    world["a"].ownership.claim([ZONE])
    takers = [world[name] for name in ("b", "c", "d")]
    for taker in takers:
        assert taker.ownership.take_over({ZONE: 1}) == [], "its owner is alive"
    world.die("a")
    assert world["b"].ownership.take_over({ZONE: 0}) == [], "b has not applied the log"
    with ThreadPoolExecutor(3) as pool:
        found = [done.result() for done in [pool.submit(t.ownership.take_over, {ZONE: 1}) for t in takers]]
    assert sum(map(len, found)) == 1
    assert next(taken for taken in found if taken) == [Taken(ZONE, 2, 2)]


def test_who_may_not_own_takes_nothing(world: World) -> None:
    world["a"].ownership.claim([ZONE])
    world["b"].membership.beat("the clock differs by 400 s", 400.0)
    world.die("a")
    assert world["b"].ownership.take_over({ZONE: 1}) == []
    assert world["b"].ownership.claim(["other.example."]) == []
    world["b"].membership.beat("", 0.0)
    world.die("b")
    assert world["b"].ownership.take_over({ZONE: 1}) == [], "its own lease has ended"
    world["b"].membership.beat("", 0.0)
    assert world["b"].ownership.take_over({ZONE: 1}) == [Taken(ZONE, 2, 2)]


def test_nodes_that_can_take_a_zone_over(world: World) -> None:
    other = "example.net."
    for name in ("c", "d"):
        world.node(name).join()
    database = world["a"].database

    def able() -> dict[str, list[str]]:
        return retention.able_nodes(database, [ZONE, other], ["b", "c", "d"])

    assert able() == {}, "none has the zones"
    for name in ("a", "b", "c", "d"):
        retention.report_applied(database, name, {ZONE: Progress(1)})
    retention.report_applied(database, "b", {other: Progress(1)})
    assert able() == {ZONE: ["b", "c", "d"], other: ["b"]}
    retention.report_applied(
        database, "b", {ZONE: Progress(1, why_not="a key"), other: Progress(1, "refused")}
    )
    assert able() == {ZONE: ["c", "d"]}
    membership.set_draining(database, "c", True)
    world["d"].membership.beat("the clock differs by 400 s", 400.0)
    assert able() == {}
    membership.set_draining(database, "c", False)
    assert able() == {ZONE: ["c"]}
    world.die("c")
    assert able() == {}


def test_what_an_owner_gives_up_and_keeps(world: World) -> None:
    database, other = world["a"].database, "example.net."
    world.node("c").join()
    world["a"].ownership.claim([ZONE])
    world["b"].ownership.claim([other])

    def moving() -> dict[str, str]:
        found = {zone: owner.move_to for zone, owner in owners(database).items()}
        assert moves(database, [ZONE, other, "x."]) == {zone: node for zone, node in found.items() if node}
        return found

    given = give_up(database, "a", {ZONE: Target("b", ""), other: Target("b", "")})
    assert given == [ZONE], "its own alone"
    assert moving() == {ZONE: "b", other: ""}
    assert give_up(database, "a", {ZONE: Target("c", "")}) == [], "someone named another node meanwhile"
    assert give_up(database, "a", {ZONE: Target("c", "b")}) == [ZONE]
    assert withdraw(database, "a", {ZONE: "b"}) == []
    assert withdraw(database, "b", {ZONE: "c"}) == []
    assert moving()[ZONE] == "c"
    assert withdraw(database, "a", {ZONE: "c"}) == [ZONE]
    assert moving()[ZONE] == ""


@pytest.mark.parametrize("reason", ["draining", "clock", "leave", "move"])
def test_a_living_owner_gives_zones_up(world: World, reason: str) -> None:
    owner, taker = world["a"], world["b"]
    owner.ownership.claim([ZONE])
    match reason:
        case "draining":
            membership.set_draining(taker.database, "a", True)
            assert owner.membership.beat("", 0.0).nodes["a"].draining
        case "clock":
            owner.membership.beat("the clock differs by 400 s", 400.0)
        case "leave":
            owner.membership.leave()
        case "move":
            move(owner.database, ZONE, "b")
    assert owner.append(ZONE, 2, 1, b"it still owns the zone") == Appended()
    assert taker.ownership.take_over({ZONE: 2}) == [Taken(ZONE, 2, 3)]
    assert isinstance(owner.append(ZONE, 3, 1, b"and now not"), Fenced)
    if reason == "draining":
        assert owner.ownership.take_over({ZONE: 3}) == []
        membership.set_draining(taker.database, "a", False)
        taker.membership.leave()
        assert owner.ownership.take_over({ZONE: 3}) == [Taken(ZONE, 3, 4)]


def test_moves_and_drains_of_unknown_nodes(world: World) -> None:
    world["a"].ownership.claim([ZONE])
    with pytest.raises(ClusterError, match="no node x has ever joined"):
        move(world["a"].database, ZONE, "x")
    with pytest.raises(ClusterError, match="no owner"):
        move(world["a"].database, "x.example.", "b")
    with pytest.raises(ClusterError, match="no node x has ever joined"):
        membership.set_draining(world["a"].database, "x", True)


def test_first_claims_at_once(world: World) -> None:
    zones = [f"z{number}.example." for number in range(50)]
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(world[name].ownership.claim, zones) for name in ("a", "b")]
    taken = [one.zone for each in found for one in each.result()]
    assert sorted(taken) == sorted(zones)
    assert sorted(owners(world["a"].database)) == sorted(zones)


def test_ten_thousand_zones_move_at_once(world: World) -> None:
    zones = [f"z{number}.example." for number in range(10_000)]
    assert len(world["a"].ownership.claim(zones)) == len(zones)
    world.node("c").join()
    world.die("a")
    begin = time.monotonic()
    share = {name: {zone: 1 for zone in zones if preferred(zone, ["b", "c"]) == name} for name in ("b", "c")}
    with ThreadPoolExecutor(2) as pool:
        found = {name: pool.submit(world[name].ownership.take_over, wanted) for name, wanted in share.items()}
    taken = {name: {one.zone for one in each.result()} for name, each in found.items()}
    took_s = time.monotonic() - begin
    assert all(taken[name] == set(share[name]) for name in share)
    assert min(map(len, taken.values())) > 4_500, "the zones of a dead node spread over the others"
    begin = time.monotonic()
    world["b"].membership.beat("", 0.0)
    print(f"10,000 zones taken over in {took_s:.2f} s; heartbeat {1000 * (time.monotonic() - begin):.1f} ms")
    assert len(world["b"].log.heads()) == 10_000
    _, found_news = world["a"].log.news("0")
    assert set(found_news.values()) == {2}


def test_zones_that_no_other_node_can_take_over(world: World) -> None:
    database, zones = world["a"].database, (ZONE, "other.test.")
    world["a"].ownership.claim(zones)

    def alone() -> dict[str, dict[str, str]]:
        return retention.without_successor(database, "a", ["b", "c"])

    def report(**whys: str) -> None:
        progress = {zone: Progress(1, **whys) for zone in zones}
        retention.report_applied(world["b"].database, "b", progress)

    assert alone() == {zone: {} for zone in zones}, "b has not read their logs"
    report()
    assert alone() == {}
    assert retention.without_successor(database, "b", ["a", "c"]) == {}, "those of this node only"
    assert set(retention.without_successor(database, "a", ["c"])) == set(zones), "b is not configured"
    for why in ("refused", "why_not"):
        report(**{why: "a cause"})
        assert alone() == {zone: {"b": "a cause"} for zone in zones}
        report()
        assert alone() == {}
    for change, back in (
        ("draining = true", "draining = false"),
        ("unfit = 'its clock'", "unfit = ''"),
        ("alive_until = clock_timestamp()", "alive_until = clock_timestamp() + interval '10 s'"),
    ):
        world.sql(f"UPDATE node SET {change} WHERE name = 'b'")
        assert set(alone()) == set(zones)
        world.sql(f"UPDATE node SET {back} WHERE name = 'b'")
        assert alone() == {}


def test_retention_keeps_what_a_live_node_needs(world: World) -> None:
    world["a"].ownership.claim([ZONE])
    for sequence in range(2, 10):
        world["a"].append(ZONE, sequence, 1, b"x" * 1000)
    node, database, digest = world["a"], world["a"].database, Written(b"x" * 1000).digest
    assert retention.prune(database, ZONE) == 0, "there is no snapshot"
    size = retention.log_size(database, ZONE)
    assert size == (8000, 0)
    assert not size.wants_snapshot(3_000), "small logs are left alone"
    assert retention.LogSize(9 << 20, 0).wants_snapshot(4 << 20)
    content = Written(b"all of it" * 200_000)
    assert node.log.put_snapshot(ZONE, Position(6, 1, "other"), content) == Fenced("a", 1)
    assert node.log.put_snapshot(ZONE, Position(6, 1, digest), content) == Appended()
    assert node.log.put_snapshot(ZONE, Position(5, 1, digest), Written(b"older")) == Appended()
    assert retention.log_size(database, ZONE) == (3000, 1_800_000)
    assert world["b"].read(ZONE)[0][:2] == (1, "OWNERSHIP"), "a snapshot only when a record is not kept"
    assert retention.prune(database, ZONE) == 0, "b is alive and has applied nothing"
    retention.report_applied(database, "a", {ZONE: Progress(9)})
    retention.report_applied(world["b"].database, "b", {ZONE: Progress(4, "it does not verify")})
    assert retention.progress_of(database, ZONE) == {"a": (9, "", ""), "b": (4, "it does not verify", "")}
    assert retention.prune(database, ZONE) == 4
    world.sql("UPDATE node SET alive_until = clock_timestamp() - interval '2 d' WHERE name = 'b'")
    assert retention.prune(database, ZONE) == 2, "up to the snapshot"
    found = world["b"].read(ZONE)
    assert [row[:2] for row in found] == [(6, "SNAPSHOT"), *((n, "VERSION") for n in (7, 8, 9))]
    assert found[0][2:] == (1, b"all of it" * 200_000)
    assert [row[0] for row in world["b"].read(ZONE, 7)] == [8, 9]
    node.log.put_snapshot(ZONE, Position(9, 1, digest), Written(b"newer"))
    assert retention.prune(database, ZONE) == 2
    assert node.log.heads() == {ZONE: 9}, "the newest record stays"
    assert world["a"].append(ZONE, 10, 1, b"") == Appended()
    assert world.sql("SELECT count(*) FROM chunk") == [(1,)]
