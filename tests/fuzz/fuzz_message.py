"""Fuzz the message parser and the dispatcher: ``python -m tests.fuzz.fuzz_message [--seconds N] [--seed N]``.

Whatever comes in, the dispatcher raises nothing and a good answer can be read by dnspython; SERVFAIL never is one.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from ipaddress import ip_address

import dns.edns
import dns.message
import dns.opcode

from dnssecd.core.dns.message import SERVFAIL
from dnssecd.core.dns.tsig import sign_request
from dnssecd.publish import xfrout
from dnssecd.server.acl import ZoneAccess
from dnssecd.server.dispatch import Dispatcher
from dnssecd.server.interfaces import Hooks
from dnssecd.server.transfer import TransferJob
from tests.fuzz.fuzz_update import mutated
from tests.unit.server.fakes import KEY, FakeVersion, FakeZone, small_zone

_CLIENT = ip_address("192.0.2.7")
_ZONE = FakeZone(FakeVersion(small_zone(5)), ZoneAccess.make(["192.0.2.0/24"]))


class _Failures(Hooks):
    def failed(self, zone: bytes, kind: str, error: BaseException) -> None:
        raise error


_DISPATCHER = Dispatcher({_ZONE.origin: _ZONE}.get, lambda: {KEY.name: KEY}, xfrout, lambda: 0, _Failures())


def one_input(data: bytes) -> bool:
    """Judge one message; tell whether it was answered with more than an error."""
    outcome = _DISPATCHER.handle(data, _CLIENT, "tcp" if len(data) % 2 else "udp")
    if isinstance(outcome, TransferJob):
        outcome.close()
        return True
    if outcome is None:
        return False
    assert isinstance(outcome, bytes), "updates and NOTIFY are off here"
    assert outcome[:2] == data[:2]
    assert outcome[2] & 0x80, "an answer has QR set"
    assert outcome[3] & 15 != SERVFAIL
    if outcome[3] & 15 or _is_badvers(outcome):
        return False  # the question of a refused request is given back as it came
    dns.message.from_wire(outcome, keyring=False, ignore_trailing=False)
    return True


def _is_badvers(answer: bytes) -> bool:
    """Tell whether an answer without an error in its header has RCODE 16: the upper bits are in OPT (RFC 6891 6.1.3).

    Read by hand: the question may be nothing that a parser takes. There is nothing between it and OPT.
    """
    questions, records = int.from_bytes(answer[4:6]), int.from_bytes(answer[6:10])
    position = 12
    for _ in range(questions):
        while answer[position] and answer[position] < 0xC0:
            position += 1 + answer[position]
        position += (2 if answer[position] else 1) + 4
    return not records and answer[position : position + 3] == b"\0\0\x29" and answer[position + 5] == 1


def seeds() -> list[bytes]:
    """Queries of all kinds, with EDNS and without, signed and unsigned; NOTIFY and UPDATE."""
    found = []
    for rrtype in ("SOA", "A", "ANY", "AXFR", "IXFR", "DS", "RRSIG", "TKEY", "NS"):
        for name in ("example.", "ns.example.", "a.b.example.", "elsewhere."):
            for options in ({}, {"use_edns": 0, "want_dnssec": True, "payload": 1232}):
                found.append(dns.message.make_query(name, rrtype, **options).to_wire())
    for options in ([(9, b"")], [(10, bytes(8))], [(10, bytes(24)), (19, b"")], [(9, b""), (10, bytes(40))]):
        edns = [dns.edns.GenericOption(code, data) for code, data in options]
        found += [
            dns.message.make_query("example.", rrtype, options=edns).to_wire() for rrtype in ("SOA", "AXFR")
        ]
    for opcode in (dns.opcode.NOTIFY, dns.opcode.UPDATE, dns.opcode.STATUS):
        request = dns.message.make_query("example.", "SOA")
        request.set_opcode(opcode)
        found.append(request.to_wire())
    return found + [sign_request(wire, KEY, 0)[0] for wire in found]


def mutate(seconds: float, seed: int, most: int | None = None) -> tuple[int, int]:
    """Judge mutated messages for a while; return how many there were, and how many were answered without error.

    most: end after so many, so that a run (of `inf` seconds) judges the same input on every machine.
    """
    rng = random.Random(seed)
    pool = seeds()
    until = time.monotonic() + seconds
    count = answered = 0
    while time.monotonic() < until and count != most:
        answered += one_input(mutated(rng, rng.choice(pool)))
        count += 1
    return count, answered


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=int.from_bytes(random.randbytes(4)))
    given = options.parse_args()
    print(f"messages: random mutations, seed {given.seed}", file=sys.stderr)
    print("{} messages, {} answered without error".format(*mutate(given.seconds, given.seed)))


if __name__ == "__main__":
    main()
