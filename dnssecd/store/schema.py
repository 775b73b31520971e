"""Schema of a zone database, and how an older one is brought up to date.

One file per zone. ``rrset`` holds content, ``denial`` the NSEC or NSEC3 chain, ``rrsig`` the signatures over
both, each keyed by owner key (core.names), so that an ordered walk is canonical order. ``journal`` has one row
per difference sequence and its RRs in ``journal_chunk``. ``state`` holds small named documents (JSON): the
version, the key set, the signing parameters in force. ``evidence`` is what was seen at secondaries and parents;
``history`` what was done, when, by whom. ``meta`` says which
database this is: ``origin`` is the zone's name (wire form, lower-cased), ``instance`` is random and made once, so that
two databases of one zone, under one file name at different times, can be told apart.

Crash rule: everything a version consists of is written in one transaction; a database holds the old version or
the new one.
"""

APPLICATION_ID = 0x444E5353

#: RRSIGs by expiration: what comes due. A large first version makes it at its end.
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

#: ``store/identity.py`` writes the origin when the database is opened for its zone: a script does not know it.
_VERSION_2 = """
CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO meta (name, value) VALUES ('instance', lower(hex(randomblob(16))));
"""

#: One script per step; a database at version n has had the first n applied.
MIGRATIONS: tuple[str, ...] = (_VERSION_1, _VERSION_2)
