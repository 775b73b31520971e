"""A test message by every way, each judged for itself: `dnssecd alerts test`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dnssecd.clock import Clock
from dnssecd.ops.alerts import payload, words
from dnssecd.ops.alerts.channels import Parcel, Sent, Undelivered, WayName, reason
from dnssecd.ops.alerts.note import Sender, Written
from dnssecd.ops.alerts.outbox import Office
from dnssecd.ops.alerts.text import footer


@dataclass(frozen=True, slots=True)
class Result:
    """way: "mail", "webhook", "command". to: recipients. detail: why not, or how long it took."""

    way: WayName
    target: str
    to: tuple[str, ...]
    ok: bool
    detail: str
    seconds: float


Told = Callable[[Result], Awaitable[None]]


async def try_ways(office: Office, clock: Clock, by: str, told: Told) -> list[Result]:
    """Send one test message by every way, and to those escalated to, past the queue. *told* of each result."""
    at = clock.now()
    trials = []
    for way, parcel in _parcels(office, at, by):
        trials.append(asyncio.ensure_future(_try(office, way, parcel, clock)))
    try:
        for trial in asyncio.as_completed(trials):
            await told(await trial)
        return [await trial for trial in trials]
    finally:
        for trial in trials:
            trial.cancel()


def _parcels(office: Office, at: float, by: str) -> list[tuple[WayName, Parcel]]:
    written = _text(office.sender, by, at)
    found: list[tuple[WayName, Parcel]] = []
    mail = office.config.mail
    for way in office.ways:
        id = office.message_id(at, "test", way)
        if way != "mail" or mail is None:
            body = payload.encode("test", id, office.sender, at, written.subject)
            found.append((way, Parcel(id, body)))
            continue
        for recipients in (mail.to, mail.escalate_to):
            if recipients:
                id = office.message_id(at, "test", *recipients)
                made = office.mail("test", written, at, id, recipients)
                found.append((way, Parcel(id, made.body, recipients)))
    return found


def _text(sender: Sender, by: str, at: float) -> Written:
    host = words.one_line(sender.host)
    lines = [
        *words.wrap(
            f"This is a test: {words.one_line(by)} asked dnssecd on {host} for it, {words.moment(at)}."
        ),
        "",
        "Alerts from there reach you. Nothing is to be done.",
        *footer(sender),
    ]
    return Written(words.one_line(f"[dnssecd] test from {sender.host}"), "\n".join(lines) + "\n")


async def _try(office: Office, way: WayName, parcel: Parcel, clock: Clock) -> Result:
    began = clock.monotonic()
    ok, detail = True, ""
    try:
        detail = _refusals(await office.ways[way].send(parcel))
        ok = not detail
    except Undelivered as error:
        ok, detail = False, reason(error)
    seconds = round(clock.monotonic() - began, 3)
    return Result(way, office.ways[way].target, parcel.recipients, ok, detail, seconds)


def _refusals(sent: Sent) -> str:
    return "; ".join(f"{address}: {why}" for address, why in {**sent.deferred, **sent.rejected}.items())
