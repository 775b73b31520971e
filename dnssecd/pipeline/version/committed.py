"""Data on keys from the committed version: the planner's evidence from dnssecd's own store."""

from collections.abc import Iterable

from msgspec import Struct

from dnssecd.core.dns.names import APEX, wire_to_text
from dnssecd.core.dns.rrset import RRset, unpack
from dnssecd.core.dns.rrtypes import CDNSKEY, CDS, DNSKEY, NS, SOA
from dnssecd.core.keys.evidence import SignatureCount
from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.core.keys.keystate import Rec
from dnssecd.core.signing.denial import DenialParameters, denial_ttl
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.ahead import NO_CEREMONY, CeremonyState, read_ceremony
from dnssecd.pipeline.version.held_denial import denial_of
from dnssecd.pipeline.version.keychange import REMOVALS, pending_removals
from dnssecd.store.interface import ZoneSnapshot, ZoneStore, ZoneTransaction

_NOT_ZONE_DATA = (DNSKEY, CDS, CDNSKEY)


class Committed(Struct, frozen=True, gc=False):
    """A published version: serial, when it was committed (epoch s), the stored key set, its largest TTLs (s).

    ``denial``: its denial of existence, None without a chain; ``signatures``: RDATA of the RRSIGs over the
    SOA; ``removals``: keys that must still be destroyed; ``ceremony``: what off-line KSKs
    signed ahead; ``ns``: names of the zone's own NS RRset; ``foreign``: DNSKEY RDATA in the input, None: not read.
    """

    serial: int
    at: int
    keyset: Keyset
    ttl_dnskey: int
    ttl_zone: int
    ttl_negative: int
    denial: DenialParameters | None
    signatures: tuple[bytes, ...] = ()
    removals: tuple[str, ...] = ()
    ceremony: CeremonyState = NO_CEREMONY
    ns: tuple[str, ...] = ()
    foreign: tuple[bytes, ...] | None = None


class FirstVersion(Struct, frozen=True):
    """A first version as its job knows it: ``soa`` as (TTL, packed RDATA), and the counts of signatures by key."""

    committed: Committed
    soa: tuple[int, bytes]
    counts: tuple[SignatureCount, ...]


def first_version(
    transaction: ZoneTransaction, version: state.VersionState, soa: RRset
) -> FirstVersion | None:
    """Return what the daemon needs of a first version that a transaction has made: it need not read it then."""
    committed = committed_in(transaction, version)
    if committed is None:
        return None
    return FirstVersion(committed, (soa.ttl, soa.rdata), _counts(transaction, committed.keyset.keys))


def read_committed(db: ZoneStore) -> Committed | None:
    """Return the published version, or None if there is none."""
    with db.snapshot() as snapshot:
        return committed_in(snapshot, state.from_document(snapshot.version, state.VersionState))


def committed_in(
    reader: ZoneSnapshot | ZoneTransaction, version: state.VersionState | None
) -> Committed | None:
    """Return the version of a snapshot, or of a transaction that has made it; ``version``: what is stored of it."""
    keyset = state.keyset_from(reader.state(state.KEYSET))
    soa = reader.rrset(APEX, SOA)
    if version is None or keyset is None or soa is None:
        return None
    dnskey, ns = reader.rrset(APEX, DNSKEY), reader.rrset(APEX, NS)
    ttl_dnskey = 0 if dnskey is None else dnskey.ttl
    return Committed(
        serial=version.serial,
        at=version.published_at,
        keyset=keyset,
        ttl_dnskey=ttl_dnskey,
        ttl_zone=max(version.largest_ttl, soa.ttl),
        ttl_negative=denial_ttl(soa),
        denial=denial_of(reader),
        signatures=_soa_signatures(reader),
        removals=tuple(pending_removals(reader.state(REMOVALS))),
        ceremony=read_ceremony(reader),
        ns=() if ns is None else tuple(wire_to_text(rdata).lower() for rdata in unpack(ns.rdata)),
        foreign=state.input_keys(reader.state(state.FOREIGN)),
    )


def _soa_signatures(reader: ZoneSnapshot | ZoneTransaction) -> tuple[bytes, ...]:
    sigs = reader.rrsigs(APEX, SOA)
    return () if sigs is None else tuple(unpack(sigs.rdata))


def count_signatures(db: ZoneStore, keys: Iterable[Key]) -> tuple[int, tuple[SignatureCount, ...]]:
    """Count the RRsets that each key for zone data has signed; return the counts with the serial.

    This walks over an index with one entry per RRset (two during an algorithm rollover): run it in a thread,
    and not for every version.
    """
    with db.snapshot() as snapshot:
        return snapshot.serial, _counts(snapshot, keys)


def _counts(reader: ZoneSnapshot | ZoneTransaction, keys: Iterable[Key]) -> tuple[SignatureCount, ...]:
    total, made = reader.signers(_NOT_ZONE_DATA)
    counts = []
    for key in keys:
        if Rec.ZRRSIG in key.records:
            number = made.get((key.algorithm, key.tag), 0)
            counts.append(SignatureCount(key.ref, number, total - number))
    return tuple(counts)
