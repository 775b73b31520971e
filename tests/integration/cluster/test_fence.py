"""The fence: at most one record at each sequence, whatever the writers believe. Against a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from dnssecd.cluster import schema
from dnssecd.cluster.database import Database
from dnssecd.cluster.membership import settings_of
from dnssecd.cluster.outbox import Outbox
from dnssecd.cluster.ownership import Taken, owner_of
from dnssecd.store.record_codec import BadRecord
from dnssecd.store.version_log import Appended, Effect, Fenced, InDoubt, LogShorter, LogUnavailable
from tests.integration.cluster.world import World
from tests.peers.proxy import Proxy

pytestmark = pytest.mark.integration
ZONE = "example.com."


def owned(world: World) -> Taken:
    (taken,) = world["a"].ownership.claim([ZONE])
    return taken


def test_records_are_read_as_they_were_appended(world: World) -> None:
    taken = owned(world)
    assert (taken.epoch, taken.sequence) == (1, 1)
    assert world["a"].append(ZONE, 2, 1, b"first") == Appended()
    assert world["a"].append(ZONE, 3, 1, b"second") == Appended()
    assert world["b"].read(ZONE) == [
        (1, "OWNERSHIP", 1, b""),
        (2, "VERSION", 1, b"first"),
        (3, "VERSION", 1, b"second"),
    ]
    assert world["b"].log.heads() == {ZONE: 3}


def test_a_long_log_is_read_without_gaps(world: World) -> None:
    owned(world)
    for sequence in range(2, 125):
        world["a"].append(ZONE, sequence, 1, b"%d" % sequence)
    assert [(row[0], row[3]) for row in world["b"].read(ZONE, 1)] == [(n, b"%d" % n) for n in range(2, 125)]


def test_a_large_record_comes_in_chunks(world: World) -> None:
    owned(world)
    octets = b"".join(bytes([n % 251]) * 700_001 for n in range(8))
    assert world["a"].append(ZONE, 2, 1, octets) == Appended()
    (record,) = world["b"].log.read(ZONE, 1)
    chunks = list(record.chunks)
    assert max(map(len, chunks)) <= 1 << 20
    assert b"".join(chunks) == octets
    assert world["a"].append(ZONE, 2, 1, octets) == Appended(), "the same again"
    assert world.sql("SELECT count(DISTINCT upload) FROM chunk") == [(1,)], "nothing is left of the second"


def test_two_connections_never_get_one_sequence(world: World) -> None:
    owned(world)
    node, start, won = world["a"], threading.Barrier(8), []

    def write(number: int) -> None:
        start.wait()
        for sequence in range(2, 40):
            if isinstance(node.append(ZONE, sequence, 1, b"%d" % number), Appended):
                won.append(sequence)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(write, number) for number in range(8)]:
            done.result()
    assert sorted(won) == list(range(2, 40))
    assert world.sql("SELECT count(*), count(DISTINCT sequence) FROM log") == [(39, 39)]


def test_a_paused_owner_is_fenced_when_it_wakes(world: World) -> None:
    owned(world)
    world["a"].append(ZONE, 2, 1, b"version")
    world.die("a")
    assert world["b"].ownership.take_over({ZONE: 2}) == [Taken(ZONE, 2, 3)]
    assert isinstance(world["a"].append(ZONE, 3, 1, b"late"), Fenced)
    assert isinstance(world["a"].append(ZONE, 4, 1, b"late, and it has read the log"), Fenced)
    assert isinstance(world["a"].append(ZONE, 4, 2, b"late, with a stolen epoch"), Fenced)
    assert world["b"].append(ZONE, 4, 2, b"new owner") == Appended()


def test_append_and_take_over_at_once(world: World) -> None:
    """Whoever is first wins; the log has either the record or the take-over at the sequence, never both."""
    outcomes = set()
    for number in range(20):
        zone = f"z{number}.example."
        world["a"].membership.beat("", 0.0)
        world["a"].ownership.claim([zone])
        world.die("a")
        start = threading.Barrier(2)

        def append(zone: str = zone, start: threading.Barrier = start) -> object:
            start.wait()
            return world["a"].append(zone, 2, 1, b"last words")

        def take(zone: str = zone, start: threading.Barrier = start) -> object:
            start.wait()
            return world["b"].ownership.take_over({zone: 1})

        with ThreadPoolExecutor(2) as pool:
            record, taken = pool.submit(append), pool.submit(take)
            assert isinstance(record.result(), Appended) != bool(taken.result())
        outcomes.add(bool(taken.result()))
        assert world.sql(f"SELECT count(*), max(sequence) FROM log WHERE zone = '{zone}'") == [(2, 2)]
        owner = owner_of(world["b"].database, zone)
        assert owner is not None
        assert owner.node == ("b" if taken.result() else "a")


def test_an_append_that_waits_for_an_open_take_over_is_fenced(world: World) -> None:
    """The trigger saw the old epoch already: only UNIQUE (zone, sequence) stops this one."""
    owned(world)
    world.die("a")
    with world["b"].database.own_session() as session, ThreadPoolExecutor(1) as pool:
        session.execute("BEGIN")
        session.execute(
            "INSERT INTO log (zone, sequence, epoch, kind, node, incarnation, digest, octets, body) "
            "VALUES (%s, 2, 2, 'ownership', 'b', %s, '', 0, '')",
            (ZONE, world["b"].incarnation),
        )
        session.execute("UPDATE ownership SET node = 'b', epoch = 2 WHERE zone = %s", (ZONE,))
        record = pool.submit(world["a"].append, ZONE, 2, 1, b"late")
        waits = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%appended%'"
        )
        while not record.done() and world.sql(waits) == [(0,)]:
            pass
        session.execute("COMMIT")
        assert isinstance(record.result(), Fenced)
    assert world.sql("SELECT count(*) FROM log WHERE sequence = 2") == [(1,)]


def test_another_incarnation_may_not_write(world: World) -> None:
    """A process that was paused while the same node was started again elsewhere."""
    owned(world)
    old = world["a"]
    world.die("a")
    world.node("a").join()
    assert isinstance(old.append(ZONE, 2, 1, b"of the old process"), Fenced)
    assert world["a"].append(ZONE, 2, 1, b"of the new process") == Appended()


def test_no_gaps(world: World) -> None:
    owned(world)
    with pytest.raises(LogShorter, match="lacks the record before"):
        world["a"].append(ZONE, 9, 1, b"")


def test_the_answer_to_a_commit_is_lost(world: World) -> None:
    owned(world)
    with Proxy(world.server.port) as proxy:
        node = world.node("a", proxy.port, world["a"].incarnation)
        assert node.append(ZONE, 2, 1, b"before") == Appended()
        proxy.cut_after = b"a record whose answer is lost"
        lost = node.append(ZONE, 3, 1, b"a record whose answer is lost")
        assert isinstance(lost, InDoubt)
        assert proxy.cuts == 1
        assert node.append(ZONE, 3, 1, b"a record whose answer is lost") == Appended()
        proxy.cut_before = b"a record that is lost"
        assert isinstance(node.append(ZONE, 4, 1, b"a record that is lost"), InDoubt)
        assert node.append(ZONE, 4, 1, b"a record that is lost") == Appended()
        proxy.cut_before = b"a record that the process forgot"
        assert isinstance(node.append(ZONE, 5, 1, b"a record that the process forgot"), InDoubt)
        assert node.log.settle(ZONE, 5, 1) == Appended()
        assert isinstance(node.append(ZONE, 5, 1, b"a record that the process forgot"), Fenced)
        node.database.close()
    kinds = [row[:2] for row in world["b"].read(ZONE, 1)]
    assert kinds == [(2, "VERSION"), (3, "VERSION"), (4, "VERSION"), (5, "BLANK")]


def test_a_large_commit_is_cut(world: World) -> None:
    owned(world)
    with Proxy(world.server.port) as proxy:
        node = world.node("a", proxy.port, world["a"].incarnation)
        big = bytes(range(256)) * 8192
        proxy.cut_after = b"COMMIT"
        assert isinstance(node.append(ZONE, 2, 1, big), InDoubt)
        assert node.append(ZONE, 2, 1, big) == Appended()
        node.database.close()
    assert world["b"].read(ZONE, 1) == [(2, "VERSION", 1, big)]


def test_a_half_open_connection_ends_within_the_deadline(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned(world)
    monkeypatch.setattr("dnssecd.cluster.database.CALL_S", 1.0)
    with Proxy(world.server.port) as proxy:
        node = world.node("a", proxy.port, world["a"].incarnation)
        assert node.append(ZONE, 2, 1, b"before") == Appended()
        proxy.silent.set()
        outcome = node.append(ZONE, 3, 1, b"in silence")
        assert isinstance(outcome, InDoubt)
        assert "no answer for 1 s" in outcome.cause
        proxy.silent.clear()
        assert node.append(ZONE, 3, 1, b"in silence") == Appended()
        node.database.close()


def test_rows_that_no_node_writes_are_refused_in_bounded_memory(world: World) -> None:
    """What stands in the tables may have been written by anyone who can write to the database."""
    owned(world)
    node, log = world["a"], world["b"].log
    big = bytes(range(256)) * 8192
    node.append(ZONE, 2, 1, b"small")
    node.append(ZONE, 3, 1, big)
    whole = world.sql("SELECT body FROM chunk ORDER BY part")
    assert len(whole) == 2

    def refused(statement: str, why: str) -> None:
        world.sql(statement)
        with pytest.raises(BadRecord, match=why):
            world["b"].read(ZONE, 1)

    refused("UPDATE chunk SET body = '' WHERE part = 1", "part 1 of a record is empty")
    refused("UPDATE chunk SET body = repeat('x', 2000000)::bytea WHERE part = 1", "part 1 of a record")
    refused("UPDATE log SET octets = 1500000 WHERE sequence = 3", "part 1 of a record")
    refused("UPDATE log SET octets = 1::bigint << 40 WHERE sequence = 3", "a record has")
    world.sql("UPDATE log SET body = repeat('x', 2000000)::bytea WHERE sequence = 2")
    (first, *_) = log.read(ZONE, 1)
    with pytest.raises(BadRecord, match="more than 1048576 octets in its row"):
        list(first.chunks)
    world.sql("ALTER TABLE log DROP CONSTRAINT log_kind_check")
    world.sql("UPDATE log SET kind = 'other' WHERE sequence = 2")
    with pytest.raises(LogUnavailable, match="of a kind that this dnssecd does not know"):
        world["b"].read(ZONE, 1)
    world.sql(
        "UPDATE node SET address = array_fill(repeat('x', 1000), ARRAY[10]), settings = repeat('x', 17000000)::bytea"
    )
    found = world["b"].membership.beat("", 0.0).nodes["a"]
    assert (len(found.address), len(found.address[0])) == (8, 100)
    assert settings_of(world["b"].database, "a") is None


def test_effects_are_written_with_the_record(world: World) -> None:
    owned(world)
    node, effect = world["a"], Effect("notify-cds", "example.com./2/cds", b"{}")
    assert node.append(ZONE, 2, 1, b"one", effect) == Appended()
    assert node.append(ZONE, 2, 1, b"one", effect) == Appended()
    assert node.append(ZONE, 2, 1, b"two", Effect("x", "x", b"")) == Fenced("a", 1)
    mine, others = Outbox(world["a"].database, "a"), Outbox(world["b"].database, "b")
    assert others.begin(60) == []
    (begun,) = mine.begin(60)
    assert (begun.kind, begun.key, begun.body, begun.tries) == (effect.kind, effect.key, effect.document, 1)
    assert mine.begin(60) == [], "it was begun"
    (again,) = mine.begin(0)
    assert (again.key, again.tries) == (effect.key, 2)
    world.die("a")
    world["b"].ownership.take_over({ZONE: 2})
    (taken,) = others.begin(0)
    assert taken.key == effect.key, "the new owner repeats it with the same key"
    others.done([taken])
    assert (others.begin(0), others.waiting()) == ([], 0)


def test_news_leaves_nothing_out(world: World) -> None:
    """A transaction that began earlier and commits later than others is reported at the next look."""
    world["a"].ownership.claim([ZONE, "b.example.", "c.example."])
    node, log = world["a"], world["b"].log
    position, found = log.news("0")
    assert found == {ZONE: 1, "b.example.": 1, "c.example.": 1}
    with world["a"].database.own_session() as slow:
        slow.execute("BEGIN")
        slow.execute(
            "INSERT INTO log (zone, sequence, epoch, kind, node, incarnation, digest, octets, body) "
            "VALUES ('b.example.', 2, 1, 'version', 'a', %s, '', 0, '')",
            (world["a"].incarnation,),
        )
        node.append(ZONE, 2, 1, b"")
        position, found = log.news(position)
        assert found[ZONE] == 2
        assert found.get("b.example.", 1) == 1
        slow.execute("COMMIT")
    position, found = log.news(position)
    assert found["b.example."] == 2
    assert log.news(position)[1] == {}
    later = str(int(position) + 1000)  # of a primary whose last transactions a failover lost
    assert log.news(later) == (position, {ZONE: 2, "b.example.": 2, "c.example.": 1})


@pytest.mark.parametrize(
    "check",
    [
        test_two_connections_never_get_one_sequence,
        test_an_append_that_waits_for_an_open_take_over_is_fenced,
        test_the_answer_to_a_commit_is_lost,
    ],
)
def test_without_the_unique_constraint_the_checks_fail(world: World, check: Callable[[World], None]) -> None:
    world.sql("ALTER TABLE log DROP CONSTRAINT log_fence")
    with pytest.raises(AssertionError):
        check(world)


def test_the_trigger_alone_refuses_old_epochs(world: World) -> None:
    owned(world)
    world.sql("ALTER TABLE log DROP CONSTRAINT log_fence")
    world.die("a")
    world["b"].ownership.take_over({ZONE: 1})
    assert isinstance(world["a"].append(ZONE, 3, 1, b"late"), Fenced)


def test_migrations_take_turns(world: World) -> None:
    database = Database(world.server.place(world.server.make_database()))
    with ThreadPoolExecutor(4) as pool:
        states = [done.result() for done in [pool.submit(schema.migrate, database) for _ in range(4)]]
    assert {state.version for state in states} == {schema.VERSION}
    database.close()
