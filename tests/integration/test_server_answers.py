"""Our answers beside those of BIND and Knot for the same signed zone: every name, type and kind of denial."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.zone
import pytest

from dnssecd.core.dns.names import owner_key, text_to_wire
from dnssecd.core.dns.rrset import RRset, Rrsigs, pack
from dnssecd.publish import xfrout
from dnssecd.server.acl import ZoneAccess
from dnssecd.server.dispatch import Dispatcher
from dnssecd.server.interfaces import Hooks
from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.nameserver import PrimaryZone
from tests.peers.process import LOOPBACK, Servers
from tests.peers.tools import dnssec_signzone, run
from tests.peers.tsig import TsigKey
from tests.unit.server.fakes import FakeVersion, FakeZone

pytestmark = pytest.mark.integration

ZONE = "answers.test."
TEXT = """$ORIGIN answers.test.
$TTL 3600
@ SOA ns1 hostmaster 5 3600 600 604800 300
@ NS ns1
@ NS ns.elsewhere.test.
@ MX 10 mail
ns1 A 192.0.2.1
ns1 AAAA 2001:db8::1
mail A 192.0.2.2
alias CNAME mail
alias2 CNAME alias
dangling CNAME nowhere
outside CNAME www.elsewhere.test.
todeleg CNAME host.insecure
loop1 CNAME loop2
loop2 CNAME loop1
tostar CNAME x.wild
*.wild A 192.0.2.3
*.wild TXT "wild"
exact.wild A 192.0.2.4
a.b.wild A 192.0.2.5
*.cwild CNAME mail
deep.ent.mid A 192.0.2.6
insecure NS ns.insecure
ns.insecure A 192.0.2.7
insecure2 NS ns.insecure
secure NS ns.secure
secure NS ns.elsewhere.test.
secure DS 12345 13 2 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF
ns.secure A 192.0.2.8
ns.secure AAAA 2001:db8::8
sub.ent2 NS ns1
dname DNAME target
x.target A 192.0.2.9
*.target2 A 192.0.2.10
dname2 DNAME target2
dnameout DNAME elsewhere.test.
txt TXT "one" "two"
"""
NAMES = [
    "@",
    "ns1",
    "mail",
    "alias",
    "alias2",
    "dangling",
    "outside",
    "todeleg",
    "loop1",
    "tostar",
    "x.wild",
    "exact.wild",
    "b.wild",
    "a.b.wild",
    "x.b.wild",
    "x.y.wild",
    "*.wild",
    "wild",
    "x.exact.wild",
    "x.cwild",
    "*.cwild",
    "cwild",
    "deep.ent.mid",
    "ent.mid",
    "mid",
    "nowhere",
    "x.nowhere",
    "x.mid",
    "x.ent.mid",
    "x.mail",
    "insecure",
    "ns.insecure",
    "host.insecure",
    "insecure2",
    "x.insecure2",
    "secure",
    "ns.secure",
    "x.y.secure",
    "sub.ent2",
    "ent2",
    "x.ent2",
    "x.sub.ent2",
    "dname",
    "x.dname",
    "y.dname",
    "x.y.dname",
    "target",
    "x.target",
    "dname2",
    "x.dname2",
    "x.y.dname2",
    "dnameout",
    "x.dnameout",
    "txt",
    "aaa",
    "zzz",
    "\\000",
    "~",
]
TYPES = ["A", "NS", "DS", "TXT", "CNAME", "MX", "SOA", "DNSKEY", "NSEC", "DNAME", "RRSIG"]
ADDRESS = ip_address("192.0.2.7")


def version_of(signed: Path) -> FakeVersion:
    """The signed zone file as a served version."""
    zone = dns.zone.from_file(str(signed), origin=ZONE, relativize=False)
    origin = text_to_wire(ZONE)
    rrsets, sigs = [], []
    for name, node in zone.nodes.items():
        owner = owner_key(name.to_wire(), origin)
        for rdataset in node:
            rdata = pack([one.to_digestable() for one in rdataset])
            if rdataset.rdtype == dns.rdatatype.RRSIG:
                sigs.append(Rrsigs(owner, int(rdataset.covers), rdataset.ttl, rdata))
            else:
                rrsets.append(RRset(owner, int(rdataset.rdtype), rdataset.ttl, rdata))
    return FakeVersion(rrsets, sigs, origin=origin)


def section(rrsets: list) -> list[str]:
    """The RRs of a section, in any order, TTLs included."""
    return sorted(f"{one.name} {one.ttl} {one.rdtype!r} {rr}".lower() for one in rrsets for rr in one)


def view(answer: dns.message.Message) -> dict[str, object]:
    """What must be equal. Address records beside an answer are the server's choice, so only glue counts."""
    referral = not answer.answer and any(one.rdtype == dns.rdatatype.NS for one in answer.authority)
    return {
        "rcode": answer.rcode(),
        "aa": bool(answer.flags & dns.flags.AA),
        "answer": section(answer.answer),
        "authority": section(answer.authority),
        "glue": section(answer.additional) if referral else [],
    }


