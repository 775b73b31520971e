"""Fuzz the UPDATE parser and what follows it: ``python -m tests.fuzz.fuzz_update [atheris options]``.

With atheris the run is guided by coverage; without it messages are mutated at random (``--seconds N``, ``--seed N``).
The only exception allowed is FormError, and whatever the parser takes can be applied, and is taken by the parser
that the dispatcher asks first.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from dnssecd.core.dns.message import FormError, parse
from dnssecd.core.update.apply import apply_update
from dnssecd.core.update.types import UpdatePolicy
from dnssecd.server.update_message import parse_update
from tests.property.updates import SETS, Generator
from tests.unit.core_update.build import (
    EVERYTHING,
    IN,
    NONE,
    RR,
    message,
    rdata_of,
    rtype_of,
    wire_name,
    zone_view,
)

_ZONE = zone_view()
_POLICY = UpdatePolicy(EVERYTHING)
#: RDATA of types that the random updates do not hold.
_RARE = {
    "CAA": '0 issue "ca.example"', "LOC": "51 30 12.748 N 0 7 39.612 W 0.00m", "APL": "1:192.0.2.0/24 !2:2001:db8::/32",
    "HIP": "2 200100107B1A74DF365639CC39F1D578 AwEAAbdx rvs1.example.", "TLSA": "3 1 1 " + "00" * 32, "URI": '1 2 "http://a"',
    "HTTPS": "1 . alpn=h2 mandatory=alpn ipv6hint=::1", "NSEC": "a. A TXT RRSIG NSEC", "CSYNC": "66 3 A NS",
    "IPSECKEY": "10 3 2 gw.example. AQNR", "DNSKEY": "257 3 13 AAAA", "SSHFP": "1 1 " + "00" * 20, "X25": '"12345"',
    "RRSIG": "A 13 1 60 20300101000000 20250101000000 1 example. AAAA", "CERT": "1 2 3 AAAA", "AFSDB": "1 a.",
    "RP": "a. b.", "NSEC3": "1 0 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A",
    "HINFO": "a b", "EUI48": "00-00-5e-00-53-2a", "PX": "1 a. b.",
}  # fmt: skip


def one_input(data: bytes) -> bool:
    """Judge one message; tell whether it was taken."""
    try:
        parsed = parse_update(data)
    except FormError:
        return False
    parse(data)
    apply_update(_ZONE, parsed, _POLICY)
    return True


def seeds() -> list[bytes]:
    """Sound messages to start from: all forms, and every type once with and without compression."""
    generator = Generator(1)
    found = [generator.message(list(_ZONE.scan()), 10) for _ in range(60)]
    rdatas = [
        (m, rdata_of(m, text)) for m, text in [*((m, texts[0]) for m, texts in SETS.items()), *_RARE.items()]
    ]
    for mnemonic, rdata in rdatas:
        found.append(message([RR(wire_name("a"), rtype_of(mnemonic), IN, 60, rdata)]))
        found.append(message([RR(b"\x01a\xc0\x0c", rtype_of(mnemonic), NONE, 0, rdata)]))
    return found


def mutated(rng: random.Random, wire: bytes) -> bytes:
    """A message with one to four octets, pointers or runs changed."""
    data = bytearray(wire)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(data)) if data else 0
        match rng.randrange(7):
            case 0 if data:
                data[at] = rng.randrange(256)
            case 1 if data:
                data[at] = rng.choice((0, 1, 63, 64, 127, 128, 192, 255))
            case 2 if data:
                del data[at : at + rng.choice((1, 1, 2, 8))]
            case 3:
                data[at:at] = rng.randbytes(rng.choice((1, 1, 2, 8)))
            case 4:
                data[at : at + 2] = (0xC000 | rng.randrange(len(data) + 4)).to_bytes(2, "big")
            case 5:
                start = rng.randrange(len(data) + 1)
                data[at:at] = data[start : start + rng.randrange(40)]
            case _:
                del data[at:]
    return bytes(data[:65_535])


def mutate(seconds: float, seed: int, most: int | None = None) -> int:
    """Judge mutated messages for a while; return how many there were.

    most: end after so many, so that a run of a few seconds judges the same input on every machine.
    """
    rng = random.Random(seed)
    pool = seeds()
    until = time.monotonic() + seconds
    count = 0
    while time.monotonic() < until and count != most:
        data = mutated(rng, rng.choice(pool))
        if one_input(data) and rng.random() < 0.05:
            pool[rng.randrange(len(pool))] = data
        count += 1
    return count


def main() -> None:
    try:
        import atheris
    except ImportError:
        options = argparse.ArgumentParser()
        options.add_argument("--seconds", type=float, default=60)
        options.add_argument("--seed", type=int, default=int.from_bytes(random.randbytes(4)))
        given = options.parse_args()
        print(f"no atheris: random mutations, seed {given.seed}")
        print(f"{mutate(given.seconds, given.seed)} messages")
        return
    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
