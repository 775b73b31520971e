"""A large file that was loaded before is recognized; anything that differs has it loaded as usual."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import dnssecd
from dnssecd.pipeline.jobs import known_input, load
from tests.pipeline_zone import ZONE, PipelineZone, running_signer

#: With a warning, as long as the limit that the tests set.
TEXT = ZONE + "bücher IN A 192.0.2.9\n" + "".join(f"n{i} IN A 192.0.2.7\n" for i in range(40))


@pytest.fixture(scope="module")
def socket() -> Iterator[str]:
    with running_signer() as path:
        yield path


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were parsed."""
    seen: list[Path] = []
    parse = load.parse_zone_file

    def note(path: Path, *rest: Any, **more: Any) -> Any:
        seen.append(path)
        return parse(path, *rest, **more)

    monkeypatch.setattr(load, "parse_zone_file", note)
    monkeypatch.setattr(known_input, "FILE_OCTETS_MIN", 500)
    return seen


@pytest.fixture
def zone(tmp_path: Path, socket: str) -> Iterator[PipelineZone]:
    made = PipelineZone(tmp_path, socket)
    yield made
    made.close()


def test_an_unchanged_file_is_not_parsed_again(zone: PipelineZone, parsed: list[Path]) -> None:
    first = zone.load(TEXT)
    assert first.result == "published"
    assert first.warnings
    again = zone.load(TEXT)
    assert again.result == "unchanged"
    assert len(parsed) == 1
    same = ("warnings", "records", "serial", "input_serial", "stripped", "next_due", "problems")
    assert [getattr(again, name) for name in same] == [getattr(first, name) for name in same]
    assert again.files[0] == load.parse_zone_file(zone.file, zone.spec.origin).digest.files[0]


def test_a_changed_file_is_loaded(zone: PipelineZone, parsed: list[Path]) -> None:
    zone.load(TEXT)
    changed = zone.load(TEXT.replace("192.0.2.7", "192.0.2.8", 1))
    assert changed.result == "published"
    assert changed.changed_rrsets == 2
    assert len(parsed) == 2
    assert zone.load(TEXT).result == "published", "the first content again: not the published version's"
    assert zone.load(TEXT).result == "unchanged"
    assert len(parsed) == 3


@pytest.mark.parametrize(
    "settings", [{"allow_missing_glue": True}, {"max_change": 0.5}, {"validity_s": 20 * 86_400}]
)
def test_other_settings_have_the_file_judged_again(
    zone: PipelineZone, parsed: list[Path], settings: dict[str, Any]
) -> None:
    zone.load(TEXT)
    zone.spec = msgspec.structs.replace(zone.spec, **settings)
    zone.load(TEXT)
    assert len(parsed) == 2


def test_another_release_judges_the_file_again(
    zone: PipelineZone, parsed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    zone.load(TEXT)
    monkeypatch.setattr(dnssecd, "__version__", "999")
    zone.load(TEXT)
    assert len(parsed) == 2


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE rrset SET rdata = X'0004C0000263' WHERE rtype = 1 AND owner = X'6E333900'",
        "DELETE FROM rrset WHERE owner = X'6E333900'",
        "INSERT INTO rrset VALUES (X'6E34303000', 1, 300, X'0004C0000263')",
    ],
)
def test_a_store_that_was_changed_is_repaired(zone: PipelineZone, parsed: list[Path], damage: str) -> None:
    zone.load(TEXT)
    with sqlite3.connect(zone.spec.database) as connection:
        assert connection.execute(damage).rowcount == 1
    connection.close()
    assert zone.load(TEXT).result == "published"
    assert len(parsed) == 2
    with zone.db.snapshot() as snapshot:
        assert len([rrset for rrset in snapshot.scan() if rrset.owner.startswith(b"n")]) == 41


def test_a_version_that_is_due_is_made_without_the_file(zone: PipelineZone, parsed: list[Path]) -> None:
    zone.load(TEXT)
    with sqlite3.connect(zone.spec.database) as connection:
        assert connection.execute("DELETE FROM rrset WHERE rtype = 48").rowcount == 1  # DNSKEY
    connection.close()
    assert zone.load(TEXT).result == "published"
    assert len(parsed) == 1
    with zone.db.snapshot() as snapshot:
        assert snapshot.rrset(b"", 48) is not None


def test_under_other_settings_it_is_known_once_it_was_loaded(zone: PipelineZone, parsed: list[Path]) -> None:
    zone.load(TEXT)
    zone.spec = msgspec.structs.replace(zone.spec, opt_out=True)
    assert zone.load(TEXT).result == "published"
    assert len(parsed) == 2
    assert zone.load(TEXT).result == "unchanged"
    assert len(parsed) == 2


@pytest.mark.parametrize(
    "settings", [{"input_anchor": (b"\x00\x01\x0d\x02" + bytes(32),)}, {"dynamic": True}]
)
def test_inputs_whose_judgement_depends_on_more_are_not_kept(
    zone: PipelineZone, parsed: list[Path], settings: dict[str, Any]
) -> None:
    zone.load(TEXT)
    zone.db.set_evidence([("input", "judged", {}, zone.now)])
    zone.spec = msgspec.structs.replace(zone.spec, **settings)
    zone.load(TEXT)
    assert ("input", "judged", {}, zone.now) in zone.db.evidence()


def test_an_included_file_is_always_read(zone: PipelineZone, parsed: list[Path]) -> None:
    (zone.home / "more").write_text("more IN A 192.0.2.1\n")
    zone.load(TEXT + "$INCLUDE more\n")
    (zone.home / "more").write_text("more IN A 192.0.2.2\n")
    assert zone.load(TEXT + "$INCLUDE more\n").result == "published"
    assert len(parsed) == 2
