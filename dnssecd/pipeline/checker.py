"""A process that checks signatures for a zone worker: batches in, the indexes of the bad ones out.

Processes, not threads: reading the zone row by row lets go of Python's lock at every row, and would queue for it
behind the threads at every row.
"""

import sys
from functools import lru_cache

import msgspec

from dnssecd.core.verify.keys import Verify, ZoneKey
from dnssecd.pipeline import frames


class Check(msgspec.Struct, frozen=True, array_like=True):
    """One signature: good when any of ``keys`` (DNSKEY RDATA) verifies it."""

    keys: tuple[bytes, ...]
    signature: bytes
    message: bytes


@lru_cache(maxsize=1024)
def _verify(rdata: bytes) -> Verify | None:
    return ZoneKey(rdata).verify


def bad_ones(checks: list[Check]) -> list[int]:
    """Return the indexes of the signatures that no key verifies."""
    return [index for index, check in enumerate(checks) if not _good(check)]


def _good(check: Check) -> bool:
    for rdata in check.keys:
        verify = _verify(rdata)
        if verify is not None and verify(check.signature, check.message):
            return True
    return False


def main() -> int:
    """Serve batches until standard input ends."""
    while (body := frames.read_frame(sys.stdin.buffer)) is not None:
        sys.stdout.buffer.write(frames.encode(bad_ones(frames.decode(body, list[Check]))))
        sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
