"""All commands as one typer application."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from dnssecd.cli.common import Defaults
from dnssecd.cli.help_text import EXAMPLES, apply
from dnssecd.cli.output import say

#: Modules with a `register(app)`, and the commands that it adds; in the order of the help.
MODULES = {
    "init": ("init",),
    "run": ("run",),
    "signer": ("signer",),
    "check_config": ("check-config",),
    "oneshot": ("sign", "verify"),
    "status": ("status", "check"),
    "explain": ("explain",),
    "rollover": ("schedule", "plan", "simulate", "clock"),
    "zone": ("zone",),
    "key": ("key",),
    "keystore": ("keystore",),
    "migrate": ("migrate",),
    "ds": ("ds",),
    "anchors": ("anchors",),
    "ceremony": ("ksr", "skr"),
    "audit": ("audit",),
    "alerts": ("alerts",),
    "cluster": ("cluster", "node"),
    "config": ("config",),
    "backup": ("backup",),
    "restore": ("restore",),
}


def build(first: str | None = None) -> typer.Typer:
    """Return the application with all commands.

    first: the first word of a command line. If it is a command, only its module is imported: that takes half the time.
    """
    app = typer.Typer(
        name="dnssecd",
        help="Hidden-primary DNSSEC signing daemon.",
        epilog=EXAMPLES,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in [name for name, commands in MODULES.items() if first in commands] or MODULES:
        importlib.import_module(f"dnssecd.cli.{name}").register(app)
    apply(app)
    return app


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"dnssecd {version('dnssecd')}")
        raise typer.Exit


def _root(
    context: typer.Context,
    config: Annotated[
        str | None, typer.Option(metavar="FILE", help="Configuration file, before or after the command.")
    ] = None,
    socket: Annotated[str | None, typer.Option(metavar="PATH", help="Control socket.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", "-V", is_eager=True, callback=_version, help="Print the version and exit."),
    ] = False,
) -> None:
    context.obj = Defaults(config, socket, json)
