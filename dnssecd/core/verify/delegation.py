"""The link between the zone and its parent: signers of the DNSKEY RRset, DS, CDS and CDNSKEY.

A revoked key (RFC 5011 §2.1) does not count here: no DS leads to it, no CDS may be made of it, and its
signature over the DNSKEY RRset replaces no other.
"""

from collections.abc import Iterable

from dnssecd.core.dns import rrtypes
from dnssecd.core.dns.names import APEX
from dnssecd.core.verify.expectation import Expectation
from dnssecd.core.verify.keys import DS_DIGESTS, SHA1, SUPPORTED, KeyRing, ZoneKey, ds_matches
from dnssecd.core.verify.signatures import dnskey_makers
from dnssecd.core.verify.violations import Rank, Report
from dnssecd.core.verify.walk import rdatas_at
from dnssecd.core.verify.wire import Malformed, split
from dnssecd.core.zone.zoneview import ZoneView

_DELETE_CDS = b"\0\0\0\0\0"
_DELETE_CDNSKEY = b"\0\0\3\0\0"


def judge_delegation(
    report: Report, view: ZoneView, ring: KeyRing, signers: dict[int, list[ZoneKey]], expectation: Expectation
) -> None:
    """Judge the apex RRsets that the parent and validators use.

    ``signers``: by type of apex RRset, the keys with an RRSIG right in every field.
    """
    signing = _signing(view, ring)
    gaps = _judge_ds(report, signing, expectation)
    if rrtypes.DNSKEY in signers and not (expectation.ds and gaps == []):
        _judge_dnskey_signers(report, view, ring, signing)
    _judge_cds_signers(report, ring, signers, expectation.ds if gaps == [] else ())
    _CdsJudge(report, view, ring, signing, expectation).run()


def _signing(view: ZoneView, ring: KeyRing) -> list[ZoneKey]:
    """Return the published, unrevoked zone keys with an RRSIG over the DNSKEY RRset, even if that RRSIG has faults.

    Its faults are reported where the RRSIG is judged, and not a second time here.
    """
    published = {key.rdata for key in ring.published if key.is_zone_key and not key.is_revoked}
    rrset, sigs = view.rrset(APEX, rrtypes.DNSKEY), view.rrsigs(APEX, rrtypes.DNSKEY)
    if rrset is None or sigs is None:
        return []
    found: dict[bytes, ZoneKey] = {}
    try:
        for rdata in split(sigs.rdata):
            if len(rdata) >= 18:
                makers = dnskey_makers(ring, rrset, view.origin, rdata)
                found |= {key.rdata: key for key in makers if key.rdata in published}
    except Malformed:
        return []
    return list(found.values())


def _judge_dnskey_signers(report: Report, view: ZoneView, ring: KeyRing, signing: list[ZoneKey]) -> None:
    """Check that a SEP key signs the DNSKEY RRset if there is one, and that not only revoked keys sign it."""
    seps = [key for key in ring.published if key.is_sep and key.is_zone_key and not key.is_revoked]
    if seps and not any(key.is_sep for key in signing):
        detail = "no RRSIG by any of " + ", ".join(key.text for key in seps)
        report.add("ksk-missing", APEX, rrtypes.DNSKEY, detail)
    elif not signing and any(key.is_revoked for key in ring.published):
        revoked = ", ".join(key.text for key in ring.published if key.is_revoked)
        report.add(
            "ksk-missing", APEX, rrtypes.DNSKEY, f"no RRSIG by a key that is not revoked; {revoked} is"
        )


