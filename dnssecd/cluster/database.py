"""Connections to the database: settings, deadlines, and PostgreSQL's errors as errors of the cluster.

Every call has a deadline on this side, because a server that hangs enforces none of its own. A call that reaches it
closes its connection and never cancels the statement: PostgreSQL answers a cancelled COMMIT that waits for the
synchronous standby as if it had succeeded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import conninfo, errors
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from dnssecd.cluster.errors import ClusterError, DatabaseAway, DatabaseRefused, NotReplicated
from dnssecd.store.log_place import LogPlace

#: Seconds: for a connection; for a statement, by the server and (a little later) by this side.
CONNECT_S, STATEMENT_S, CALL_S = 3, 5, 7.0
#: Seconds that a caller waits for a connection of the pool.
POOL_WAIT_S = 5.0
#: The same while the last attempt to connect has failed: the thread of the caller is needed for other work.
FAILING_WAIT_S = 0.5
#: The settings of each session. Times without a unit are milliseconds.
_SESSION = {
    "search_path": "dnssecd",
    "timezone": "UTC",
    "datestyle": "ISO",
    "statement_timeout": f"{STATEMENT_S}s",
    "lock_timeout": f"{STATEMENT_S}s",
    "idle_in_transaction_session_timeout": "10s",
    "default_transaction_isolation": "read\\ committed",
}
_LINK = {
    "connect_timeout": str(CONNECT_S),
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "7000",
}

T = TypeVar("T")

# The causes are reported by the errors of this module; the pool would repeat them without their remedy.
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)


class Session(psycopg.Connection[TupleRow]):
    """A connection with a deadline for each wait. ``unreplicated``: the last COMMIT is not at the standby."""

    unreplicated = False

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Run a call to its end; close the connection at the deadline, and raise OperationalError."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, CALL_S)
        except errors._WaitTimeout:
            self.close()
            raise errors.OperationalError(f"no answer for {CALL_S:.0f} s") from None

    def watch_notices(self) -> None:
        """Note the warning of a COMMIT that did not wait for the standby."""
        self.add_notice_handler(self._notice)

    def _notice(self, notice: errors.Diagnostic) -> None:
        # The interrupted wait has no SQLSTATE of its own, its text is translated, and there are no other warnings.
        if notice.severity_nonlocalized == "WARNING":
            self.unreplicated = True


class Database:
    """The database of the cluster, for the threads of one process. Methods raise ClusterError."""

    def __init__(self, place: LogPlace, sessions: int = 4) -> None:
        """Connect at the first use. sessions: how many connections there are at most."""
        self.place = place
        self._failure: ClusterError | None = None
        self._pool: ConnectionPool[_Pooled] = ConnectionPool(
            self._conninfo,
            connection_class=_pooled(self),
            kwargs={"autocommit": True},
            min_size=0,
            max_size=sessions,
            open=False,
            name=f"dnssecd {place.node}",
            timeout=POOL_WAIT_S,
            max_idle=300.0,
            reconnect_timeout=POOL_WAIT_S,
            configure=Session.watch_notices,
        )

    def _conninfo(self) -> str:
        return conninfo_of(self.place)

    def failed(self, error: Exception) -> None:
        """Note why a connection could not be made: the caller that waits for one gets this cause."""
        self._failure = error if isinstance(error, ClusterError) else translate(error, self.place)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Lend a connection in autocommit mode; errors of PostgreSQL in the block become ClusterError."""
        try:
            self._pool.open()
            session = self._pool.getconn(POOL_WAIT_S if self._failure is None else FAILING_WAIT_S)
        except PoolClosed as error:
            raise DatabaseAway("the connections to the database are closed", "dnssecd is stopping") from error
        except PoolTimeout:
            raise self._failure or DatabaseAway(
                f"no connection to the database {shown(self.place)} within {POOL_WAIT_S:.0f} s",
                "check that the database runs and can be reached from this host",
            ) from None
        self._failure = None
        try:
            yield session
        except psycopg.Error as error:
            raise translate(error, self.place, session) from error
        finally:
            if session.pgconn.transaction_status != TransactionStatus.IDLE:
                session.close()
            self._pool.putconn(session)

    @contextmanager
    def own_session(self) -> Iterator[Session]:
        """Open a connection for one long use, as LISTEN; it is closed at the end."""
        try:
            session = Session.connect(conninfo_of(self.place), autocommit=True)
        except psycopg.Error as error:
            raise translate(error, self.place) from error
        session.watch_notices()
        try:
            yield session
        except psycopg.Error as error:
            raise translate(error, self.place, session) from error
        finally:
            session.close()

    def close(self) -> None:
        """Close all connections."""
        self._pool.close(timeout=CONNECT_S)


class _Pooled(Session):
    """A connection of the pool of one :class:`Database`."""


def _pooled(database: Database) -> type[_Pooled]:
    """Return a class of connections that notes on the database why one could not be made."""

    class Pooled(_Pooled):
        @classmethod
        def connect(cls, conninfo: str = "", **given: Any) -> Any:
            given["connect_timeout"] = CONNECT_S
            try:
                return super().connect(conninfo, **given)
            except psycopg.Error as error:
                database.failed(error)
                raise

    return Pooled


