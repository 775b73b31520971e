"""Fuzz the parsers of transfers in: ``python -m tests.fuzz.fuzz_xfrin [atheris options]``.

With atheris the run is guided by coverage; without it messages are mutated at random (``--seconds N``, ``--seed N``).
An input is a row of messages, each with two octets of length before it, and is taken as the answer to AXFR and to
IXFR, with and without TSIG. The only exceptions allowed are TransferError, FormError, NotATransfer and TsigError;
what is taken can be put together, or applied.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import dns.message
import dns.name
import dns.rdatatype
import dns.renderer

from dnssecd.core.dns.message import FormError
from dnssecd.core.dns.tsig import TsigError, TsigKey
from dnssecd.core.zone.zonecheck import check
from dnssecd.ingest.collect import gather
from dnssecd.ingest.xfrin import Differences, Inbound, TransferLimits, Whole
from dnssecd.ingest.xfrin_apply import DoesNotFit, applied
from dnssecd.ingest.xfrin_wire import TransferError
from dnssecd.pipeline.fetch.end import EndFinder, NotATransfer
from dnssecd.pipeline.fetch.receive import _StreamVerifier
from dnssecd.server.update_rdata import RdataReader
from tests.fuzz.fuzz_update import mutated
from tests.property.test_xfrin import TEXTS
from tests.unit.xfrin.streams import AXFR, IXFR, NS_RR, ORIGIN, ZONE, a, message, soa

_KEY = TsigKey.make("transfer.", "hmac-sha256", b"s" * 32)


def _messages(data: bytes) -> Iterator[bytes]:
    position = 0
    while position + 2 <= len(data):
        end = position + 2 + (data[position] << 8 | data[position + 1])
        yield data[position + 2 : end]
        position = end


def one_input(data: bytes) -> bool:
    """Judge one answer; tell whether it was taken."""
    wires = list(_messages(data))
    taken = [_taken(wires, base) for base in (None, 7)]
    for base in (None, 7):
        finder = EndFinder(base)
        with suppress(FormError, NotATransfer):
            for wire in wires:
                if len(wire) >= 12:
                    finder.feed(wire)
            finder.finish()
    verifier = _StreamVerifier(_KEY, bytes(32))
    with suppress(FormError, TsigError):
        for wire in wires:
            verifier.accept(wire, 0)
        verifier.finish()
    return any(taken)


def _taken(wires: list[bytes], base: int | None) -> bool:
    inbound = Inbound(ORIGIN, base, RdataReader, TransferLimits(100_000))
    try:
        for wire in wires:
            inbound.feed(wire)
        found = inbound.finish()
    except TransferError:
        return False
    if isinstance(found, Whole):
        check(gather([found.soa, *found.rows]).rrsets, ORIGIN)
    elif isinstance(found, Differences):
        with suppress(DoesNotFit):
            applied(ORIGIN, lambda owner, rtype: None, found.sequences)
    return True


def seeds() -> list[bytes]:
    """Sound answers to start from."""
    www = a("www", 1)
    answers = [
        [message([soa(8), NS_RR, www, soa(8)])],
        [message([soa(8), NS_RR]), message([www, soa(8)], question=False)],
        [message([soa(8), soa(7), www, soa(8), a("www", 2), soa(8)], IXFR)],
        [message([soa(9), soa(7), www, soa(8), a("www", 2)], IXFR), message([soa(8), soa(9), soa(9)], IXFR)],
        [message([soa(7)], IXFR)],
        [_rendered(AXFR)],
        [_rendered(IXFR)],
    ]
    return [b"".join(len(wire).to_bytes(2, "big") + wire for wire in wires) for wires in answers]


def _rendered(qtype: int) -> bytes:
    """A zone of all types, compressed."""
    renderer = dns.renderer.Renderer(1, 0x8400)
    renderer.add_question(dns.name.from_text(ZONE), dns.rdatatype.RdataType.make(qtype))
    first = dns.rrset.from_text(ZONE, 60, "IN", "SOA", "Ns.Example. Host.Example. 8 1 2 3 4")
    rrsets = [dns.rrset.from_text(f"{k}.{ZONE}", 60, "IN", k, text) for k, text in sorted(TEXTS.items())]
    for rrset in [first, *rrsets, first]:
        renderer.add_rrset(dns.renderer.ANSWER, rrset)
    renderer.write_header()
    return bytes(renderer.get_wire())


def mutate(seconds: float, seed: int, most: int | None = None) -> tuple[int, int]:
    """Judge mutated answers for a while; return how many there were, and how many were taken.

    most: end after so many, so that a run (of `inf` seconds) judges the same input on every machine.
    """
    rng = random.Random(seed)
    pool = seeds()
    until = time.monotonic() + seconds
    count = taken = 0
    while time.monotonic() < until and count != most:
        wires = list(_messages(rng.choice(pool)))
        number = rng.randrange(len(wires))
        wires[number] = mutated(rng, wires[number])
        data = b"".join(len(wire).to_bytes(2, "big") + wire for wire in wires)
        if one_input(data):
            taken += 1
            if rng.random() < 0.05:
                pool[rng.randrange(len(pool))] = data
        count += 1
    return count, taken


def main() -> None:
    try:
        import atheris
    except ImportError:
        options = argparse.ArgumentParser()
        options.add_argument("--seconds", type=float, default=60)
        options.add_argument("--seed", type=int, default=int.from_bytes(random.randbytes(4)))
        given = options.parse_args()
        print(f"no atheris: random mutations, seed {given.seed}")
        count, taken = mutate(given.seconds, given.seed)
        print(f"{count} answers, {taken} taken")
        return
    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