def sign(home: Path, chain: str) -> Path:
    unsigned = home / "zone"
    unsigned.write_text(TEXT)
    signed = dnssec_signzone(unsigned, ZONE, home, nsec3=chain != "nsec")
    if chain == "opt-out":
        done = run("dnssec-signzone", "-S", "-q", "-K", str(home), "-d", str(home), "-3", "ab12", "-A", "-H", "2",
                   "-o", ZONE, "-f", str(signed), str(unsigned))  # fmt: skip
        assert done.ok, done
    return signed


@pytest.mark.parametrize("chain", ["nsec", "nsec3", "opt-out"])
@pytest.mark.parametrize("dnssec", [True, False])
def test_answers_are_those_of_bind_and_knot(
    servers: Servers, peer_dir: Path, chain: str, dnssec: bool
) -> None:
    signed = sign(peer_dir, chain)
    key = TsigKey()
    named = servers.start(Named(peer_dir / "named", [PrimaryZone(ZONE, signed, key)]))
    knot = servers.start(Knotd(peer_dir / "knotd", [PrimaryZone(ZONE, signed, key)]))
    zone = FakeZone(version_of(signed), ZoneAccess.make(["192.0.2.7"]), text_to_wire(ZONE))
    ours = Dispatcher({zone.origin: zone}.get, dict, xfrout, lambda: 0, Hooks())
    with connect(named.port) as to_named, connect(knot.port) as to_knot:
        wrong = [
            report
            for owner in NAMES
            for rtype in TYPES
            if (report := compare(ours, (to_named, to_knot), owner, rtype, dnssec))
        ]
    assert not wrong, "\n".join([f"{len(wrong)} answers are neither BIND's nor Knot's", *wrong[:5]])


def connect(port: int) -> socket.socket:
    return socket.create_connection((LOOPBACK, port), timeout=5)


def compare(ours: Dispatcher, peers: tuple[socket.socket, ...], owner: str, rtype: str, dnssec: bool) -> str:
    """What distinguishes our answer from each peer's; nothing when it equals one of them."""
    name = ZONE if owner == "@" else f"{owner}.{ZONE}"
    query = dns.message.make_query(name, rtype, use_edns=0, want_dnssec=dnssec)
    query.flags &= ~dns.flags.RD
    wire = ours.handle(query.to_wire(), ADDRESS, "tcp")
    assert isinstance(wire, bytes)
    mine = view(dns.message.from_wire(wire))
    theirs = [view(dns.query.tcp(query, LOOPBACK, 5, sock=sock)) for sock in peers]
    if mine in theirs:
        return ""
    fields = [field for field in mine if any(other[field] != mine[field] for other in theirs)]
    return f"{owner} {rtype}\n" + "\n".join(
        f"  {field}\n    ours  {mine[field]}\n    BIND  {theirs[0][field]}\n    Knot  {theirs[1][field]}"
        for field in fields
    )
