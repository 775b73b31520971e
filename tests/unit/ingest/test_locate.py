"""Where records stand in a zone file and what it includes, found by reading it again."""

from __future__ import annotations

from pathlib import Path

from dnssecd.ingest.locate import lines_of
from tests.unit.ingest.zones import HEAD, ORIGIN, parse

TEXT = (
    HEAD
    + "a A 192.0.2.2\na TXT (\n x\n y )\na A 192.0.2.3\n\n$INCLUDE inc\n$GENERATE 1-2 g$ A 192.0.2.$\n  TXT z\n"
)
A, TXT = 1, 16


def test_lines(tmp_path: Path) -> None:
    (tmp_path / "inc").write_text("; note\ni A 192.0.2.2\n")
    zone = parse(tmp_path, TEXT)
    places = [(b"a\0", A), (b"a\0", TXT), (b"i\0", A), (b"g2\0", A), (b"none\0", A)]
    path = tmp_path / "example.zone"
    assert lines_of(path, ORIGIN, places, zone.digest) == {
        (b"a\0", A): f"{path}:9",
        (b"a\0", TXT): f"{path}:13",
        (b"i\0", A): f"{tmp_path}/inc:2",
        (b"g2\0", A): f"{path}:12",
    }


def test_no_lines_of_a_file_that_was_written_since(tmp_path: Path) -> None:
    zone = parse(tmp_path, TEXT.replace("$INCLUDE inc\n", ""))
    path = tmp_path / "example.zone"
    path.write_text("; more\n" + path.read_text())
    assert lines_of(path, ORIGIN, [(b"a\0", A)], zone.digest) == {}
    path.write_text("garbage")
    assert lines_of(path, ORIGIN, [(b"a\0", A)], zone.digest) == {}
