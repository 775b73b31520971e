"""Completion of names that only the daemon or the configuration file knows: zones, key tags, secondaries.

Completion runs at a keystroke: it waits for the daemon for a short time, then reads the configuration file instead.
It never prints an error, because the shell would show it in the middle of the line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import typer

#: Longest time without data from the daemon.
DAEMON_S = 1.5
#: Names that are offered; a shell asks before it lists more.
OFFERED_MAX = 500


def complete_zone(context: typer.Context, incomplete: str) -> list[str]:
    """Return the zones that begin with *incomplete*: those of the daemon, otherwise of the configuration file."""
    from dnssecd.control import messages

    answer = _ask(context, messages.zones.ListZones())
    names = [row.zone for row in answer.zones] if answer is not None else _tables(context, "zone")
    return _matching(names, incomplete.lower())


def complete_key_tag(context: typer.Context, incomplete: str) -> list[str]:
    """Return the key tags of the zone on the command line that begin with *incomplete*."""
    from dnssecd.control import messages
    from dnssecd.core.dns.names import full_name

    # While the value of an option is missing, arguments before it are not assigned to parameters.
    zone = context.params.get("zone") or next(iter(context.args), None)
    if not isinstance(zone, str):
        return []
    answer = _ask(context, messages.keys.ListKeys(zone=full_name(zone)))
    return _matching((str(key.tag) for key in answer.keys), incomplete) if answer is not None else []


def complete_secondary(context: typer.Context, incomplete: str) -> list[str]:
    """Return the secondaries in the configuration file that begin with *incomplete*."""
    return _matching(_tables(context, "secondary"), incomplete)


def _matching(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})[:OFFERED_MAX]


def _ask(context: typer.Context, request: Any) -> Any:
    """Return the daemon's answer, None when it does not answer in time or refuses."""
    from dnssecd.cli.common import is_config_errors
    from dnssecd.control import client

    try:
        return client.ask(_cli(context).socket, request, silence_s=DAEMON_S)
    except (client.Unreachable, client.Failed):
        return None
    except Exception as error:
        if not is_config_errors(error):
            raise
        return None


def _tables(context: typer.Context, kind: str) -> list[str]:
    """Return the names of the tables ``[kind.NAME]`` in the configuration file; none when it cannot be read."""
    from dnssecd.config.errors import ConfigErrors
    from dnssecd.config.load import read_table

    try:
        _, root = read_table(_cli(context).config_path)
    except ConfigErrors:
        return []
    tables = root.get(kind)
    return list(tables) if isinstance(tables, dict) else []


def _cli(context: typer.Context) -> Any:
    """Return what the options on the command line so far say about the daemon."""
    from dnssecd.cli.common import Cli

    given: dict[str, Any] = {}
    place: Any = context
    while place is not None:
        for name in ("config", "socket"):
            given[name] = given.get(name) or place.params.get(name)
        place = place.parent
    return Cli(given["config"], given["socket"], False)
