"""The zones that were added while the daemon ran: what is stored of them, and in the memory."""

import msgspec
import structlog

from dnssecd.config.added import AddedZone
from dnssecd.store.catalogue import Catalogue

log = structlog.get_logger("dnssecd.zones")


class AddedRecords:
    """The records by zone name. Belongs to the event loop; methods that write raise StoreError."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._added = _read(catalogue.added())

    def all(self) -> list[AddedZone]:
        """Return the records of the zones that the daemon has."""
        return list(self._added.values())

    def get(self, zone: str) -> AddedZone | None:
        """Return the record of a zone, None if it was not added, or was removed."""
        return self._added.get(zone)

    def of_catalog(self, catalog: str) -> dict[str, AddedZone]:
        """Return the records of a catalog's members."""
        return {name: one for name, one in self._added.items() if one.catalog == catalog}

    def removed(self, zone: str) -> AddedZone | None:
        """Return how a removed zone had been added."""
        document = self._catalogue.added(removed=True).get(zone)
        return None if document is None else _read({zone: document}).get(zone)

    def put(self, added: list[AddedZone]) -> None:
        """Store records; they are on the disk afterwards."""
        self._catalogue.put_added({one.zone: one.document() for one in added})
        self._added.update((one.zone, one) for one in added)

    def end(self, zones: list[str], removed_at: int | None) -> None:
        """Store that zones were removed at a time (epoch seconds); None: the configuration file has them now."""
        self._catalogue.end_added(zones, removed_at)
        for zone in zones:
            self._added.pop(zone, None)


def _read(documents: dict[str, str]) -> dict[str, AddedZone]:
    found = {}
    for name, document in documents.items():
        try:
            found[name] = AddedZone.of_document(document)
        except msgspec.DecodeError as error:
            log.error("the record of an added zone cannot be read", zone=name, cause=str(error))
    return found
