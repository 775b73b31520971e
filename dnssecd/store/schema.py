"""Schema of a zone database, and the migrations of older ones.

One file per zone. ``rrset`` holds content, ``denial`` the NSEC or NSEC3 chain, ``rrsig`` the signatures over
both, each keyed by owner key (core.dns.names), so that their order is canonical order. ``journal`` has one row
per difference sequence and its RRs in ``journal_chunk``. ``state`` holds small named documents (JSON): the
version, the key set, the current signing parameters. ``evidence`` is what was seen at secondaries and parents;
``history`` has actions with time and user. ``meta`` identifies the database: ``origin`` is the zone's name (wire form,
lower case), ``instance`` is random and made once: it distinguishes two databases of one zone that have the same file
name at different times.

Crash rule: all parts of a version are written in one transaction; a database has the old version or the new one.
"""

APPLICATION_ID = 0x444E5353

#: RRSIGs by expiration. A large first version creates the index at its end.
INDEX_EXPIRATION = "CREATE INDEX rrsig_expiration ON rrsig (expiration)"
DROP_EXPIRATION = "DROP INDEX rrsig_expiration"

_VERSION_1 = f"""
CREATE TABLE rrset (owner BLOB NOT NULL, rtype INTEGER NOT NULL, ttl INTEGER NOT NULL, rdata BLOB NOT NULL,
    PRIMARY KEY (owner, rtype)) WITHOUT ROWID;
CREATE TABLE denial (owner BLOB NOT NULL PRIMARY KEY, rtype INTEGER NOT NULL, ttl INTEGER NOT NULL,
    rdata BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE rrsig (owner BLOB NOT NULL, covered INTEGER NOT NULL, ttl INTEGER NOT NULL, rdata BLOB NOT NULL,
    expiration INTEGER NOT NULL, PRIMARY KEY (owner, covered)) WITHOUT ROWID;
{INDEX_EXPIRATION};
CREATE TABLE journal (sequence INTEGER PRIMARY KEY, from_serial INTEGER NOT NULL, to_serial INTEGER NOT NULL,
    at INTEGER NOT NULL, octets INTEGER NOT NULL, old_soa BLOB NOT NULL, old_soa_ttl INTEGER NOT NULL,
    new_soa BLOB NOT NULL, new_soa_ttl INTEGER NOT NULL);
CREATE INDEX journal_from ON journal (from_serial);
CREATE TABLE journal_chunk (sequence INTEGER NOT NULL, part INTEGER NOT NULL, added INTEGER NOT NULL,
    rrs BLOB NOT NULL, PRIMARY KEY (sequence, part));
CREATE TABLE state (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE evidence (source TEXT NOT NULL, subject TEXT NOT NULL, value TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (source, subject)) WITHOUT ROWID;
CREATE TABLE history (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL,
    serial INTEGER, detail TEXT NOT NULL);
"""

#: ``store/identity.py`` writes the origin when the database is opened for its zone: a script cannot know it.
_VERSION_2 = """
CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO meta (name, value) VALUES ('instance', lower(hex(randomblob(16))));
"""

#: Each new file gets an instance of its own.
OWN = "UPDATE meta SET value = lower(hex(randomblob(16))) WHERE name = 'instance'"

#: One script per version; a database at version n has the first n scripts applied.
MIGRATIONS: tuple[str, ...] = (_VERSION_1, _VERSION_2)
