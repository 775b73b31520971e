"""The changes of a version's denial chain: found, and written while they are passed on to be signed."""

from collections.abc import Iterable, Iterator
from itertools import islice

from dnssecd.core.keys.keyset import SigningView
from dnssecd.core.signing.denial import denial_changes
from dnssecd.core.signing.regions import Regions
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.zoneview import ZoneView
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version.apex import is_signed
from dnssecd.store.interface import OldVersion, Transaction

CHUNK_RRSETS = 1_000


def chain_difference(
    old: OldVersion, new: ZoneView, regions: Regions, spec: ZoneSpec, view: SigningView
) -> Iterable[Change]:
    """Return the changes of the chain; an unsigned zone has none."""
    if is_signed(view):
        return denial_changes(old, new, regions, spec.denial_parameters, old.read_ahead)
    return [Change(r.owner, r.rtype, r, None) for r in old.denial_scan()]


class ChainChanges:
    """The chain's changes, written while they are iterated: a first chain is made while content is signed."""

    def __init__(self, transaction: Transaction, changes: Iterable[Change]) -> None:
        self._transaction, self._changes = transaction, iter(changes)
        self._found: list[Change] = []
        self.count = 0

    def find(self) -> list[Change]:
        """Find all changes now, and write none yet; :meth:`write` does. They can be iterated in between."""
        self._found = list(self._changes)
        self.count = len(self._found)
        return self._found

    def write(self) -> None:
        """Write the changes that :meth:`find` found."""
        self._transaction.apply_denial(self._found)

    def settle(self) -> None:
        """Find and write all changes now, so that ``count`` is known; they can be iterated once more."""
        self._found = list(self)

    def __iter__(self) -> Iterator[Change]:
        yield from self._found
        while chunk := list(islice(self._changes, CHUNK_RRSETS)):
            self._transaction.apply_denial(chunk)
            self.count += len(chunk)
            yield from chunk
