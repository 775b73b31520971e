"""Verification of signed zones, independent of the code that signs them.

Canonical form, signed octets, key tags, NSEC3 hashes, type bit maps and zone cuts are implemented here a
second time, so that a bug in one implementation is found by the other. Only this package makes a
``VerifiedVersion``, and only a ``VerifiedVersion`` can be committed.
"""

from dnssecd.core.verify.change import verify_change
from dnssecd.core.verify.checker import ExecutorChecker, SignatureChecker, inline_checker
from dnssecd.core.verify.expectation import DenialExpectation, Expectation
from dnssecd.core.verify.memoryview import MemoryZoneView
from dnssecd.core.verify.token import TokenMisuse, VerifiedVersion
from dnssecd.core.verify.unchanged import checked_keys
from dnssecd.core.verify.unsigned import verify_unsigned_equal
from dnssecd.core.verify.version import VerificationFailed, verify_given, verify_version
from dnssecd.core.verify.violations import CODES, RANKS, Rank, Violation, violation
from dnssecd.core.verify.zone import verify_zone
from dnssecd.core.verify.zonemd import verify_zonemd

__all__ = [
    "CODES",
    "RANKS",
    "DenialExpectation",
    "ExecutorChecker",
    "Expectation",
    "MemoryZoneView",
    "Rank",
    "SignatureChecker",
    "TokenMisuse",
    "VerificationFailed",
    "VerifiedVersion",
    "Violation",
    "checked_keys",
    "inline_checker",
    "verify_change",
    "verify_given",
    "verify_unsigned_equal",
    "verify_version",
    "verify_zone",
    "verify_zonemd",
    "violation",
]
