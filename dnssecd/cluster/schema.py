"""The tables of the cluster, in the schema ``dnssecd``, and their migrations.

``node``: one row for each node; ``ownership``: who may append to a zone's log, and with which epoch; ``log``: the
version records of each zone in order, ``UNIQUE (zone, sequence)`` is the fence; ``chunk``: the octets of large records
and of snapshots; ``snapshot``: where a node without data starts; ``applied``: how far each node is, and why it could
not take the zone over; ``outbox``: effects outside, to be carried out by the owner after the commit (not used, but
named in the statements of all versions of the program); ``shared_key``: the keys of zones on their way to each node,
and its proof that it holds them; ``node_key``: the public halves of keys that a node has for itself.

All times are the database's ``clock_timestamp()``. A migration has the version after it and the oldest version of the
program's schema that can still use it: nodes of two versions run side by side during an upgrade.
"""

from __future__ import annotations

from typing import NamedTuple

import psycopg

from dnssecd.cluster.database import Database, Session
from dnssecd.cluster.errors import SchemaMissing, SchemaTooNew

#: The key of the advisory lock of migrations: "dnssecd" in ASCII.
LOCK = int.from_bytes(b"dnssecd", "big")
#: The channel of NOTIFY: a record was appended, or a zone is to be moved.
CHANNEL = "dnssecd_log"  # as in the function log_news

_VERSION_1 = """
CREATE TABLE node (
    name text PRIMARY KEY, incarnation uuid NOT NULL, alive_until timestamptz NOT NULL,
    address text[] NOT NULL, version text NOT NULL, config_digest bytea NOT NULL, settings bytea NOT NULL,
    draining boolean NOT NULL DEFAULT false, unfit text NOT NULL DEFAULT '', clock_offset_s double precision NOT NULL);
CREATE TABLE ownership (
    zone text PRIMARY KEY, node text NOT NULL REFERENCES node (name), epoch bigint NOT NULL, sequence bigint NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(), move_to text REFERENCES node (name));
CREATE INDEX ownership_node ON ownership (node);
CREATE INDEX ownership_move ON ownership (move_to) WHERE move_to IS NOT NULL;
CREATE TABLE log (
    zone text NOT NULL, sequence bigint NOT NULL CHECK (sequence > 0), epoch bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('version', 'ownership', 'blank')), node text NOT NULL, incarnation uuid NOT NULL,
    digest text NOT NULL, octets bigint NOT NULL, upload uuid, body bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(), transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT log_fence UNIQUE (zone, sequence));
CREATE INDEX log_transaction ON log (transaction);
CREATE TABLE chunk (upload uuid NOT NULL, part integer NOT NULL, body bytea NOT NULL, PRIMARY KEY (upload, part));
CREATE TABLE snapshot (
    zone text PRIMARY KEY, sequence bigint NOT NULL, epoch bigint NOT NULL, upload uuid NOT NULL,
    digest text NOT NULL, octets bigint NOT NULL, node text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE applied (
    node text NOT NULL REFERENCES node (name), zone text NOT NULL, sequence bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(), refused text NOT NULL DEFAULT '', PRIMARY KEY (node, zone));
CREATE INDEX applied_zone ON applied (zone);
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, zone text NOT NULL, sequence bigint NOT NULL,
    kind text NOT NULL, key text NOT NULL UNIQUE, body bytea NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(), tried_at timestamptz, tries integer NOT NULL DEFAULT 0,
    failure text NOT NULL DEFAULT '', done_at timestamptz);
CREATE INDEX outbox_open ON outbox (zone, id) WHERE done_at IS NULL;

CREATE FUNCTION check_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE found record;
BEGIN
    SELECT o.node, o.epoch, n.incarnation INTO found
        FROM dnssecd.ownership o JOIN dnssecd.node n ON n.name = o.node WHERE o.zone = NEW.zone;
    IF NEW.kind = 'ownership' THEN
        IF NEW.epoch <> coalesce(found.epoch, 0) + 1 THEN
            RAISE EXCEPTION 'fenced: % has epoch %', NEW.zone, found.epoch USING ERRCODE = 'DN001';
        END IF;
    ELSIF found.epoch IS NULL OR NEW.epoch <> found.epoch OR NEW.incarnation <> found.incarnation THEN
        RAISE EXCEPTION 'fenced: % belongs to % with epoch %', NEW.zone, found.node, found.epoch
            USING ERRCODE = 'DN001';
    END IF;
    IF NEW.sequence > 1 AND NOT EXISTS (
        SELECT FROM dnssecd.log l WHERE l.zone = NEW.zone AND l.sequence = NEW.sequence - 1) THEN
        RAISE EXCEPTION 'gap: % has no record before %', NEW.zone, NEW.sequence USING ERRCODE = 'DN002';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER log_epoch BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION check_epoch();

CREATE FUNCTION log_news() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('dnssecd_log', '');
    RETURN NULL;
END $$;
CREATE TRIGGER log_news AFTER INSERT ON log FOR EACH STATEMENT EXECUTE FUNCTION log_news();
"""
_VERSION_2 = """
CREATE TABLE shared_key (
    zone text NOT NULL, key_id text NOT NULL, node text NOT NULL, letter bytea NOT NULL DEFAULT '',
    sender text NOT NULL DEFAULT '', proof bytea NOT NULL DEFAULT '', withdrawn boolean NOT NULL DEFAULT false,
    tried_at timestamptz, trouble text NOT NULL DEFAULT '', at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (zone, key_id, node));
CREATE INDEX shared_key_open ON shared_key (node) WHERE proof = '' OR withdrawn;
CREATE INDEX shared_key_asked ON shared_key (zone) WHERE letter = '' AND NOT withdrawn;
"""
_VERSION_3 = """
CREATE TABLE node_key (
    zone text NOT NULL, node text NOT NULL, recipient text NOT NULL, letters bytea NOT NULL, mark text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (zone, node, recipient));
CREATE INDEX node_key_recipient ON node_key (recipient, at);
"""
_VERSION_4 = """
ALTER TABLE applied ADD COLUMN why_not text NOT NULL DEFAULT '';
"""


