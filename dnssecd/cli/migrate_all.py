"""`dnssecd migrate check --all`, `migrate adopt --all`: all zones that are not published yet, a few at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import typer

from dnssecd.cli.common import BAD, Bad, Cli
from dnssecd.cli.output import progress, say, say_wrapped, table
from dnssecd.control import messages

if TYPE_CHECKING:
    from concurrent.futures import Future

AT_ONCE = 4
AT_ONCE_MAX = 32
LONG_S = 3700.0
_REASONS_SHOWN = 20

#: Asks for one zone. (Messages are loaded when a command runs.)
Ask = Callable[[str], Any]


def waiting_zones(cli: Cli) -> list[str]:
    """Return the configured zones that are not published yet."""
    zones = cli.ask(messages.zones.ListZones()).zones
    return sorted(zone.zone for zone in zones if zone.serial is None)


def carry_out(cli: Cli, ask: Ask, at_once: int, *, adopt: bool) -> None:
    """Ask for each zone, at most *at_once* at a time, and report; the exit status is 1 if one failed or differs."""
    zones = waiting_zones(cli)
    if not zones:
        raise Bad("no zone waits for its first publication", "dnssecd zone list shows all zones")
    rows = []
    with progress("adopting" if adopt else "comparing") as advance:
        for number, row in enumerate(_rows(zones, ask, at_once), start=1):
            rows.append(row)
            advance(number, len(zones), row["zone"])
    rows.sort(key=lambda row: (row["ok"], row["zone"]))
    result = {"ok": all(row["ok"] for row in rows), "zones": rows}
    cli.show(result, lambda: _render(result, adopt))
    if not result["ok"]:
        raise typer.Exit(BAD)


def _rows(zones: list[str], ask: Ask, at_once: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each zone as it is done. A zone that fails does not stop the others."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    pool = ThreadPoolExecutor(at_once)
    try:
        work = {pool.submit(ask, zone): zone for zone in zones}
        for done in as_completed(work):
            yield _row(work[done], done)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _row(zone: str, done: Future[Any]) -> dict[str, Any]:
    try:
        report = done.result()
    except Bad as bad:
        return {"zone": zone, "ok": False, "published": False, "what": bad.what, "remedy": bad.remedy}
    return {
        "zone": zone,
        "ok": report.ok or report.published,
        "published": report.published,
        "kept": report.kept,
        "fresh": report.fresh,
        "differing": report.differing,
        "held": list(report.held),
    }


def _render(result: dict[str, Any], adopt: bool) -> None:
    rows = result["zones"]
    table(
        ("zone", "result", "kept", "new", "differing"),
        [
            (row["zone"], _outcome(row), row.get("kept"), row.get("fresh"), row.get("differing"))
            for row in rows
        ],
        empty="no zones",
    )
    failed = [row for row in rows if "what" in row]
    for row in failed[:_REASONS_SHOWN]:
        say_wrapped(f"{row['zone']}: {row['what']}")
        if row["remedy"]:
            say_wrapped(f"  to do: {row['remedy']}")
    good = sum(row["ok"] for row in rows)
    say(f"{good} of {len(rows)} zones {'adopted' if adopt else 'can be adopted: only signatures differ'}")
    if good < len(rows):
        say(
            f"look at one of the others: dnssecd migrate check {next(r['zone'] for r in rows if not r['ok'])}"
        )


def _outcome(row: dict[str, Any]) -> str:
    if "what" in row:
        return "FAILED"
    if row["published"]:
        return "adopted"
    return "ok" if row["ok"] else "DIFFERS"


def locate(against: str, zone: str) -> tuple[str | None, str | None]:
    """Return the path of a file, or the server, that has the signed zone; ``{zone}`` stands for its name."""
    place = against.replace("{zone}", zone.removesuffix(".") or ".")
    return (os.path.abspath(place), None) if os.path.exists(place) else (None, place)
