"""What a zone worker is told of input that is not the zone's file: plain data in a Job."""

import msgspec

from dnssecd.core.keys.types import RolloverPolicy
from dnssecd.migration.foreign import ForeignKey


class TransferJob(msgspec.Struct, frozen=True, kw_only=True):
    """What was fetched: from which primary, into which file. ``base``: the serial of the IXFR, None for AXFR.

    ``replace``: a person asked for the zone whatever its serial, and whatever it changes. ``serial_floor``: the latest
    serial seen at the secondaries before a first publication.
    """

    path: str
    primary: str
    base: int | None = None
    replace: bool = False
    serial_floor: int | None = None


class ImportJob(msgspec.Struct, frozen=True, kw_only=True):
    """A file to be taken into a dynamic zone. ``merge``: its RRsets take the place of the zone's, which keeps all
    others; otherwise the zone becomes what the file says. ``accept_change``: the delta guard is overruled.
    ``compare``: nothing is taken; the job ends ``unchanged`` where the file says what the zone holds.
    """

    path: str
    merge: bool
    accept_change: bool = False
    compare: bool = False
    serial_floor: int | None = None


class AdoptionJob(msgspec.Struct, frozen=True, kw_only=True):
    """A zone comes over from another signer. ``signed``: the file with the zone as it is served; with ``server``, the
    messages of a transfer from there. ``content``: the zone's own file, "" where its content is what is served.

    ``at_parent``: RDATA of those DNSKEYs that the parent has a DS of, None where it was not asked. ``shadow``: all is
    made and compared, nothing is kept. ``who``: for the history.
    """

    signed: str
    keys: tuple[ForeignKey, ...]
    policy: RolloverPolicy
    server: str = ""
    content: str = ""
    at_parent: tuple[bytes, ...] | None = None
    serial_floor: int | None = None
    accept_change: bool = False
    shadow: bool = False
    who: str = "dnssecd"
