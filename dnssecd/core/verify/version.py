"""The pipeline's entry: verify a new version ahead of its commit, and get the token for the commit."""

from collections.abc import Iterable

from msgspec import Struct

from dnssecd.core.dns import rrtypes
from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.verify.change import verify_change
from dnssecd.core.verify.checker import SignatureChecker, inline_checker
from dnssecd.core.verify.expectation import Expectation
from dnssecd.core.verify.token import VerifiedVersion, _issue
from dnssecd.core.verify.unchanged import Unchanged, same_keys
from dnssecd.core.verify.unsigned import verify_unsigned_equal
from dnssecd.core.verify.violations import Rank, Violation
from dnssecd.core.verify.walk import rdatas_at
from dnssecd.core.verify.wire import Malformed, Soa
from dnssecd.core.verify.zone import verify_zone
from dnssecd.core.zone.zoneview import ZoneView


class VerificationFailed(Struct, frozen=True):
    """Why a version must not be published."""

    violations: tuple[Violation, ...]

    def __str__(self) -> str:
        return "; ".join(str(violation) for violation in self.violations)


def verify_version(
    old: ZoneView | None,
    new: ZoneView,
    changed: Iterable[tuple[bytes, int]],
    touched: Iterable[tuple[bytes, int]],
    expectation: Expectation,
    transaction: object,
    generation: int,
    *,
    content: Iterable[RRset] | None = None,
    whole: bool = False,
    limit: int = 100,
    verify_signatures: SignatureChecker = inline_checker,
) -> VerifiedVersion | VerificationFailed:
    """Verify ``new`` and return the token to commit it with, or all violations.

    old: the published version, None or without SOA when there is none. changed: (owner, type) of the unsigned
    difference. touched: (owner, type) of each denial RRset and (owner, type covered) of each RRSIG set
    written or deleted. content: the whole unsigned content that ``new`` must have, if the caller has it.
    whole: verify everything, cryptography included. Transaction and generation: see VerifiedVersion.
    """
    if whole or old is None or old.rrset(APEX, rrtypes.SOA) is None:
        violations = verify_zone(new, expectation, limit, verify_signatures, content=content)
    else:
        violations = [] if content is None else verify_unsigned_equal(content, new, limit)
        violations = violations or verify_change(
            old, new, changed, expectation, touched, limit=limit, verify_signatures=verify_signatures
        )
    if violations:
        return VerificationFailed(tuple(violations))
    return _issue(new.origin, _serial(new), transaction, generation, expectation.now)


def verify_given(
    new: ZoneView,
    expectation: Expectation,
    transaction: object,
    generation: int,
    *,
    limit: int,
    verify_signatures: SignatureChecker = inline_checker,
    old: ZoneView | None = None,
    old_verified_at: int = 0,
) -> tuple[VerifiedVersion | VerificationFailed, tuple[Violation, ...]]:
    """Verify the whole of a version that another signer made: return the token or the failure, and what else is wrong.

    It fails by findings of rank BOGUS only: the others harm no validator, and cannot be corrected here. With more than
    ``limit`` findings it fails, too.

    old: the stored version, verified as a whole for the time ``old_verified_at``, with the same ``checked_keys``. For
    RRSIGs that it has as the same octets the cryptography is not done again while the keys are the same (see
    :mod:`.unchanged`); the findings are those without it.
    """
    keys = frozenset() if old is None else same_keys(old, new)
    known = Unchanged(old, old_verified_at) if old is not None and keys else None
    found = verify_zone(new, expectation, limit, verify_signatures, known=known, trusted_keys=keys)
    bogus = tuple(one for one in found if one.rank is Rank.BOGUS)
    if bogus:
        return VerificationFailed(bogus), ()
    return _issue(new.origin, _serial(new), transaction, generation, expectation.now), tuple(found)


def _serial(view: ZoneView) -> int:
    try:
        return Soa(rdatas_at(view, rrtypes.SOA)[0]).serial
    except (Malformed, IndexError) as error:
        raise AssertionError("a version without a readable SOA passed verification") from error
