"""knotd and named as signing primaries that take updates, for comparison: NSEC3, one P-256 key, 0 iterations."""

from __future__ import annotations

import dns.flags
import dns.rdatatype

from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.nameserver import Nameserver, PrimaryZone, Zone, ask
from tests.peers.process import wait_until

SETTLED_LOOKS = 25
SIGNING_SECONDS = 900.0


class SigningNamed(Named):
    """BIND with ``dnssec-policy``; it signs the first time in large strides."""

    def configuration(self) -> str:
        policy = """dnssec-policy "bench" {
    keys { csk lifetime unlimited algorithm ecdsap256sha256; };
    nsec3param iterations 0 optout no salt-length 0;
};
"""
        return policy + super().configuration()

    def _zone(self, zone: Zone) -> str:
        text = super()._zone(zone)
        if not isinstance(zone, PrimaryZone):
            return text
        more = 'dnssec-policy "bench"; sig-signing-nodes 10000; sig-signing-signatures 10000;'
        return text.replace("notify-delay 0;", f"notify-delay 0; {more}")


class SigningKnotd(Knotd):
    """Knot with automatic signing."""

    def configuration(self) -> str:
        policy = """policy:
  - id: bench
    algorithm: ECDSAP256SHA256
    single-type-signing: on
    nsec3: on
    nsec3-iterations: 0
    nsec3-salt-length: 0
    signing-threads: 2
"""
        text = super().configuration()
        return text.replace("zone:\n", policy + "zone:\n", 1)

    def _zone(self, number: int, zone: Zone) -> tuple[str, str, str]:
        remote, acl, body = super()._zone(number, zone)
        if isinstance(zone, PrimaryZone):
            body = body.replace("zonefile-load: difference", "zonefile-load: whole")
            body += "    dnssec-signing: on\n    dnssec-policy: bench\n"
        return remote, acl, body


def wait_signed(server: Nameserver, zone: str, names: list[str], timeout: float = SIGNING_SECONDS) -> int:
    """Return the serial once all ``names`` have RRSIGs, there is an NSEC3 chain and the serial rests."""
    seen: list[int | None] = []

    def done() -> int:
        seen.append(server.serial(zone))
        rests = len(seen) > SETTLED_LOOKS and len(set(seen[-SETTLED_LOOKS:])) == 1
        if not rests or not seen[-1]:
            return 0
        signed = all(has_rrsig(server.port, name, "A") for name in names)
        return seen[-1] if signed and has_nsec3(server.port, zone) else 0

    return wait_until(done, f"{server.name} has signed {zone}", timeout, 0.2)


def has_rrsig(port: int, name: str, rrtype: str) -> bool:
    answer = ask(port, name, rrtype, dnssec=True)
    return answer is not None and any(each.rdtype == dns.rdatatype.RRSIG for each in answer.answer)


def has_nsec3(port: int, zone: str) -> bool:
    answer = ask(port, f"no-such-name.{zone}", "A", dnssec=True)
    return (
        answer is not None
        and bool(answer.flags & dns.flags.AA)
        and any(each.rdtype == dns.rdatatype.NSEC3 for each in answer.authority)
    )