class Migration(NamedTuple):
    """``usable_from``: programs that know this version of the schema or a later one can use the result."""

    script: str
    usable_from: int


MIGRATIONS: tuple[Migration, ...] = (
    Migration(_VERSION_1, 1),
    Migration(_VERSION_2, 1),
    Migration(_VERSION_3, 1),
    Migration(_VERSION_4, 1),
)
VERSION = len(MIGRATIONS)
#: SQLSTATEs of check_epoch.
FENCED, GAP = "DN001", "DN002"

_META = (
    "CREATE SCHEMA IF NOT EXISTS dnssecd",
    "CREATE TABLE IF NOT EXISTS dnssecd.meta (version integer NOT NULL, usable_from integer NOT NULL)",
)


class SchemaState(NamedTuple):
    """The version of the tables, 0 for none, and the oldest program version that can use them."""

    version: int
    usable_from: int


def migrate(database: Database, migrations: tuple[Migration, ...] = MIGRATIONS) -> SchemaState:
    """Create or upgrade the tables; two programs that do it at once take turns. Raise ClusterError."""
    with database.own_session() as session, session.transaction():
        session.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        session.execute("SET LOCAL statement_timeout = 0")
        if not _has_meta(session):
            for statement in _META:
                session.execute(statement)
            session.execute("INSERT INTO dnssecd.meta VALUES (0, 0)")
        state = _state(session)
        require_usable(state, len(migrations))
        for number in range(state.version, len(migrations)):
            migration = migrations[number]
            session.execute(migration.script)
            state = SchemaState(number + 1, migration.usable_from)
            session.execute("UPDATE meta SET version = %s, usable_from = %s", state)
        return state


def _has_meta(session: Session) -> bool:
    row = session.execute("SELECT to_regclass('dnssecd.meta')").fetchone()
    return row is not None and row[0] is not None


def _state(session: Session) -> SchemaState:
    row = session.execute("SELECT version, usable_from FROM dnssecd.meta").fetchone()
    return SchemaState(0, 0) if row is None else SchemaState(*row)


def require_usable(state: SchemaState, version: int = VERSION) -> None:
    """Raise SchemaTooNew if a program with this version of the schema cannot use the tables."""
    if state.version > version and state.usable_from > version:
        raise SchemaTooNew(
            f"the tables of the cluster have version {state.version}; this dnssecd knows version {version}, and they "
            f"can be used from version {state.usable_from} on",
            "install the dnssecd that the other nodes run; nothing was changed",
        )


def check_schema(session: Session, version: int = VERSION) -> SchemaState:
    """Return the state of the tables. Raise SchemaMissing or SchemaTooNew if this program cannot use them."""
    try:
        state = _state(session) if _has_meta(session) else SchemaState(0, 0)
    except psycopg.errors.InsufficientPrivilege:
        raise SchemaMissing(
            "the user of [cluster] database may not use the schema dnssecd",
            "run `dnssecd cluster init` as the user that the daemon uses",
        ) from None
    if state.version < version:
        what = (
            "there are no tables of the cluster"
            if not state.version
            else (
                f"the tables of the cluster have version {state.version}; this dnssecd needs version {version}"
            )
        )
        raise SchemaMissing(what, "run `dnssecd cluster init` once, from any node")
    require_usable(state, version)
    return state
