"""`dnssecd audit`: requirements of a profile, whether each is met, and what to change."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import Annotated, get_args

import typer

from dnssecd.cli.common import BAD, USAGE, Bad, Cli, OptionalZone, command, optional_zone
from dnssecd.cli.output import printable, say
from dnssecd.control import messages

WIDTH = 80
_VERDICTS = ("met", "not met", "not known")


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""
    command(app, "audit")(_audit)


def _audit(
    cli: Cli,
    zone: OptionalZone = None,
    profile: Annotated[
        str,
        typer.Option(metavar="NAME", help="The set of requirements: keys, sp800-81r3, rfc9276 or tld."),
    ] = "keys",
) -> None:
    """Check requirements on keys and zones. Exit status: 0 all met, 1 some not met or not known."""
    request = messages.audits.RunAudit(profile=_check_profile(profile), zone=optional_zone(zone))
    report = cli.ask(request)
    cli.show(report, lambda: _render(report))
    if not report.ok:
        raise typer.Exit(BAD)


def _check_profile(text: str) -> messages.audits.Profile:
    """Return the profile that an option names; Bad otherwise."""
    known: tuple[messages.audits.Profile, ...] = get_args(messages.audits.Profile)
    for profile in known:
        if text == profile:
            return profile
    raise Bad(f'"{text}" is not a profile', f"give one of: {', '.join(known)}", USAGE)


def _render(report: messages.audits.AuditReport) -> None:
    counts: Counter[str] = Counter(row.verdict for row in report.requirements)
    for row in report.requirements:
        say(f"{row.verdict.upper():9}  {row.id}")
        _say_part("", row.text)
        _say_part("source: ", row.source)
        _say_part("seen:   ", row.seen)
        if row.verdict != "met":
            _say_part("change: ", row.change)
        say()
    zones = "1 zone" if len(report.zones) == 1 else f"{len(report.zones)} zones"
    numbers = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _VERDICTS)
    say(f"profile {report.profile}, {zones}: {numbers}")


def _say_part(label: str, text: str) -> None:
    """Print a part of a requirement, folded at word ends."""
    first = " " * 11 + label
    for line in textwrap.wrap(
        printable(text),  # before it is folded: escapes are longer
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_on_hyphens=False,
    ):
        say(line)
