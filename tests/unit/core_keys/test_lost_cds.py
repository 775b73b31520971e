"""CDS after lost keys: none while validators may hold a DNSKEY set without the keys that can sign them."""

import pytest

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keyset import Keyset, signing_view
from dnssecd.core.keys.keystate import RecordState, Role, State
from dnssecd.core.keys.lost import with_cds_judged
from dnssecd.replacing import replace

from .bench import Bench, running


def after_the_swap(successor: State) -> Keyset:
    """Return a key set whose KSK was lost while its ZSK was lost, too, and whose new KSK took its place just now."""
    bench: Bench = running(standby_ksk=True)
    bench.settle()
    bench.keyset = commands.lost(bench.keyset, bench.key(Role.KSK).ref)
    keys = []
    for key in bench.keyset.keys:
        if key.role is Role.KSK:
            state = State.UNRETENTIVE if key.lost else successor
            dnskey = key.dnskey if key.lost else RecordState(successor, bench.now)
            key = replace(key, krrsig=RecordState(state, bench.now), dnskey=dnskey)
        keys.append(key)
    return replace(bench.keyset, keys=tuple(keys), no_cds=False)


@pytest.mark.parametrize("successor", [State.RUMOURED, State.OMNIPRESENT])
def test_cds_waits_until_the_successor_is_in_every_dnskey_set(successor: State) -> None:
    keyset = with_cds_judged(after_the_swap(successor))
    assert keyset.no_cds is (successor is State.RUMOURED)
    assert bool(signing_view(keyset).cds) is (successor is State.OMNIPRESENT)
