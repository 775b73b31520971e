"""Putting a draft before the verifier: what it is told, and nothing of how the draft was planned."""

from dataclasses import replace

from dnssecd.core.dns.rrset import pack
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, SOA
from dnssecd.core.keys.keyset import SigningView, dnskey_rdata
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


class DraftVerifier:
    """Verifies drafts; ``checker`` spreads the cryptography, ``signer`` is told of bad signatures it made."""

    def __init__(self, checker: SignatureChecker, signer: SignerClient | None = None) -> None:
        self._checker = checker
        self._signer = signer

    def __call__(self, draft: Draft) -> VerifiedVersion | VerificationFailed:
        """Return the token that commits the draft, or all that is wrong with it.

        TokenEvicted is raised when the key service will not use again the token whose signatures were bad.
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
        return verify_version(
            None if first else transaction.old,
            transaction,
            _unsigned_places(draft),
            transaction.touched or (),
            expectation(draft),
            transaction,
            transaction.generation,
            content=draft.given.rrsets,
            whole=draft.given.anew,
            verify_signatures=checker,
        )

    def check(self, draft: Draft) -> None:
        """Verify a draft that is not to be committed; raises Rejected."""
        verdict = self(draft)
        if isinstance(verdict, VerificationFailed):
            raise verification_failed(verdict.violations)


def _unsigned_places(draft: Draft) -> list[tuple[bytes, int]]:
    return [
        (change.owner, change.rtype)
        for change in draft.changes
        if change.owner or change.rtype not in (*APEX_DERIVED_TYPES, SOA)
    ]


def expectation(draft: Draft) -> Expectation:
    """Return what the draft must be: keys as planned, denial as configured, a serial that goes forward."""
    wanted = published_expectation(draft.spec, draft.view, draft.serial, draft.now)
    return replace(wanted, previous_serial=draft.previous_serial)


def published_expectation(spec: ZoneSpec, view: SigningView, serial: int, now: int) -> Expectation:
    """Return what a version with these keys must be, whatever came before it."""
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
