"""Input for a zone worker that is not the zone's file: plain data in a Job."""

import msgspec

from dnssecd.core.keys.types import RolloverPolicy
from dnssecd.migration.foreign import ForeignKey


class TransferJob(msgspec.Struct, frozen=True, kw_only=True):
    """A fetched transfer: its primary and its file. ``base``: the serial of the IXFR, None for AXFR.

    ``replace``: an operator accepts any serial and any change. ``serial_floor``: the latest serial seen at
    the secondaries before a first publication.
    """

    path: str
    primary: str
    base: int | None = None
    replace: bool = False
    serial_floor: int | None = None


class ImportJob(msgspec.Struct, frozen=True, kw_only=True):
    """A file to import into a dynamic zone.

    ``merge``: its RRsets replace those of the zone, which keeps all others; otherwise the file replaces all
    content. ``accept_change``: the delta guard is overridden. ``compare``: nothing is imported; the job ends
    ``unchanged`` if the file equals the zone.
    """

    path: str
    merge: bool
    accept_change: bool = False
    compare: bool = False
    serial_floor: int | None = None


class AdoptionJob(msgspec.Struct, frozen=True, kw_only=True):
    """The adoption of a zone from another signer.

    ``signed``: the file with the served zone; with ``server``, the messages of a transfer from there.
    ``content``: the zone's own file, "" if the served content is the source.

    ``at_parent``: RDATA of those DNSKEYs that the parent has a DS of, None if it was not queried. ``shadow``:
    everything is made and compared, nothing is kept. ``who``: for the history.
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
