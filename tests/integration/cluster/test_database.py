"""A database that refuses, is away, comes back, or is of another version: clear errors, in time, without secrets."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnssecd.clock import FakeClock, SystemClock
from dnssecd.cluster import chunks, schema
from dnssecd.cluster.check import check_cluster
from dnssecd.cluster.database import Database, check_synchronous
from dnssecd.cluster.errors import ClusterError, DatabaseAway, DatabaseRefused, SchemaMissing, SchemaTooNew
from dnssecd.cluster.log import PostgresLog, Tail
from dnssecd.cluster.membership import Membership
from dnssecd.cluster.schema import Migration, SchemaState, check_schema
from dnssecd.config.model import ClusterConfig, ClusterNode
from dnssecd.replacing import replace
from dnssecd.store.version_log import Appended, InDoubt, LogUnavailable
from tests.integration.cluster.world import World, Written
from tests.peers.postgres import PASSWORD, Postgres
from tests.peers.process import free_port, wait_until

pytestmark = pytest.mark.integration
ZONE = "example.com."


@pytest.fixture(scope="module")
def stoppable() -> Iterator[Postgres]:
    directory = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = Postgres(directory).make()
    yield server
    server.stop(immediately=True)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def own_postgres(stoppable: Postgres) -> Iterator[Postgres]:
    """A server that the test may stop and configure."""
    stoppable.settings = {"fsync": "off"}
    yield stoppable.start()
    stoppable.stop(immediately=True)


def failure_of(database: Database) -> ClusterError:
    begin = time.monotonic()
    with pytest.raises(ClusterError) as caught, database.own_session():
        pass
    database.close()
    assert time.monotonic() - begin < 10
    assert PASSWORD not in f"{caught.value} {caught.value.remedy} {caught.value!r}"
    return caught.value


def test_refusals_name_the_cause_and_the_remedy(postgres: Postgres, tmp_path: Path) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("not the password")
    error = failure_of(Database(postgres.place("postgres", password_file=str(wrong))))
    assert isinstance(error, DatabaseRefused)
    assert "refused the login (postgres of postgres at 127.0.0.1)" in error.what
    assert "password_file" in error.remedy
    error = failure_of(Database(postgres.place("postgres", password_file=str(tmp_path / "absent"))))
    assert "cannot be read from" in error.what
    error = failure_of(Database(postgres.place("postgres", sslmode="require")))
    assert isinstance(error, DatabaseRefused)
    assert "no TLS connection to the database" in error.what
    error = failure_of(Database(postgres.place("absent")))
    assert isinstance(error, DatabaseRefused)
    assert 'database "absent" does not exist' in error.what
    error = failure_of(Database(postgres.place("postgres", port=free_port())))
    assert isinstance(error, DatabaseAway)
    assert "cannot be reached" in error.what


def test_the_password_is_read_at_each_connection(world: World, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("old")
    database = Database(world.server.place(world.name, password_file=str(file)))
    with pytest.raises(DatabaseRefused), database.session():
        pass
    file.write_text(PASSWORD)

    def used() -> bool:
        with contextlib.suppress(DatabaseRefused), database.session() as session:
            return session.execute("SELECT 1").fetchone() == (1,)
        return False

    wait_until(used, "the next attempt has the new password")  # the pool may be between two attempts
    database.close()


def test_while_the_database_is_away_no_thread_waits_long_for_it(own_postgres: Postgres) -> None:
    database = Database(own_postgres.place("postgres"))

    def used() -> bool:
        try:
            with database.session() as session:
                return session.execute("SELECT 1").fetchone() == (1,)
        except DatabaseAway:
            return False

    assert used()
    own_postgres.stop(immediately=True)
    while used():
        pass
    used()  # the first attempt to connect fails
    for _ in range(5):
        begun = time.monotonic()
        assert not used()
        assert time.monotonic() - begun < 2.0
    own_postgres.start()
    wait_until(used, "the database is used again", 15)
    database.close()


def test_schema_versions(world: World) -> None:
    database = Database(world.server.place(world.server.make_database()))
    with database.session() as session, pytest.raises(SchemaMissing, match="no tables of the cluster"):
        check_schema(session)
    newer = (*schema.MIGRATIONS, Migration("CREATE TABLE more (n int)", 1))
    assert schema.migrate(database, newer) == SchemaState(schema.VERSION + 1, 1)
    with database.session() as session:
        assert check_schema(session).version == schema.VERSION + 1, "both versions can use it"
    newest = (*newer, Migration("DROP TABLE more", schema.VERSION + 2))
    schema.migrate(database, newest)
    with (
        database.session() as session,
        pytest.raises(SchemaTooNew, match=f"from version {schema.VERSION + 2} on"),
    ):
        check_schema(session)
    with pytest.raises(SchemaTooNew):
        schema.migrate(database)
    database.close()


def test_a_migration_that_fails_changes_nothing(world: World) -> None:
    database = Database(world.server.place(world.name))
    with pytest.raises(DatabaseRefused):
        schema.migrate(database, (*schema.MIGRATIONS, Migration("CREATE TABLE more (n int); SELECT 1/0", 1)))
    assert schema.migrate(database) == SchemaState(schema.VERSION, 1)
    assert world.sql("SELECT to_regclass('more')") == [(None,)]
    database.close()


def test_a_database_that_is_restarted(own_postgres: Postgres) -> None:
    world = World(own_postgres, "a", "b")
    node = world["a"]
    node.ownership.claim([ZONE])
    assert node.append(ZONE, 2, 1, b"before") == Appended()
    own_postgres.stop(immediately=True)
    begin = time.monotonic()
    first = node.append(ZONE, 3, 1, b"meanwhile")
    assert isinstance(first, InDoubt)
    with pytest.raises(LogUnavailable):
        node.append(ZONE, 3, 1, b"meanwhile")
    assert time.monotonic() - begin < 15
    own_postgres.start()
    begin = time.monotonic()
    while time.monotonic() - begin < 20:
        try:
            outcome = node.append(ZONE, 3, 1, b"meanwhile")
        except LogUnavailable:
            continue
        if not isinstance(outcome, InDoubt):
            break
    assert outcome == Appended()
    world.close()


def test_the_tail_wakes_at_once_and_polls(world: World) -> None:
    world["a"].ownership.claim([ZONE])
    wakes = Tail(world["b"].database).wakes(30.0)
    next(wakes)
    world["a"].append(ZONE, 2, 1, b"")
    begin = time.monotonic()
    next(wakes)
    assert time.monotonic() - begin < 10
    wakes.close()
    polled = Tail(world["b"].database).wakes(0.2)
    next(polled)
    next(polled)
    world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
    with pytest.raises(DatabaseAway):
        list(itertools.islice(polled, 100))


def test_times_are_of_the_database_in_any_time_zone(world: World) -> None:
    world.sql(f"ALTER DATABASE {world.name} SET timezone = 'Pacific/Kiritimati'")
    node = world.node("c")
    node.join()
    beat = node.membership.beat("", 0.0)
    assert abs(beat.at - time.time()) < 60
    assert 9 < beat.nodes["c"].alive_s <= 10


def test_synchronous_standby(own_postgres: Postgres) -> None:
    world = World(own_postgres, "a")
    strict = Database(own_postgres.place(world.name, require_synchronous=True))
    with strict.session() as session:
        assert "fsync is off" in check_synchronous(session)
    own_postgres.stop()
    own_postgres.settings["fsync"] = "on"
    own_postgres.start()
    with strict.own_session() as session:
        assert "no synchronous standby" in check_synchronous(session)
    own_postgres.stop()
    own_postgres.settings |= {"synchronous_standby_names": "'other'", "synchronous_commit": "off"}
    own_postgres.start()
    with strict.own_session() as session:
        assert check_synchronous(session) == "", "the daemon's own sessions wait for the standby"
    lax = Database(own_postgres.place(world.name))
    with lax.own_session() as session:
        assert "synchronous_commit is off" in check_synchronous(session)
    strict.close()
    lax.close()


def test_nothing_is_written_where_a_required_standby_is_missing(own_postgres: Postgres) -> None:
    """A standby was promoted, and no heartbeat has reached it yet: neither a record nor one in doubt is written."""
    own_postgres.stop()
    own_postgres.settings["fsync"] = "on"
    own_postgres.start()
    world = World(own_postgres, "a")
    world["a"].ownership.claim([ZONE])
    strict = Database(
        own_postgres.place(world.name, incarnation=world["a"].incarnation, require_synchronous=True)
    )
    log = PostgresLog(strict)
    large = Written(bytes(chunks.INLINE_MAX + 1))
    for record in (Written(b"one"), large):
        with pytest.raises(LogUnavailable, match="no synchronous standby"):
            log.append(ZONE, 2, 1, record)
    with pytest.raises(LogUnavailable, match="no synchronous standby"):
        log.settle(ZONE, 2, 1)
    assert log.refusal == "", "cluster-not-replicated reports it"
    assert [sequence for sequence, *_ in world["a"].read(ZONE)] == [1]
    assert world.sql("SELECT count(*) FROM chunk") == [(0,)]
    assert "no synchronous standby" in Membership(strict, 10.0).beat("", 0.0).unsafe
    lax = Database(own_postgres.place(world.name, incarnation=world["a"].incarnation))
    assert PostgresLog(lax).append(ZONE, 2, 1, large) == Appended()
    lax.close()
    strict.close()


def test_a_commit_that_did_not_wait_for_the_standby_is_in_doubt(own_postgres: Postgres) -> None:
    """PostgreSQL answers a cancelled wait for the standby as if the commit had succeeded."""
    world = World(own_postgres, "a")
    world["a"].ownership.claim([ZONE])
    world["a"].append(ZONE, 2, 1, b"")
    own_postgres.settings["synchronous_standby_names"] = "'other'"
    own_postgres.stop()
    own_postgres.start()
    world["a"].database.close()
    node = world.node("a", incarnation=world["a"].incarnation)
    outcome: list[object] = []
    thread = threading.Thread(target=lambda: outcome.append(node.append(ZONE, 3, 1, b"alone")))
    thread.start()
    with Database(own_postgres.place("postgres", "other")).own_session() as session:
        # As an administrator would who sees it hang.
        while thread.is_alive():
            session.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            )
    thread.join()
    assert outcome == [InDoubt("the database did not wait for its standby")]
    node.database.close()


def test_what_cluster_check_finds(world: World) -> None:
    config = ClusterConfig(
        node="a",
        database=world.server.uri(world.name),
        password_file=None,
        sslmode="",
        sslrootcert=None,
        require_synchronous=False,
        take_over_after=10,
        nodes={name: ClusterNode(name, (), "") for name in ("a", "b")},
    )
    database = world["a"].database
    assert all(finding.good for finding in check_cluster(database, config, 300, SystemClock()))
    world.die("b")
    found = {
        f.what: f for f in check_cluster(database, replace(config, require_synchronous=True), 5, FakeClock())
    }
    assert {what for what, finding in found.items() if not finding.good} == {"clock", "standby", "nodes"}
    assert found["nodes"].detail == "not running: b"
    nothing = Database(world.server.place("absent"))
    (finding,) = check_cluster(nothing, config, 300, SystemClock())
    assert (finding.what, finding.good) == ("database", False)
    nothing.close()
