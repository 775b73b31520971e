"""Verify a draft: the verifier gets the expectation, but nothing of the planning of the draft."""

from collections.abc import Iterable, Iterator

from dnssecd.core.dns.names import APEX, ancestors
from dnssecd.core.dns.rrset import pack
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, NSEC, NSEC3, SOA
from dnssecd.core.keys.keyset import SigningView, dnskey_rdata
from dnssecd.core.signing.denial import apex_link
from dnssecd.core.verify import (
    DenialExpectation,
    Expectation,
    SignatureChecker,
    VerificationFailed,
    VerifiedVersion,
    verify_version,
)
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version.bad_signatures import BadSignatures, TokenEvicted
from dnssecd.pipeline.version.draft import Draft, verification_failed
from dnssecd.replacing import replace


class DraftVerifier:
    """Verifies drafts; ``checker`` spreads the cryptography, ``signer`` gets reports of its bad signatures."""

    def __init__(self, checker: SignatureChecker, signer: SignerClient | None = None) -> None:
        self._checker = checker
        self._signer = signer

    def __call__(self, draft: Draft) -> VerifiedVersion | VerificationFailed:
        """Return the token that commits the draft, or all violations.

        It raises TokenEvicted if the key service evicts the token that made bad signatures.
        """
        bad = BadSignatures(self._checker)
        verdict = self._verdict(draft, bad)
        if isinstance(verdict, VerificationFailed) and bad.found and self._signer is not None:
            rejected = verification_failed(verdict.violations)
            if bad.report(draft.spec.origin, draft.view, self._signer):
                raise TokenEvicted(rejected.event, rejected.cause, rejected.remedy, rejected.violations)
        return verdict

    def _verdict(self, draft: Draft, checker: SignatureChecker) -> VerifiedVersion | VerificationFailed:
        transaction = draft.transaction
        transaction.forget_reads()
        first = draft.previous_serial is None
        places, touched = _unsigned_places(draft), transaction.touched or ()
        if not first:
            links = {owner for owner, rtype in touched if rtype in (NSEC, NSEC3)}
            links |= {APEX, apex_link(draft.spec.origin, draft.spec.denial_parameters)}
            for view in (transaction, transaction.old):
                view.read_ahead(_names_of(places, touched), links)
        return verify_version(
            None if first else transaction.old,
            transaction,
            places,
            touched,
            expectation(draft),
            transaction,
            transaction.generation,
            content=draft.given.rrsets,
            whole=draft.given.renew,
            verify_signatures=checker,
        )

    def check(self, draft: Draft) -> None:
        """Verify a draft that will not be committed; raise Rejected."""
        verdict = self(draft)
        if isinstance(verdict, VerificationFailed):
            raise verification_failed(verdict.violations)


def _names_of(changed: Iterable[tuple[bytes, int]], touched: Iterable[tuple[bytes, int]]) -> Iterator[bytes]:
    """Yield the names that the verifier looks at, most of them: a hint for the store."""
    yield APEX
    for owner, _ in changed:
        yield owner
        yield from ancestors(owner)
    for owner, _ in touched:
        yield owner


def _unsigned_places(draft: Draft) -> list[tuple[bytes, int]]:
    return [
        (change.owner, change.rtype)
        for change in draft.changes
        if change.owner or change.rtype not in (*APEX_DERIVED_TYPES, SOA)
    ]


def expectation(draft: Draft) -> Expectation:
    """Return the expectation for the draft: keys as planned, denial as configured, an increasing serial."""
    wanted = published_expectation(draft.spec, draft.view, draft.serial, draft.now)
    return replace(wanted, previous_serial=draft.previous_serial)


def published_expectation(spec: ZoneSpec, view: SigningView, serial: int, now: int) -> Expectation:
    """Return the expectation for a version with these keys, independent of the previous one."""
    zone_keys = {
        dnskey_rdata(k.flags, k.algorithm, k.public_key) for k in (*view.zone_keys, *view.retiring_keys)
    }
    parameters = spec.denial_parameters
    return Expectation(
        origin=spec.origin,
        now=now,
        dnskeys=pack(view.dnskey_rdatas) if view.dnskey_rdatas else b"",
        unpublished_keys=tuple(sorted(zone_keys - set(view.dnskey_rdatas))),
        standby_keys=tuple(sorted(set(view.cdnskey) - set(view.dnskey_rdatas))),
        algorithms=frozenset(key.algorithm for key in view.zone_keys),
        denial=DenialExpectation(spec.denial, opt_out=parameters.opt_out if parameters.is_nsec3 else None),
        serial=serial,
        zonemd=spec.zonemd or None,
    )
