"""Times, durations and names as options."""

import pytest
import typer

from dnssecd.cli.common import duration, moment
from dnssecd.cli.output import printable, span, when
from dnssecd.core.dns.names import full_name


def test_moments() -> None:
    assert moment("1700000000") == 1_700_000_000
    assert moment("20231114221320") == 1_700_000_000
    assert moment("21060207062816") == 2**32
    for bad in ("", "yesterday", "20231314221320", "2023-11-14", "-5"):
        with pytest.raises(typer.BadParameter):
            moment(bad)


def test_durations() -> None:
    assert (duration("30s"), duration("5m"), duration("90")) == (30, 300, 90)
    for bad in ("", "soon", "-5m"):
        with pytest.raises(typer.BadParameter):
            duration(bad)


def test_names_and_texts() -> None:
    assert [full_name(name) for name in ("Example.COM", "example.com.", ".")] == [
        "example.com.",
        "example.com.",
        ".",
    ]
    assert when(0) == "1970-01-01 00:00:00Z"
    assert when(None) is None
    assert (span(-7200), span(90_061), span(None)) == ("expired 2h ago", "1d 1h", None)
    assert printable("a\x1b[31m\nü") == "a\\x1b[31m\\x0aü"
