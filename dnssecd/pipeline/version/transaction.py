"""What the pipeline needs of the version in the making: offered by the store, and in memory for one file."""

from collections.abc import Iterable
from typing import Any, Protocol

from dnssecd.core.dns.rrset import RRset, Rrsigs
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.zoneview import ZoneView

State = dict[str, Any]


class OldVersion(ZoneView, Protocol):
    """The version published last; ``version`` is None when there is none."""

    @property
    def version(self) -> State | None:
        """The document that says what it is."""
        ...

    def rrsigs_due(self, before: int, limit: int) -> list[tuple[bytes, int]]:
        """Return (owner, type covered) of RRSIGs that expire at or before ``before``, soonest first."""
        ...


class Transaction(ZoneView, Protocol):
    """The next version in the making: see store.zonedb.WriteTransaction."""

    generation: int
    records_delta: int
    touched: set[tuple[bytes, int]] | None

    @property
    def old(self) -> OldVersion:
        """The version it starts from."""
        ...

    def apply_content(self, changes: Iterable[Change], *, journalled: bool = True) -> None:
        """Write content RRsets."""
        ...

    def apply_denial(self, changes: Iterable[Change]) -> None:
        """Write NSEC or NSEC3 RRsets."""
        ...

    def put_rrsigs(self, rows: Iterable[tuple[Rrsigs | None, Rrsigs, int]]) -> None:
        """Write RRSIGs given as (old, new, expiration in epoch seconds)."""
        ...

    def delete_rrsigs(self, rows: Iterable[Rrsigs]) -> None:
        """Remove RRSIGs."""
        ...

    def set_state(self, name: str, value: State) -> None:
        """Write a named state document."""
        ...

    def state(self, name: str) -> State | None:
        """Return a named state document."""
        ...

    def add_history(self, at: int, who: str, what: str, serial: int | None, detail: str) -> None:
        """Append to the zone's history."""
        ...

    def close_journal(
        self, at: int, old_soa: RRset | None, new_soa: RRset, serials: tuple[int, int] | None
    ) -> None:
        """Frame the difference sequence."""
        ...

    def prune_journal(self, octets_max: int, older_than: int) -> int:
        """Keep the journal within its bounds."""
        ...

    def commit_if(self, generation: int) -> None:
        """Make this the published version."""
        ...
