"""Judge a zone file as the daemon judges it before it signs, without a daemon and without its state."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from dnssecd.core.verify import Rank, SignatureChecker, inline_checker, verify_zone
from dnssecd.ingest.errors import ZoneFileErrors
from dnssecd.ingest.gc_pause import collection_paused
from dnssecd.pipeline.jobs.input_check import REMEDY, check_input, read_file_again
from dnssecd.pipeline.jobs.job import Report
from dnssecd.pipeline.jobs.load import checked_content, parse_input, whole_input
from dnssecd.pipeline.jobs.outcome import Problem
from dnssecd.pipeline.jobs.pass_through import FOUND_MAX, given_expectation
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.jobs.timing import check_timing
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.store.memory import MemoryTransaction


class CheckedFile(Struct, frozen=True):
    """What a zone file is worth. refused: why the daemon would refuse it, None if it would not. serial: of its SOA."""

    serial: int | None
    refused: Rejected | None
    warnings: tuple[Problem, ...] = ()


def check_file(
    spec: ZoneSpec, path: Path, now: int, checker: SignatureChecker = inline_checker
) -> CheckedFile:
    """Judge a zone file by the settings of its zone at the time *now* (epoch seconds).

    What needs stored versions is not judged: the delta guard, and RRsets that belong to dynamic updates.
    """
    report = Report()
    try:
        with collection_paused():
            _judge(spec, path, now, checker, report)
    except Rejected as error:
        return CheckedFile(report.input_serial, error, tuple(report.warnings))
    except ZoneFileErrors as error:
        refused = Rejected("input-error", str(error), "check it again when nothing writes it")
        return CheckedFile(report.input_serial, refused, tuple(report.warnings))
    return CheckedFile(report.input_serial, None, tuple(report.warnings))


def _judge(spec: ZoneSpec, path: Path, now: int, checker: SignatureChecker, report: Report) -> None:
    parsed = parse_input(path, spec, report, finished=True)
    if spec.verify_only:
        zone = read_file_again(path, spec.origin, parsed, as_given=True)
        checked_content(parsed, spec, report)
        found = verify_zone(zone, given_expectation(spec, now), FOUND_MAX, checker)
        bogus = [str(one) for one in found if one.rank is Rank.BOGUS]
        if bogus:
            raise Rejected("input-error", f"{path}: validators would refuse it: {bogus[0]}", REMEDY, bogus)
        return
    read = lambda: read_file_again(path, spec.origin, parsed)  # noqa: E731
    report.warn(check_input(spec, parsed.stripped, read, now, checker, str(path)))
    rrsets = checked_content(parsed, spec, report)
    check_timing(spec, whole_input(MemoryTransaction(spec.origin), rrsets), report)
