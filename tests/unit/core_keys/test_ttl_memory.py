"""The largest TTL of a DS that may be held: a parent that cannot be seen has not lowered it."""

from dnssecd.core.keys.evidence import ParentSight
from dnssecd.core.keys.ttl_memory import remember_ttls, remembered
from dnssecd.replacing import replace

from .bench import DAY, HOUR, running


def test_the_ds_ttl_is_remembered_while_the_parent_is_not_seen() -> None:
    bench = running()
    seen = (ParentSight("parent", (), DAY, bench.now),)
    keyset = remember_ttls(bench.keyset, replace(bench.evidence, parents=seen), bench.now, 0)
    unseen = replace(bench.evidence, parents=(ParentSight("parent", None),))
    for hours in range(0, 96, 6):
        now = bench.now + hours * HOUR
        keyset = remember_ttls(keyset, unseen, now, 0)
        assert remembered(keyset.ttl_ds, 0, now, 0) == DAY
