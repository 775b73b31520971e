"""Judging a change: the region is derived here, from the unsigned difference and both versions."""

from collections.abc import Iterable

from dnssecd.core.verify.checker import SignatureChecker, inline_checker
from dnssecd.core.verify.expectation import Expectation
from dnssecd.core.verify.violations import Violation
from dnssecd.core.verify.zone import verify_zone
from dnssecd.core.zoneview import ZoneView


def verify_change(
    old: ZoneView,
    new: ZoneView,
    changed: Iterable[tuple[bytes, int]],
    expectation: Expectation,
    touched: Iterable[tuple[bytes, int]] = (),
    *,
    limit: int = 1000,
    verify_signatures: SignatureChecker = inline_checker,
) -> list[Violation]:
    """Return every violation a change may have made."""
    return verify_zone(new, expectation, limit, verify_signatures)
