"""`dnssecd check-config`: works without a daemon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import typer

from dnssecd.cli.common import BAD, Cli, command, error_dict
from dnssecd.cli.output import say_wrapped

if TYPE_CHECKING:
    from dnssecd.config.model import Policy


def register(app: typer.Typer) -> None:
    """Add the commands of this module to *app*."""

    @command(app, "check-config")
    def check_config(cli: Cli) -> None:
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
        result = {"ok": True, "errors": [], "warnings": warnings, "presets": presets}
        cli.show(result, lambda: _print_lines(lines))


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
