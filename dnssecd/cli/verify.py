"""``dnssecd verify``: an independent check of any signed zone file, every violation listed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from dnssecd.cli.progress import shown
from dnssecd.cli.signedfile import SignedFile, read_signed_file
from dnssecd.clock import SystemClock
from dnssecd.core.names import BadName, text_to_wire
from dnssecd.core.verify import Expectation, Violation, verify_zone
from dnssecd.ingest.errors import ZoneFileErrors
from dnssecd.pipeline.checkers import spread_checker
from dnssecd.pipeline.garbage import collection_paused

#: A zone with more violations than this is told to be hopeless rather than listed in full.
VIOLATIONS_MAX = 1_000_000


class UsageError(Exception):
    """An argument is wrong: exit code 2."""


def parse_time(text: str) -> int:
    """Return epoch seconds of epoch seconds or YYYYMMDDHHMMSS (UTC); UsageError."""
    if not (text.isascii() and text.isdigit() and len(text) <= 14):
        raise UsageError(f"--time {text}: write epoch seconds or YYYYMMDDHHMMSS")
    if len(text) != 14:
        return int(text)
    try:
        moment = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise UsageError(f"--time {text}: no such date") from None
    return int(moment.timestamp())


def parse_ds(text: str) -> bytes:
    """Return DS RDATA of its presentation form, with or without owner, TTL, class and type; UsageError."""
    fields = text.replace("(", " ").replace(")", " ").split()
    upper = [field.upper() for field in fields]
    if "DS" in upper:
        fields = fields[upper.index("DS") + 1 :]
    try:
        tag, algorithm, digest_type = (int(field) for field in fields[:3])
        digest = bytes.fromhex("".join(fields[3:]))
        rdata = tag.to_bytes(2, "big") + bytes((algorithm, digest_type)) + digest
    except (ValueError, OverflowError):
        digest = b""
    if not digest:
        raise UsageError(f'--ds "{text}": write "TAG ALGORITHM DIGEST-TYPE DIGEST", as in a DS record')
    return rdata


def judge(signed: SignedFile, expectation: Expectation, quiet: bool) -> list[Violation]:
    """Return all violations of a zone read from a file; progress is shown unless ``quiet``."""
    with collection_paused(), shown(quiet) as told, spread_checker(told) as checker:
        found = verify_zone(signed.view, expectation, VIOLATIONS_MAX, checker)
    return [*signed.findings, *found]


def _violations(
    file: Path, origin: bytes, now: int, zonemd: bool, ds: Sequence[bytes], quiet: bool
) -> list[Violation]:
    try:
        signed = read_signed_file(file, origin)
    except ZoneFileErrors as failed:
        faults = [Violation("zone-file", ".", "-", str(error)) for error in failed.errors]
        return [*faults, Violation("zone-file", ".", "-", "reading stopped here")] if failed.more else faults
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
    """Verify and write the result; returns the exit code: 0 verified, 1 violations, 2 wrong arguments."""
    try:
        now = int(SystemClock().now()) if time is None else parse_time(time)
        zone = text_to_wire(origin)
        violations = _violations(file, zone, now, zonemd, [parse_ds(text) for text in ds], as_json)
    except (UsageError, BadName) as error:
        typer.echo(f"dnssecd verify: {error}", err=True)
        return 2
    if as_json:
        listed = [{"code": v.code, "owner": v.owner, "type": v.type, "detail": v.detail} for v in violations]
        write(json.dumps({"ok": not violations, "violations": listed}))
    else:
        for violation in violations:
            write(str(violation))
        write(_summary(file, origin, len(violations)))
    return 1 if violations else 0


def _summary(file: Path, origin: str, count: int) -> str:
    if not count:
        return f"{file}: zone {origin} verified"
    return f"{file}: zone {origin} has {count} violation{'s' if count > 1 else ''}"


def verify_command(
    file: Annotated[Path, typer.Argument(help="Signed zone file.", metavar="FILE", exists=True)],
    origin: Annotated[str, typer.Option(help="Name of the zone.", metavar="NAME")],
    time: Annotated[
        str | None, typer.Option(help="Judge as of this time: epoch seconds or YYYYMMDDHHMMSS.", metavar="T")
    ] = None,
    zonemd: Annotated[bool, typer.Option("--zonemd", help="Demand a ZONEMD record that verifies.")] = False,
    ds: Annotated[
        list[str] | None,
        typer.Option("--ds", help="DS at the parent; for each of their algorithms one must match.", metavar="DS"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON.")] = False,
) -> None:
    """Check a signed zone file, whoever signed it; every violation is listed."""
    raise typer.Exit(run(file, origin, time, zonemd, ds or [], as_json, typer.echo))


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m dnssecd.cli.verify``."""
    app = typer.Typer(add_completion=False)
    app.command()(verify_command)
    app(args=list(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    main()
