"""Bounds on the resources that reading a zone file may use."""

#: Octets of RDATA that still fit in a message with header, owner name and TSIG.
from msgspec import Struct

RDATA_MAX = 65_000


class Limits(Struct, frozen=True):
    """Bounds for one zone file with its included files; sizes in octets."""

    line: int = 512 * 1024
    #: A record over several lines in parentheses, comments included.
    record: int = 2 * 1024 * 1024
    records: int = 50_000_000
    include_depth: int = 20
    files: int = 1_000
    #: Records that one $GENERATE may make.
    generate: int = 1_000_000
    #: Octets of memory that the records of all $GENERATE lines may take together.
    generated: int = 2 << 30
    errors: int = 20
    warnings: int = 100


DEFAULT_LIMITS = Limits()
