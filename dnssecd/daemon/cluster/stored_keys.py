"""The keys of a zone as this node's database has them."""

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import unpack
from dnssecd.core.dns.rrtypes import DNSKEY
from dnssecd.core.keys.keyset import Keyset
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.pipeline.version import state


def read_keys(zone: FrontZone) -> tuple[Keyset | None, frozenset[bytes]]:
    """Return the key set of a zone as this node has it, and the DNSKEYs (RDATA) that are published."""
    with zone.database.snapshot() as snapshot:
        found = snapshot.rrset(APEX, DNSKEY)
        published = frozenset() if found is None else frozenset(unpack(found.rdata))
        return state.keyset_from(snapshot.state(state.KEYSET)), published
