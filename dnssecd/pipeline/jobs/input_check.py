"""Check an input by its ZONEMD (RFC 8976), and its signatures by a configured trust anchor.

Both are computed over the input as it came, with the DNSSEC records that are then left out. So it is read a second
time, and only if there is something to check.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from dnssecd.core.dns.rrtypes import ZONEMD
from dnssecd.core.verify import Expectation, Rank, SignatureChecker, Violation, verify_zone, verify_zonemd
from dnssecd.ingest.collect import gather
from dnssecd.ingest.errors import FileChanged, ZoneFileError, ZoneFileErrors
from dnssecd.ingest.xfrin import Inbound, TransferLimits, Whole
from dnssecd.ingest.xfrin_wire import TransferError
from dnssecd.ingest.zonefile import ParsedZone, parse_zone_file, take_rrsigs
from dnssecd.pipeline.adoption.served_zone import ForeignZone
from dnssecd.pipeline.jobs.input import TransferJob
from dnssecd.pipeline.jobs.outcome import Problem
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.spool import spooled
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.server.update_rdata import RdataReader

FOUND_MAX = 100
#: A ZONEMD that cannot be checked is not known to be wrong: RFC 8976 §4 has the verifier treat it as absent.
_UNKNOWN = "zonemd-missing"
REMEDY = "correct the input, or how it gets here; the previous version is still served"


def checks_input(spec: ZoneSpec, stripped: Mapping[int, int]) -> bool:
    """Tell whether an input, with these DNSSEC records by type, has anything that is checked or must be there."""
    if spec.input_anchor or spec.verify_only or spec.input_zonemd == "require":
        return True
    return spec.input_zonemd == "check" and ZONEMD in stripped


def check_input(
    spec: ZoneSpec,
    stripped: Mapping[int, int],
    read: Callable[[], ForeignZone],
    now: int,
    checker: SignatureChecker,
    blamed: str,
) -> list[Problem]:
    """Return warnings about an input; raise Rejected if it does not verify.

    stripped: the DNSSEC records that were left out, by type. read: reads the input again, with them. blamed: what the
    input is, for messages.
    """
    if not checks_input(spec, stripped):
        return []
    warnings: list[Problem] = []
    if spec.input_zonemd == "require" and ZONEMD not in stripped:
        cause = f"{blamed} has no ZONEMD at its apex, and input_zonemd is require"
        raise Rejected("input-error", cause, "have it published there (RFC 8976); " + REMEDY)
    zone = read()
    if spec.input_zonemd != "ignore" and ZONEMD in stripped:
        warnings += _judge_digest(spec, verify_zonemd(zone, FOUND_MAX), blamed)
    if spec.input_anchor:
        _judge_signatures(spec, zone, now, checker, blamed)
    return warnings


def _judge_digest(spec: ZoneSpec, found: list[Violation], blamed: str) -> list[Problem]:
    if not found:
        return []
    cause = f"the ZONEMD of {blamed} does not verify: {found[0].detail}"
    if spec.input_zonemd == "check" and all(one.code == _UNKNOWN for one in found):
        return [Problem("input-warning", f"the ZONEMD of {blamed} cannot be checked: {found[0].detail}")]
    raise Rejected("input-error", cause, REMEDY)


def _judge_signatures(
    spec: ZoneSpec, zone: ForeignZone, now: int, checker: SignatureChecker, blamed: str
) -> None:
    if not zone.dnskeys:
        raise Rejected("input-error", f"{blamed} is not signed, and input_anchor is configured", REMEDY)
    expectation = Expectation(spec.origin, now, ds=spec.input_anchor, zonemd=False, checkable=True)
    found = [one for one in verify_zone(zone, expectation, FOUND_MAX, checker) if one.rank is Rank.BOGUS]
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        cause = f"the signatures of {blamed} do not lead to input_anchor: {found[0]}{more}"
        raise Rejected("input-error", cause, REMEDY, [str(one) for one in found])


def read_file_again(path: Path, origin: bytes, parsed: ParsedZone, *, as_given: bool = False) -> ForeignZone:
    """Return a zone file with its DNSSEC records; raise FileChanged if it is not the same as before.

    as_given: see :class:`ForeignZone`.
    """
    try:
        again = parse_zone_file(path, origin, strip=False, require_newline=False)
    except ZoneFileErrors as error:
        raise Rejected("input-error", str(error), REMEDY) from None
    if again.digest.sha256 != parsed.digest.sha256:
        raise FileChanged(
            [ZoneFileError(str(path), 0, "it was written while it was read", "it is read again")]
        )
    return ForeignZone(origin, again.rrsets, again.rrsigs, as_given=as_given)


def read_transfer_again(
    job: TransferJob, origin: bytes, limits: TransferLimits, *, as_given: bool = False
) -> ForeignZone:
    """Return a transferred zone with its DNSSEC records. as_given: see :class:`ForeignZone`."""
    inbound = Inbound(origin, job.base, RdataReader, limits, keep=True)
    try:
        for wire in spooled(Path(job.path)):
            inbound.feed(wire)
        received = inbound.finish()
    except TransferError as error:
        raise Rejected("input-error", f"primary {job.primary}: {error}", REMEDY) from None
    assert isinstance(received, Whole), "differences are not checked: the whole zone is fetched"
    rows = [*received.rows, received.soa]
    rrsigs = take_rrsigs(rows)
    return ForeignZone(origin, gather(rows).rrsets, rrsigs, as_given=as_given)