def ds_gaps(
    given: Iterable[bytes], origin: bytes, signing: Iterable[ZoneKey]
) -> list[tuple[int, int]] | None:
    """Return the (algorithm, digest type) pairs of a DS RRset that lead to no key that signs the DNSKEY RRset.

    None: no DS is of an algorithm and a digest type known here, so the zone is insecure (RFC 4035 §5.2).
    SHA-1 counts only if the set has no better digest (RFC 4509 §3). Validators differ in which of the other
    digest types they use (some only the strongest), so each of them must lead to a key, and so must each
    algorithm (RFC 4035 §2.2).
    """
    usable = [ds for ds in given if len(ds) > 4 and ds[2] in SUPPORTED and ds[3] in DS_DIGESTS]
    if not usable:
        return None
    better = [ds for ds in usable if ds[3] != SHA1]
    considered = better or usable
    keys = [key.rdata for key in signing]
    led = {(ds[2], ds[3]) for ds in considered if any(ds_matches(ds, origin, rdata) for rdata in keys)}
    return sorted({(ds[2], ds[3]) for ds in considered} - led)


def _judge_ds(
    report: Report, signing: list[ZoneKey], expectation: Expectation
) -> list[tuple[int, int]] | None:
    """Judge the DS RRset given; return its gaps."""
    given = expectation.ds
    gaps = ds_gaps(given, report.origin, signing)
    if given and gaps is None:
        detail = (
            "validators treat the zone as insecure: they support no algorithm and digest type of the DS given"
        )
        rank = Rank.BOGUS if expectation.checkable else None
        report.add("ds-insecure", APEX, rrtypes.DS, detail, rank)
    for algorithm, digest_type in gaps or ():
        detail = (
            f"no DS given of algorithm {algorithm} and digest type {digest_type} is of a key that signs the "
            "DNSKEY RRset and is not revoked"
        )
        report.add("ds-mismatch", APEX, rrtypes.DS, detail)
    return gaps


def _judge_cds_signers(
    report: Report, ring: KeyRing, signers: dict[int, list[ZoneKey]], ds: tuple[bytes, ...]
) -> None:
    """Check that a key with a DS signs CDS and CDNSKEY (RFC 7344 §4.1); if the DS is unknown: a SEP key."""
    seps = {key.rdata for key in ring.published if key.is_sep and key.is_zone_key and not key.is_revoked}
    for rtype in (rrtypes.CDS, rrtypes.CDNSKEY):
        keys = [key.rdata for key in signers.get(rtype, ())]
        if not keys:
            continue  # unsigned, or badly signed: reported where the RRSIGs are judged
        if ds:
            if not any(ds_matches(one, report.origin, rdata) for one in ds for rdata in keys):
                report.add("cds-signer", APEX, rtype, "no RRSIG by a key that a DS given is of")
        elif seps and seps.isdisjoint(keys):
            report.add("cds-signer", APEX, rtype, "no RRSIG by a SEP key")


