"""The check of zone content for every input: file, AXFR, IXFR, import, restore, another signer's zone."""

from collections.abc import Callable, Collection, Mapping, Sequence

from dnssecd.core.dns.names import key_to_text
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.zone import zonecheck
from dnssecd.core.zone.changecheck import NameServers, check_changes
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.findings import Finding, Findings
from dnssecd.core.zone.zoneview import ZoneView
from dnssecd.ingest.words import type_text
from dnssecd.pipeline.jobs.outcome import Problem
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version.rejected import Rejected

#: The most warnings of one version.
PROBLEMS_MAX = 20

#: The most warnings of one kind.
KIND_MAX = 5

#: Gives "FILE:LINE" of records by owner key and type, if known.
Locate = Callable[[Collection[tuple[bytes, int]]], Mapping[tuple[bytes, int], str]]


def _unlocated(_: Collection[tuple[bytes, int]]) -> Mapping[tuple[bytes, int], str]:
    return {}


_GLUE = "add an A or AAAA record, or write allow_missing_glue = true for the zone"


def judge_content(
    rrsets: Sequence[RRset],
    spec: ZoneSpec,
    where: str,
    remedy: str,
    *,
    missing_glue: bool | None = None,
    locate: Locate = _unlocated,
) -> list[Problem]:
    """Check the whole content, ordered by (owner, type); return the warnings.

    Raises Rejected (``input-error``) if no correct zone can be made of it: ``where`` begins the cause and
    ``remedy`` says what to do. missing_glue: whether a name server may lack its address; None: as configured.
    locate: finds the lines of records with errors.
    """
    allowed = spec.allow_missing_glue if missing_glue is None else missing_glue
    findings = zonecheck.check(rrsets, spec.origin, allow_missing_glue=allowed)
    return _judged(findings, spec, where, remedy, locate)


def judge_difference(
    view: ZoneView,
    changes: Sequence[Change],
    spec: ZoneSpec,
    where: str,
    remedy: str,
    name_servers: NameServers | None = None,
) -> list[Problem]:
    """Check the effect of ``changes`` on ``view``, the content with them; otherwise as :func:`judge_content`."""
    findings = check_changes(
        view, changes, allow_missing_glue=spec.allow_missing_glue, name_servers=name_servers
    )
    return _judged(findings, spec, where, remedy)


def _judged(
    findings: Findings, spec: ZoneSpec, where: str, remedy: str, locate: Locate = _unlocated
) -> list[Problem]:
    if findings.errors:
        found = locate([(finding.owner, finding.rtype) for finding in findings.errors])
        lines = [
            f"{found.get((finding.owner, finding.rtype), where)}: {finding_text(finding, spec.origin)}"
            for finding in findings.errors
        ]
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        if findings.errors[0].code == "missing-glue":
            remedy = f"{remedy}: {_GLUE}"
        raise Rejected("input-error", f"{lines[0]}{more}", remedy, lines)
    return warnings_of(findings, spec.origin)


def warnings_of(findings: Findings, origin: bytes) -> list[Problem]:
    """Return the warnings of a job: a few of each kind; the last one has the number of those left out."""
    kinds: dict[str, list[str]] = {}
    for finding in findings.warnings:
        kinds.setdefault(finding.code, []).append(finding_text(finding, origin))
    problems = []
    for code, texts in kinds.items():
        if (more := findings.counts[code] - KIND_MAX) > 0:
            texts[KIND_MAX - 1] += f" (and {more} more like it)"
        problems += [Problem("input-warning", text) for text in texts[:KIND_MAX]]
    return problems


def finding_text(finding: Finding, origin: bytes) -> str:
    """Return the text of one finding: name, type, fault."""
    return f"{key_to_text(finding.owner, origin)} {type_text(finding.rtype)}: {finding.detail}"
