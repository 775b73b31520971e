"""`dnssecd migrate config`: a configuration file made of another signer's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dnssecd.bounded_file import TooLarge, read_at_most
from dnssecd.cli.common import BAD, USAGE, Bad, Cli
from dnssecd.cli.output import say, say_wrapped
from dnssecd.cli.private_file import PrivateFile

if TYPE_CHECKING:
    from dnssecd.migration.fleet.model import Fleet

SIGNERS = ("knot", "bind", "opendnssec", "powerdns")
_SHOWN_MAX = 200


def migrate_config(
    cli: Cli,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="knot.conf; named.conf; OpenDNSSEC's conf.xml or its directory; for PowerDNS the database of its "
            "gsqlite3 backend (it is only read), or files with the output of `pdnsutil show-zone` for each zone and of "
            "`pdnsutil list-tsig-keys`.",
        ),
    ],
    signer: Annotated[
        str, typer.Option("--from", metavar="SIGNER", help="knot, bind, opendnssec or powerdns.")
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE", help="File to write, mode 0600; it must not exist."),
    ],
    old: Annotated[
        str,
        typer.Option("--old", metavar="ADDRESS", help="Address of the signer; it becomes [primary.old]."),
    ] = "",
    old_tsig: Annotated[
        str, typer.Option("--old-tsig", metavar="NAME", help="TSIG key for transfers from it.")
    ] = "",
) -> None:
    """Write a configuration from another signer's: zones, TSIG keys, access, policies. Changes nothing else.

    What has no counterpart is listed with file and line. The file has TSIG secrets. Exit status 1: it has to be
    corrected before `dnssecd check-config` accepts it.
    """
    from dnssecd.migration.fleet.model import BadConfig
    from dnssecd.migration.fleet.render import render

    if signer not in SIGNERS:
        raise Bad(f"{signer!r} is not a signer that can be read", f"give one of {', '.join(SIGNERS)}", USAGE)
    if signer != "powerdns" and len(paths) != 1:
        raise Bad("several files are given", "give one: it includes the others", USAGE)
    if output.exists():
        raise Bad(f"{output} exists", "choose another file: nothing is overwritten")
    try:
        fleet = _read_fleet(signer, paths)
    except BadConfig as error:
        raise Bad(str(error), "correct this, or take the part out of a copy; nothing was written") from None
    if not fleet.zones:
        raise Bad(f"no signed zone is in {paths[0]}", "is this the right file?")
    text = render(fleet, f"{signer}, {paths[0]}", old, old_tsig)
    with PrivateFile(str(output)) as file:
        file.write(text)
    result = _result(fleet, output, _faults(text, output))
    cli.show(result, lambda: _render(result))
    if not result["ok"]:
        raise typer.Exit(BAD)


def _read_fleet(signer: str, paths: list[Path]) -> Fleet:
    places = [Path(os.path.abspath(path)) for path in paths]
    if signer == "knot":
        from dnssecd.migration.fleet import knot

        return knot.read_config(places[0], _read)
    if signer == "bind":
        from dnssecd.migration.fleet import bind

        return bind.read_config(places[0], _read)
    if signer == "opendnssec":
        from dnssecd.migration.fleet import opendnssec

        return opendnssec.read_config(places[0], _read)
    return _read_powerdns(places)


def _read_powerdns(places: list[Path]) -> Fleet:
    from dnssecd.migration.fleet import powerdns
    from dnssecd.migration.fleet.model import BadConfig
    from dnssecd.store import powerdns as database
    from dnssecd.store.errors import StoreError

    try:
        databases = {place: database.read(place) for place in places if database.is_database(place)}
    except (StoreError, OSError) as error:
        raise BadConfig(str(error)) from None
    return powerdns.read_config(places, _read, databases)


def _read(path: Path) -> str:
    """Return the text of a file. Raise BadConfig."""
    from dnssecd.migration.fleet.model import FILE_OCTETS_MAX, BadConfig

    try:
        content = read_at_most(path, FILE_OCTETS_MAX)
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}") from None
    except TooLarge:
        raise BadConfig(f"{path} is larger than {FILE_OCTETS_MAX >> 20} MiB") from None
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadConfig(f"{path}:{line}: not UTF-8") from None


def _faults(text: str, output: Path) -> tuple[list[str], list[str]]:
    """Return the errors and warnings that ``check-config`` would show."""
    from dnssecd.config import ConfigErrors, parse

    try:
        return [], [str(warning) for warning in parse(text, output).warnings]
    except ConfigErrors as error:
        return [str(one) for one in error.errors], []


def _result(fleet: Fleet, output: Path, faults: tuple[list[str], list[str]]) -> dict[str, Any]:
    errors, warnings = faults
    return {
        "ok": not errors,
        "file": str(output),
        "zones": len(fleet.zones),
        "policies": len(fleet.policies),
        "tsig": len(fleet.keys),
        "secondaries": len(fleet.secondaries),
        "primaries": len(fleet.primaries),
        "notes": [{"where": note.where, "what": note.what} for note in fleet.notes],
        "errors": errors,
        "warnings": warnings,
    }


def _render(result: dict[str, Any]) -> None:
    counts = (
        (result["zones"], "zone", "zones"),
        (result["policies"], "policy", "policies"),
        (result["tsig"], "TSIG key", "TSIG keys"),
        (result["secondaries"], "secondary", "secondaries"),
        (result["primaries"], "primary", "primaries"),
    )
    texts = [f"{number} {one if number == 1 else many}" for number, one, many in counts if number]
    say(f"{result['file']}: {', '.join(texts)}")
    for head, lines in (
        (
            "no counterpart, or to be looked at",
            [f"{note['where']}: {note['what']}" for note in result["notes"]],
        ),
        ("warnings", result["warnings"]),
        ("errors: correct these", result["errors"]),
    ):
        if lines:
            say(f"{head} ({len(lines)}):")
        for line in lines[:_SHOWN_MAX]:
            say_wrapped(f"  {line}")
        if len(lines) > _SHOWN_MAX:
            say(f"  and {len(lines) - _SHOWN_MAX} more: --json lists all")
    if result["ok"]:
        say_wrapped(
            "read the file, then: dnssecd check-config --config FILE; keys and adoption: docs/migration.md"
        )
