"""`dnssecd check-config`: works without a daemon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dnssecd.cli.common import BAD, Bad, Cli, ZoneArgument, command, error_dict
from dnssecd.cli.output import say_wrapped
from dnssecd.core.dns.names import full_name

if TYPE_CHECKING:
    from dnssecd.cli.check_zones import ZoneCheck
    from dnssecd.config.model import Config, Policy


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""

    @command(app, "check-config")
    def check_config(
        cli: Cli,
        zones: Annotated[
            bool,
            typer.Option("--zones", help="Also read the file of each zone, and judge it as the daemon does."),
        ] = False,
    ) -> None:
        """Check the configuration. Exit status: 0 correct, 1 with every error."""
        from dnssecd.config import ConfigErrors, load
        from dnssecd.config.groups import check_groups

        try:
            config = load(cli.config_path)
            check_groups(config)
        except ConfigErrors as faults:
            errors = faults.errors
            result = {"ok": False, "errors": [error_dict(one) for one in errors], "warnings": []}
            cli.show(result, lambda: _print_errors(str(cli.config_path), list(map(str, errors))))
            raise typer.Exit(BAD) from None
        warnings = [error_dict(one) for one in config.warnings]
        summary = (
            f"{cli.config_path} is correct: {_count(len(config.zones), 'zone')}, "
            f"{_count(len(config.policies), 'policy', 'policies')}, {_count(len(config.keystores), 'key store')}"
        )
        presets = {
            name: {"preset": policy.preset, "set": list(policy.from_preset)}
            for name, policy in config.policies.items()
            if policy.preset
        }
        lines = [*(f"warning: {one}" for one in config.warnings), *_list_presets(config.policies), summary]
        checked = list(_zone_files(config)) if zones else []
        ok = all(one.ok for one in checked)
        result = {"ok": ok, "errors": [], "warnings": warnings, "presets": presets}
        if zones:
            result["zones"] = [one.as_dict() for one in checked]
            lines += [line for one in checked for line in one.lines()]
            lines.append(_sum_up(checked))
        cli.show(result, lambda: _print_lines(lines))
        if not ok:
            raise typer.Exit(BAD)


def check_zone(
    cli: Cli,
    zone: ZoneArgument,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Zone file; default: the file of the zone.")
    ] = None,
) -> None:
    """Judge a zone file as the daemon does, without publishing it. Exit status: 0 accepted, 1 refused.

    It needs the configuration, but no daemon: the limits and checks of the zone and its policy count. What depends
    on the published version, as max_change (the delta guard), is not judged.
    """
    from dnssecd.cli.check_zones import check_zone_file
    from dnssecd.config import ConfigErrors, load

    try:
        config = load(cli.config_path)
    except ConfigErrors as faults:
        raise Bad(
            str(faults.errors[0]), "correct the configuration: dnssecd check-config lists all errors"
        ) from None
    name = full_name(zone)
    settings = config.zones.get(name)
    if settings is None:
        raise Bad(f"{name} is not in {cli.config_path}", "dnssecd zone list shows all zones")
    path = Path(settings.file) if file is None and settings.file is not None else file
    if path is None:
        raise Bad(f"{name} has no file: source = {settings.source}", f"dnssecd zone check {name} FILE")
    checked = check_zone_file(config, settings, path)
    good = f"{path} would be accepted for {name}: serial {checked.found.serial}"
    cli.show(checked.as_dict(), lambda: _print_lines([*checked.lines(), *([good] if checked.ok else [])]))
    if not checked.ok:
        raise typer.Exit(BAD)


def _zone_files(config: Config) -> Iterator[ZoneCheck]:
    from dnssecd.cli.check_zones import check_zone_files

    return check_zone_files(config)


def _sum_up(checked: list[ZoneCheck]) -> str:
    bad = sum(not one.ok for one in checked)
    if not checked:
        return "no zone has a file"
    if bad:
        return f"{bad} of {_count(len(checked), 'zone file')} would be refused"
    return f"{_count(len(checked), 'zone file')} would be accepted"


def _list_presets(policies: Mapping[str, Policy]) -> Iterator[str]:
    """Yield what the preset of each policy set."""
    for name, policy in policies.items():
        if policy.preset:
            yield f'policy {name}: preset "{policy.preset}" sets'
            yield from (
                f"  {setting}" for setting in policy.from_preset or ("no key: the file has them all",)
            )


def _print_errors(path: str, errors: list[str]) -> None:
    _print_lines(errors)
    say_wrapped(f"{path} cannot be used: {_count(len(errors), 'error')}")


def _print_lines(lines: list[str]) -> None:
    for line in "\n".join(lines).split("\n"):
        say_wrapped(line)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
