"""Random zone content and edits, small enough to collide often: cuts, glue, DNAMEs, wildcards, empty non-terminals."""

import random
from collections.abc import Iterable
from pathlib import Path

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrset import RRset, Rrsigs, pack
from dnssecd.core.dns.rrtypes import CNAME, DNAME, DS, MX, NS, SOA, TXT, A
from dnssecd.core.keys.keyset import SigningKey, SigningView
from dnssecd.core.signing.denial import DenialParameters, denial_changes
from dnssecd.core.signing.lifetimes import Lifetimes, signing_window
from dnssecd.core.signing.regions import WHOLE_ZONE, regions_of
from dnssecd.core.signing.rrsig import RrsigBuilder
from dnssecd.core.signing.signplan import Drop, SignatureJudge, plan_signatures
from dnssecd.core.zone.changeset import Change, diff
from dnssecd.store.zonedb import ZoneDatabase

ORIGIN = text_to_wire("example.")
Content = dict[tuple[bytes, int], RRset]
LABELS = [b"a", b"b", b"c", b"d", b"*", b"\x01\x01", b"\x01\x02x"]
KEY = SigningKey("k", 13, 257, 4711, b"k" * 64, "test")
VIEW = SigningView(dnskey_keys=(KEY,), cds_keys=(KEY,), zone_keys=(KEY,))
NOW = 1_700_000_000


def soa(serial: int = 1, minimum: int = 300, ttl: int = 3600) -> RRset:
    rdata = b"\x02ns" + ORIGIN + b"\x04host" + ORIGIN
    rdata += b"".join(n.to_bytes(4, "big") for n in (serial, 3600, 600, 86400, minimum))
    return RRset(b"", SOA, ttl, pack([rdata]))


def base() -> Content:
    content = {(b"", SOA): soa(), (b"", NS): RRset(b"", NS, 3600, pack([b"\x02ns" + ORIGIN]))}
    return content


def random_owner(rng: random.Random) -> bytes:
    return b"".join(rng.choice(LABELS) + b"\x00" for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 3, 4))))


def random_edit(rng: random.Random, content: Content) -> Content:
    """Return content with one to four RRsets added, changed or removed (never the apex SOA and NS)."""
    new = dict(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        removable = [place for place in new if place not in ((b"", SOA), (b"", NS))]
        if removable and rng.random() < 0.4:
            del new[rng.choice(sorted(removable))]
            continue
        if rng.random() < 0.03:
            new[b"", SOA] = soa(minimum=rng.choice((60, 300, 5000)), ttl=rng.choice((100, 3600)))
            continue
        owner, rtype = random_owner(rng), rng.choice((A, A, TXT, MX, NS, NS, DS, DS, CNAME, DNAME))
        if owner == b"" and rtype in (NS, CNAME, DS):
            continue
        rdata = [bytes([rng.randrange(4)]) * rng.choice((4, 5)) for _ in range(rng.choice((1, 2)))]
        new[owner, rtype] = RRset(owner, rtype, rng.choice((300, 600)), pack(rdata))
    return new


def ordered(content: Content) -> list[RRset]:
    return [content[place] for place in sorted(content)]


def changes_between(old: Content, new: Content) -> list[Change]:
    return list(diff(ordered(old), ordered(new)))


class Zone:
    """A zone database driven by the planners alone; a signature is a digest of what it covers."""

    def __init__(self, path: Path, parameters: DenialParameters) -> None:
        self.db = ZoneDatabase(path, ORIGIN)
        self.parameters = parameters
        self.signed = 0

    def apply(self, changes: Iterable[Change], parameters: DenialParameters | None = None) -> None:
        changes = list(changes)
        switched = parameters is not None and parameters != self.parameters
        self.parameters = parameters or self.parameters
        with self.db.write() as transaction:
            old = transaction.old
            first = old.version is None
            regions = WHOLE_ZONE if first or switched else regions_of(changes)
            transaction.apply_content(changes)
            denial = list(denial_changes(old, transaction, regions, self.parameters))
            transaction.apply_denial(denial)
            changed = {(c.owner, c.rtype) for c in changes}
            plan = plan_signatures(old, transaction, regions, changed, denial, (), SignatureJudge(VIEW))
            builder = RrsigBuilder(ORIGIN, signing_window(Lifetimes(86400, 0, 1000, 0), NOW, spread=False))
            steps = list(plan)
            rows, drops = [], []
            for step in steps:
                if isinstance(step, Drop):
                    drops.append(step.old)
                    continue
                rrset = step.rrset
                head = builder.head(rrset, KEY, builder.expiration(rrset))
                rdata = pack([head + hash_of(builder.body(rrset))])
                rows.append((step.old, Rrsigs(rrset.owner, rrset.rtype, rrset.ttl, rdata), NOW + 86400))
            transaction.put_rrsigs(rows)
            transaction.delete_rrsigs(drops)
            self.signed = len(rows)
            transaction.set_state("version", {"serial": 1})
            transaction.commit_if(transaction.generation)

    def dump(self) -> tuple[list[RRset], list[RRset], list[Rrsigs]]:
        with self.db.snapshot() as view:
            return list(view.scan()), list(view.denial_scan()), list(view.rrsig_scan())


def hash_of(octets: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(octets).digest()