class _CdsJudge:
    """Judges CDS and CDNSKEY, each and together (RFC 7344 §4, RFC 8078 §4)."""

    def __init__(
        self,
        report: Report,
        view: ZoneView,
        ring: KeyRing,
        signing: list[ZoneKey],
        expectation: Expectation,
    ) -> None:
        self._report = report
        self._signing = signing
        self._cds, self._cdnskey = rdatas_at(view, rrtypes.CDS), rdatas_at(view, rrtypes.CDNSKEY)
        published = [key.rdata for key in ring.published if not key.is_revoked]
        self._known = [*published, *expectation.standby_keys]

    def run(self) -> None:
        """Judge both RRsets."""
        if not (self._cds or self._cdnskey):
            return
        deletes = [self._deletes(rrtypes.CDS, self._cds, _DELETE_CDS)]
        deletes.append(self._deletes(rrtypes.CDNSKEY, self._cdnskey, _DELETE_CDNSKEY))
        if not any(deletes):
            self._continuity()
            self._cdnskey_continuity()
        if self._cds and self._cdnskey:
            self._together(deletes)
        else:
            have, lack = ("CDS", "CDNSKEY") if self._cds else ("CDNSKEY", "CDS")
            rtype = rrtypes.CDS if self._cds else rrtypes.CDNSKEY
            self._report.add("cds-alone", APEX, rtype, f"{have} without {lack}: publish both")

    def _deletes(self, rtype: int, rdatas: list[bytes], form: bytes) -> bool:
        """Judge the RRs with algorithm 0; return whether there are any."""
        zero = [rdata for rdata in rdatas if len(rdata) > 3 and not rdata[_ALGORITHM_AT[rtype]]]
        if any(rdata != form for rdata in zero):
            text = "0 0 0 00" if rtype == rrtypes.CDS else "0 3 0 AA=="
            self._report.add("cds-delete-form", APEX, rtype, f"algorithm 0, but not exactly {text}")
        if zero and len(rdatas) > 1:
            self._report.add("cds-delete-mixed", APEX, rtype, "the delete form must stand alone")
        return bool(zero)

    def _continuity(self) -> None:
        """Judge the DS RRset that the parent would make of CDS."""
        if not self._cds:
            return
        gaps = ds_gaps(self._cds, self._report.origin, self._signing)
        strangers = [ds for ds in self._cds if self._is_strange(ds)]
        for ds in strangers:
            detail = f"CDS with tag {ds[0] << 8 | ds[1]} is of no DNSKEY of the zone"
            self._report.add("cds-mismatch", APEX, rrtypes.CDS, detail, None if gaps else Rank.ADVICE)
        if gaps is None and not strangers:
            detail = "no CDS has an algorithm and a digest type known here: the zone would become insecure"
            self._report.add("cds-continuity", APEX, rrtypes.CDS, detail, Rank.VIOLATION)
        elif gaps and not strangers:
            pairs = ", ".join(f"algorithm {algorithm} digest type {kind}" for algorithm, kind in gaps)
            detail = f"of {pairs}, no CDS is of a key that signs the DNSKEY RRset and is not revoked"
            self._report.add("cds-continuity", APEX, rrtypes.CDS, detail)

    def _is_strange(self, ds: bytes) -> bool:
        return all(ds_matches(ds, self._report.origin, key) is False for key in self._known)

    def _cdnskey_continuity(self) -> None:
        if not self._cdnskey:
            return
        signing = {key.rdata for key in self._signing}
        leading = {rdata[3] for rdata in self._cdnskey if rdata in signing}
        gaps = {rdata[3] for rdata in self._cdnskey if len(rdata) > 3} - leading
        strangers = [rdata for rdata in self._cdnskey if rdata not in self._known]
        for rdata in strangers:
            detail = f"{ZoneKey(rdata).text} is not in the DNSKEY RRset"
            rank = None if gaps else Rank.ADVICE
            self._report.add("cdnskey-mismatch", APEX, rrtypes.CDNSKEY, detail, rank)
        if gaps and not strangers:
            numbers = ", ".join(map(str, sorted(gaps)))
            detail = (
                f"of algorithm {numbers}, no CDNSKEY is a key that signs the DNSKEY RRset and is not revoked"
            )
            self._report.add("cds-continuity", APEX, rrtypes.CDNSKEY, detail)

    def _together(self, deletes: list[bool]) -> None:
        if any(deletes):
            if not all(deletes):
                one, other = ("CDS", "CDNSKEY") if deletes[0] else ("CDNSKEY", "CDS")
                detail = f"{one} asks the parent to delete the DS RRset, {other} does not"
                self._report.add("cds-cdnskey-differ", APEX, rrtypes.CDS, detail)
            return
        origin = self._report.origin
        for ds in self._cds:
            if all(ds_matches(ds, origin, key) is False for key in self._cdnskey):
                detail = f"CDS with tag {int.from_bytes(ds[:2], 'big')} is of no CDNSKEY"
                self._report.add("cds-cdnskey-differ", APEX, rrtypes.CDS, detail)
        for key in self._cdnskey:
            if all(ds_matches(ds, origin, key) is False for ds in self._cds):
                detail = f"no CDS is of CDNSKEY {ZoneKey(key).text}"
                self._report.add("cds-cdnskey-differ", APEX, rrtypes.CDNSKEY, detail)


_ALGORITHM_AT = {rrtypes.CDS: 2, rrtypes.CDNSKEY: 3}
