"""A process that checks signatures for a zone worker: batches in, the indexes of the bad ones out.

Processes, not threads: reading the zone row by row lets go of Python's lock at every row, and would queue for it
behind the threads at every row.
"""

import sys
from functools import lru_cache

import msgspec

from dnssecd.core.verify.keys import Verify, ZoneKey
from dnssecd.pipeline.workers import frames


class Checks(msgspec.Struct, frozen=True, array_like=True):
    """A batch: ``keys`` are alternatives of DNSKEY RDATA; a check is (number of such, signature, message).

    A signature is good when any key of its number verifies it.
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
    while (body := frames.read_frame(sys.stdin.buffer)) is not None:
        sys.stdout.buffer.write(frames.encode(bad_ones(frames.decode(body, Checks))))
        sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
