"""`dnssecd check-config`: works without a daemon."""

from __future__ import annotations

import typer

from dnssecd.cli.common import BAD, Cli, command, error_dict
from dnssecd.cli.output import say, say_lines


def register(app: typer.Typer) -> None:
    @command(app, "check-config")
    def check_config(cli: Cli) -> None:
        """Check the configuration: 0, or 1 with every error."""
        from dnssecd.config import ConfigErrors, load

        try:
            config = load(cli.config_path)
        except ConfigErrors as faults:
            errors = faults.errors
            result = {"ok": False, "errors": [error_dict(one) for one in errors], "warnings": []}
            cli.show(result, lambda: _print_errors(str(cli.config_path), list(map(str, errors))))
            raise typer.Exit(BAD) from None
        warnings = [error_dict(one) for one in config.warnings]
        summary = (
            f"{cli.config_path} is good: {_count(len(config.zones), 'zone')}, "
            f"{_count(len(config.policies), 'policy', 'policies')}, {_count(len(config.keystores), 'key store')}"
        )
        lines = [*(f"warning: {one}" for one in config.warnings), summary]
        cli.show({"ok": True, "errors": [], "warnings": warnings}, lambda: say_lines("\n".join(lines)))


def _print_errors(path: str, errors: list[str]) -> None:
    for error in errors:
        say(error)
    say(f"{path} cannot be used: {_count(len(errors), 'error')}")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
