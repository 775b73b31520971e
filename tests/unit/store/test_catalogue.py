"""The catalogue of a full disk: what cannot be written is written later, in the order in which it became so."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd.store.catalogue import Catalogue, CatalogueEntry
from dnssecd.store.errors import StoreError


def test_what_a_full_disk_refused_is_written_with_the_next_entry(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "catalogue.sqlite")
    catalogue.keep_serving({"a.": "1", "b.": "1"})
    catalogue.put(CatalogueEntry("a.", serial=1))
    catalogue._connection.execute("PRAGMA query_only = ON")
    catalogue.remove(["a."])
    catalogue.keep_serving({"b.": "2", "c.": "1"})
    catalogue.remove(["c."])
    catalogue.put(CatalogueEntry("d.", serial=4))
    assert catalogue.serving() == {"a.": "1", "b.": "1"}
    with pytest.raises(StoreError):
        catalogue.put_serving({"b.": "3"})
    catalogue._connection.execute("PRAGMA query_only = OFF")
    catalogue.put(CatalogueEntry("b.", serial=2))
    assert catalogue.serving() == {"b.": "2"}
    assert {name: entry.serial for name, entry in catalogue.entries().items()} == {"b.": 2, "d.": 4}
    catalogue.close()


def test_a_zone_that_comes_back_before_its_removal_was_written_stays(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "catalogue.sqlite")
    catalogue.keep_serving({"a.": "1"})
    catalogue._connection.execute("PRAGMA query_only = ON")
    catalogue.remove(["a."])
    catalogue.keep_serving({"a.": "2"})
    catalogue._connection.execute("PRAGMA query_only = OFF")
    catalogue.put(CatalogueEntry("b.", serial=2))
    assert catalogue.serving() == {"a.": "2"}
    catalogue.close()
