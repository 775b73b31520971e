"""A process that checks signatures for a zone worker: it reads batches and writes the indexes of bad signatures.

It is a process, not a thread: reading the zone releases Python's lock at every row, and would wait for the
threads at every row.
"""

import sys
from functools import lru_cache

import msgspec

from dnssecd.core.verify.keys import Verify, ZoneKey
from dnssecd.pipeline.workers import codec


class Checks(msgspec.Struct, frozen=True, array_like=True):
    """A batch: ``keys`` are groups of DNSKEY RDATA; a check is (index of a group, signature, message).

    A signature is good if any key of its group verifies it.
    """

    keys: list[tuple[bytes, ...]]
    checks: list[tuple[int, bytes, bytes]]


@lru_cache(maxsize=1024)
def _verify(rdata: bytes) -> Verify | None:
    return ZoneKey(rdata).verify


def bad_ones(batch: Checks) -> list[int]:
    """Return the indexes of the signatures that no key verifies."""
    ways = [[verify for verify in map(_verify, keys) if verify is not None] for keys in batch.keys]
    return [
        index
        for index, (number, signature, message) in enumerate(batch.checks)
        if not any(verify(signature, message) for verify in ways[number])
    ]


def main() -> int:
    """Serve batches until standard input ends."""
    while (body := codec.read_frame(sys.stdin.buffer)) is not None:
        sys.stdout.buffer.write(codec.encode(bad_ones(codec.decode(body, Checks))))
        sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
