"""Codes and ranks: all are documented, none is registered in vain."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd.core.verify import CODES, RANKS, Rank, violation
from dnssecd.core.verify.codes_doc import render
from dnssecd.core.verify.violations import Report
from tests.unit.core_verify.naive import ORIGIN

ROOT = Path(__file__).parents[3]


def test_the_document_is_up_to_date() -> None:
    assert (ROOT / "docs" / "verify.md").read_text() == render(), (
        "write it again: python -m dnssecd.core.verify.codes_doc > docs/verify.md"
    )


def test_each_code_has_a_rank() -> None:
    assert set(RANKS) == set(CODES)
    assert set(RANKS.values()) == set(Rank)


def test_a_finding_has_the_rank_of_its_code_or_the_one_given() -> None:
    report = Report(ORIGIN, 10)
    report.add("denial-ttl", b"", 47, "x")
    report.add("rrsig-expired", b"", 1, "x")
    report.add("rrsig-expired", b"", 1, "y", Rank.ADVICE)
    assert [one.rank for one in report.violations] == [Rank.ADVICE, Rank.BOGUS, Rank.ADVICE]
    with pytest.raises(KeyError):
        report.add("no-such-code", b"", 1, "x")
    assert violation("out-of-zone", ".", "-", "x").rank is Rank.ADVICE