def conninfo_of(place: LogPlace) -> str:
    """Return libpq's connection string, with the password. Raise DatabaseRefused when its file cannot be read."""
    options = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    if place.require_synchronous:
        options += " -c synchronous_commit=on"
    given = conninfo.conninfo_to_dict(place.uri)
    more: dict[str, str] = {}
    if place.password_file:
        more["password"] = _password(place.password_file)
    if place.sslmode:
        more["sslmode"] = place.sslmode
    if place.sslrootcert:
        more["sslrootcert"] = place.sslrootcert
    own = {"application_name": f"dnssecd {place.node}"[:63], "options": options}
    return conninfo.make_conninfo("", **{**_LINK, **given, **more, **own})


def _password(path: str) -> str:
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is not text"
        raise DatabaseRefused(
            f"the password of the database cannot be read from {path} ({cause})",
            "make the file of password_file readable for the daemon's user",
        ) from None
    return text.removesuffix("\n").removesuffix("\r")


def shown(place: LogPlace) -> str:
    """Return the database for people: user, hosts and name; without secrets."""
    given = conninfo.conninfo_to_dict(place.uri)
    return f"{given.get('dbname', '')} of {given.get('user', '')} at {given.get('host', 'the local socket')}"


def translate(error: Exception, place: LogPlace, session: Session | None = None) -> ClusterError:
    """Return a failure as an error of the cluster: DatabaseAway if its outcome is not known, else DatabaseRefused."""
    state = getattr(error, "sqlstate", None) or ""
    text = " ".join(str(error).split())[:400]
    where = shown(place)
    if session is None and not state:
        return _not_connected(text, where)
    if state.startswith("28"):
        return DatabaseRefused(
            f"the database refused the login ({where}): {text}",
            "check the user in [cluster] database, the content of password_file, and pg_hba.conf",
        )
    if state.startswith("3D"):
        return DatabaseRefused(f"{text} ({where})", "create the database: createdb -O USER NAME")
    if state == "42501":
        return DatabaseRefused(
            f"the database refused a statement ({where}): {text}",
            "let the user of [cluster] database own the database, or grant what is missing",
        )
    if state == "53100":
        return DatabaseRefused(
            f"the disk of the database is full ({where}): {text}", "free space on the host of the database"
        )
    if state == "25006":
        return DatabaseRefused(
            f"the database is a standby that cannot be written to ({where})",
            "name all hosts in [cluster] database and add target_session_attrs=read-write",
        )
    if session is not None and not session.closed and not is_fatal(state):
        return DatabaseRefused(
            f"the database refused a statement ({where}): {text}", "see the log of the database"
        )
    return DatabaseAway(
        f"the connection to the database broke ({where}): {text}", "no action is needed if it recovers"
    )


def is_fatal(state: str) -> bool:
    """Tell whether a state of PostgreSQL leaves open what became of the transaction."""
    return state.startswith(("08", "57P")) or state in ("40003", "58000")


def _not_connected(text: str, where: str) -> ClusterError:
    low = text.lower()
    if "password" in low or "no pg_hba.conf entry" in low or "authentication failed" in low:
        return DatabaseRefused(
            f"the database refused the login ({where}): {text}",
            "check the user in [cluster] database, the content of password_file, and pg_hba.conf",
        )
    if "ssl" in low or "certificate" in low:
        return DatabaseRefused(
            f"no TLS connection to the database ({where}): {text}",
            "check sslmode and sslrootcert in [cluster], and the certificate of the database",
        )
    if "does not exist" in low:
        return DatabaseRefused(f"{text} ({where})", "create the user and the database that [cluster] names")
    return DatabaseAway(
        f"the database cannot be reached ({where}): {text}",
        "check that the database runs and can be reached from this host",
    )


#: What is wrong, and the remedy.
NO_STANDBY = (
    "the database has no synchronous standby (synchronous_standby_names is empty)",
    "set up a synchronous standby, or write require_synchronous = false in [cluster] for an alert only",
)
#: Columns for ``judge_synchronous``.
SYNCHRONOUS = ", ".join(
    f"current_setting('{name}')" for name in ("synchronous_standby_names", "synchronous_commit", "fsync")
)


def check_synchronous(session: Session) -> str:
    """Return why a failover of the database could lose acknowledged commits; "" if it cannot."""
    row = session.execute(f"SELECT {SYNCHRONOUS}").fetchone()
    assert row is not None
    return judge_synchronous(*row)


def judge_synchronous(names: str, commit: str, fsync: str) -> str:
    """Judge the settings in SYNCHRONOUS, as ``check_synchronous``."""
    if fsync != "on":
        return "fsync is off: a crash of the database loses commits"
    if not names.strip():
        return NO_STANDBY[0]
    if commit not in ("on", "remote_apply"):
        return f"synchronous_commit is {commit}: a commit does not wait for the disk of the standby"
    return ""


def require_synchronous(why_not: str) -> None:
    """Raise NotReplicated if there is a reason why commits are not replicated."""
    if why_not:
        raise NotReplicated(why_not, NO_STANDBY[1])
