"""The walk of a whole version for a transfer: all of the three tables, by owner, without sorting."""

from heapq import merge
from operator import itemgetter
from pathlib import Path

from dnssecd.core.dns.rrset import RRset, Rrsigs, pack
from dnssecd.core.dns.rrtypes import NSEC3, RRSIG
from dnssecd.core.zone.changeset import Change
from dnssecd.store import snapshot as snapshot_module
from dnssecd.store.zonedb import ZoneDatabase

ORIGIN = b"\x07example\0"


def added(rrset: RRset) -> Change:
    return Change(rrset.owner, rrset.rtype, None, rrset)


def test_it_is_the_three_scans_together(tmp_path: Path) -> None:
    database = ZoneDatabase(tmp_path / "zone.db", ORIGIN)
    names = [b"", b"a\0", b"b\0", b"b\0\x01\0", b"n\0"]
    content = [RRset(name, rtype, 60, pack([bytes(4)])) for name in names for rtype in (1, 2, 16)]
    denial = [RRset(name, NSEC3, 5, pack([bytes(9)])) for name in (b"0123\0", b"azzz\0", b"b\0", b"zzzz\0")]
    owners = sorted({rrset.owner for rrset in (*content, *denial)})
    signatures = [Rrsigs(name, covered, 60, pack([bytes(20)])) for name in owners for covered in (1, 2)]
    with database.write() as transaction:
        transaction.apply_content(map(added, content))
        transaction.apply_denial(map(added, denial))
        transaction.put_rrsigs((None, one, 1) for one in signatures)
        transaction.commit_if(transaction.generation)
    with database.snapshot() as snapshot:
        got = list(snapshot.whole_scan())
        rows = ((owner, RRSIG, ttl, rdata) for owner, _, ttl, rdata in snapshot.rrsig_scan())
        assert got == list(merge(snapshot.scan(), snapshot.denial_scan(), rows, key=itemgetter(0)))
        plan = snapshot.reader.execute(f"EXPLAIN QUERY PLAN {snapshot_module._WHOLE}", (RRSIG,)).fetchall()
        assert "B-TREE" not in str(plan)
    database.close()
