"""Fuzz the zone file reader: ``python -m tests.fuzz.fuzz_zonefile [--seconds N] [--seed N]``.

A file is refused with ZoneFileErrors that name the file, or read; what was read can be written and read again, and is
the same then.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from dnssecd.core.dns.names import key_to_text
from dnssecd.ingest.errors import ZoneFileErrors
from dnssecd.ingest.export import rrset_lines
from dnssecd.ingest.zonefile import ParsedZone, parse_zone_file
from tests.fuzz.fuzz_update import _RARE
from tests.property.updates import SETS
from tests.unit.ingest.zones import HEAD, ORIGIN

_WORDS = (
    "$TTL 5\n", "$ORIGIN a.\n", "$GENERATE 1-3 h$ A 192.0.2.$\n", "(", ")", '"', ";", "\\", "\\032", "\\999", "@", "\n",
    "\t", "\r\n", "\x00", "IN", "CH", "86400", "99999999999", "1w2d", "\\# 4 c0000201", "\\# 0", "\ufeff", "*.", "..",
    "TYPE65280", "CLASS1", "$INCLUDE\n", "x" * 64,
)  # fmt: skip


def one_input(data: bytes, path: Path) -> bool:
    """Judge one file; tell whether it was taken."""
    path.write_bytes(data)
    try:
        zone = parse_zone_file(path, ORIGIN, strip=False, require_newline=False)
    except ZoneFileErrors as error:
        faults = error.errors
    else:
        return is_same_again(zone, path)
    assert faults, "a refusal says why"
    assert all(fault.file == str(path) and fault.cause for fault in faults)
    return False


def is_same_again(zone: ParsedZone, path: Path) -> bool:
    """Write what was read and read it again."""
    path.write_text(written(zone))
    again = parse_zone_file(path, ORIGIN, strip=False)
    assert (again.rrsets, again.rrsigs) == (zone.rrsets, zone.rrsigs)
    return True


def written(zone: ParsedZone) -> str:
    """The zone's records as text."""
    rows = [(rrset.owner, rrset.rtype, rrset.ttl, rrset.rdata) for rrset in zone.rrsets]
    rows += [(rrsigs.owner, 46, rrsigs.ttl, rrsigs.rdata) for rrsigs in zone.rrsigs]
    return "".join(rrset_lines(key_to_text(owner, zone.origin), *rest) for owner, *rest in rows)


def seeds() -> list[bytes]:
    """A record of every type, and files with the directives."""
    records = [(m, texts[0]) for m, texts in SETS.items()] + list(_RARE.items())
    records = [(m, text) for m, text in records if m not in ("SOA", "NS")]
    found = [f"{HEAD}a{number} {m} {text}\n" for number, (m, text) in enumerate(records)]
    found += [HEAD + "".join(f"{word.strip()} A 192.0.2.2\n" for word in ("b", "c", "d.e")), HEAD + _WORDS[2]]
    return [text.encode() for text in found]


def mutated(rng: random.Random, data: bytes) -> bytes:
    """The file with one to four words or octets put in, taken out or doubled."""
    text = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(text) + 1)
        match rng.randrange(5):
            case 0:
                text[at:at] = rng.choice(_WORDS).encode()
            case 1:
                text[at : at + rng.choice((1, 2, 9))] = b""
            case 2:
                text[at : at + 1] = bytes([rng.randrange(256)])
            case 3:
                start = rng.randrange(len(text) + 1)
                text[at:at] = text[start : start + rng.randrange(60)]
            case _:
                del text[at:]
    return bytes(text)


def mutate(seconds: float, seed: int, most: int | None = None) -> tuple[int, int]:
    """Judge mutated files for a while; return how many there were, and how many were taken.

    most: end after so many, so that a run (of `inf` seconds) judges the same input on every machine.
    """
    rng = random.Random(seed)
    pool = seeds()
    until = time.monotonic() + seconds
    count = taken = 0
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "zone"
        while time.monotonic() < until and count != most:
            data = mutated(rng, rng.choice(pool))
            if one_input(data, path):
                taken += 1
                if rng.random() < 0.05 and len(data) < 4000:
                    pool[rng.randrange(len(pool))] = data
            count += 1
    return count, taken


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=int.from_bytes(random.randbytes(4)))
    given = options.parse_args()
    print(f"zone files: random mutations, seed {given.seed}", file=sys.stderr)
    print("{} files, {} taken".format(*mutate(given.seconds, given.seed)))


if __name__ == "__main__":
    main()
