"""`dnssecd explain`."""

from __future__ import annotations

from typing import Any

import typer

from dnssecd.cli.common import Cli, ZoneArgument, command, zone_name
from dnssecd.cli.output import pairs, when


def register(app: typer.Typer) -> None:
    @command(app, "explain")
    def explain(cli: Cli, zone: ZoneArgument) -> None:
        """Why a zone is as it is: what is awaited, from whom, and the next look."""
        result = cli.call("explain", {"zone": zone_name(zone)})
        cli.show(result, lambda: _render(result))


def _render(result: dict[str, Any]) -> None:
    print(result["text"])
    for wait in result.get("waiting", []):
        print(
            f"\n{wait['step']}: held by {wait['gate']}" + (f" ({wait['rule']})" if wait.get("rule") else "")
        )
        for missing in wait.get("missing", []):
            print(f"  {missing['from']}: seen {missing['seen'] or 'nothing'}, wanted {missing['wanted']}")
        pairs([("  next look", when(wait.get("next_look")))])
