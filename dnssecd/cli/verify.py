"""``dnssecd verify``: check any signed zone file independently, and list every finding with its rank."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from dnssecd.cli.output import printable, say
from dnssecd.cli.progress import shown
from dnssecd.cli.signedfile import SignedFile, read_signed_file
from dnssecd.clock import SystemClock
from dnssecd.core.dns.key_records import BadRecord, ds_of
from dnssecd.core.dns.names import BadName, text_to_wire
from dnssecd.core.verify import Expectation, Rank, Violation, verify_zone, violation
from dnssecd.ingest.errors import ZoneFileErrors
from dnssecd.ingest.gc_pause import collection_paused
from dnssecd.pipeline.workers.checker_pool import spread_checker

#: Maximum number of violations listed: after that the check stops.
VIOLATIONS_MAX = 1_000_000

#: Exit code by the worst rank found.
EXIT = {None: 0, Rank.ADVICE: 0, Rank.VIOLATION: 4, Rank.BOGUS: 1}
_WORST_FIRST = (Rank.BOGUS, Rank.VIOLATION, Rank.ADVICE)
_NOUNS = {
    Rank.BOGUS: ("bogus finding", "bogus findings"),
    Rank.VIOLATION: ("violation", "violations"),
    Rank.ADVICE: ("piece of advice", "pieces of advice"),
}


class UsageError(Exception):
    """An argument is wrong: exit code 2."""


def parse_time(text: str) -> int:
    """Return the epoch seconds of a time written as epoch seconds or YYYYMMDDHHMMSS (UTC). Raise UsageError."""
    if not (text.isascii() and text.isdigit() and len(text) <= 14):
        raise UsageError(f"--time {text}: write epoch seconds or YYYYMMDDHHMMSS")
    if len(text) == 8 and text[:2] in ("19", "20", "21"):
        raise UsageError(f"--time {text} has eight digits: write YYYYMMDDHHMMSS, as in {text}000000")
    if len(text) != 14:
        return int(text)
    try:
        moment = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise UsageError(f"--time {text}: no such date") from None
    return int(moment.timestamp())


def parse_ds(text: str) -> bytes:
    """Return DS RDATA from presentation form, with or without owner, TTL, class and type. Raise UsageError."""
    try:
        return ds_of(text)
    except BadRecord:
        wanted = 'write "TAG ALGORITHM DIGEST-TYPE DIGEST", as in a DS record'
        raise UsageError(f'--ds "{text}": {wanted}') from None


def judge(signed: SignedFile, expectation: Expectation, quiet: bool) -> list[Violation]:
    """Return all findings of a zone read from a file; progress is shown unless ``quiet``."""
    with collection_paused(), shown(quiet) as told, spread_checker(told) as checker:
        found = verify_zone(signed.view, expectation, VIOLATIONS_MAX, checker)
    return [*signed.findings, *found]


def _violations(
    file: Path, origin: bytes, now: int, zonemd: bool, ds: Sequence[bytes], quiet: bool
) -> list[Violation]:
    try:
        signed = read_signed_file(file, origin)
    except ZoneFileErrors as failed:
        faults = [violation("zone-file", ".", "-", str(error)) for error in failed.errors]
        return (
            [*faults, violation("zone-file", ".", "-", "reading stopped here: the file may have more faults")]
            if failed.more
            else faults
        )
    expectation = Expectation(
        origin, now, ds=tuple(ds), zonemd=True if zonemd else None, mixed_ttls=signed.mixed_ttls
    )
    return judge(signed, expectation, quiet)


def run(
    file: Path,
    origin: str,
    time: str | None,
    zonemd: bool,
    ds: Sequence[str],
    as_json: bool,
    write: Callable[[str], None],
) -> int:
    """Verify and write the result. Return the exit code.

    0: verified, perhaps with advice; 1: bogus to some validator; 2: wrong arguments; 4: violations of RFCs only.
    """
    try:
        now = int(SystemClock().now()) if time is None else parse_time(time)
        zone = text_to_wire(origin)
        found = _violations(file, zone, now, zonemd, [parse_ds(text) for text in ds], as_json)
    except (UsageError, BadName) as error:
        say(f"dnssecd verify: {printable(str(error))}", err=True)
        return 2
    worst = next((rank for rank in _WORST_FIRST if any(one.rank is rank for one in found)), None)
    if as_json:
        write(
            json.dumps({"ok": not EXIT[worst], "rank": worst, "violations": [one._asdict() for one in found]})
        )
    else:
        for one in found:
            write(printable(f"{one.rank}: {one}"))
        write(printable(_summary(file, origin, Counter(one.rank for one in found))))
    return EXIT[worst]


def _summary(file: Path, origin: str, counts: Counter[Rank]) -> str:
    parts = [f"{counts[rank]} {_NOUNS[rank][counts[rank] != 1]}" for rank in _WORST_FIRST if counts[rank]]
    if counts[Rank.BOGUS] or counts[Rank.VIOLATION]:
        return f"{file}: zone {origin} has {', '.join(parts)}"
    return f"{file}: zone {origin} verified" + (f", with {parts[0]}" if parts else "")
