"""The file in which the fetcher stores the messages of a transfer, each with its length before it."""

from collections.abc import Iterator
from pathlib import Path

from dnssecd.ingest.xfrin_wire import TransferError

_BLOCK_OCTETS = 1 << 20


def spooled(path: Path) -> Iterator[bytes]:
    """Yield the messages that the fetcher stored in a file."""
    left = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK_OCTETS):
            block = left + block
            position, end = 0, len(block)
            while position + 2 <= end:
                after = position + 2 + (block[position] << 8 | block[position + 1])
                if after > end:
                    break
                yield block[position + 2 : after]
                position = after
            left = block[position:]
    if left:
        raise TransferError("the file of the transfer is cut short")
