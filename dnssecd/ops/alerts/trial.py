"""Send a test message on every channel, with a result for each: ``dnssecd alerts test``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct

from dnssecd.clock import Clock
from dnssecd.core.utc import minute
from dnssecd.ops.alerts import payload, words
from dnssecd.ops.alerts.channels import ChannelName, Parcel, Sent, Undelivered, reason
from dnssecd.ops.alerts.note import Sender, Written
from dnssecd.ops.alerts.outbox import Outbox
from dnssecd.ops.alerts.text import footer


class Result(Struct, frozen=True):
    """The result of one channel. way: "mail", "webhook", "command". to: recipients. detail: reason of a failure."""

    way: ChannelName
    target: str
    to: tuple[str, ...]
    ok: bool
    detail: str
    seconds: float


Told = Callable[[Result], Awaitable[None]]


async def try_channels(outbox: Outbox, clock: Clock, by: str, told: Told) -> list[Result]:
    """Send one test message on every channel, also to the escalation recipients, without the queue.

    told: called with each result.
    """
    at = clock.now()
    trials = []
    for way, parcel in _parcels(outbox, at, by):
        trials.append(asyncio.ensure_future(_try(outbox, way, parcel, clock)))
    try:
        for trial in asyncio.as_completed(trials):
            await told(await trial)
        return [await trial for trial in trials]
    finally:
        for trial in trials:
            trial.cancel()


def _parcels(outbox: Outbox, at: float, by: str) -> list[tuple[ChannelName, Parcel]]:
    written = _text(outbox.sender, by, at)
    found: list[tuple[ChannelName, Parcel]] = []
    mail = outbox.config.mail
    for way in outbox.channels:
        id = outbox.message_id(at, "test", way)
        if way != "mail" or mail is None:
            body = payload.encode("test", id, outbox.sender, at, written.subject)
            found.append((way, Parcel(id, body)))
            continue
        for recipients in (mail.to, mail.escalate_to):
            if recipients:
                id = outbox.message_id(at, "test", *recipients)
                made = outbox.mail("test", written, at, id, recipients)
                found.append((way, Parcel(id, made.body, recipients)))
    return found


def _text(sender: Sender, by: str, at: float) -> Written:
    host = words.one_line(sender.host)
    lines = [
        *words.wrap(
            f"This is a test message of dnssecd on {host}, requested by {words.one_line(by)} at {minute(at)}."
        ),
        "",
        "Alerts from this host reach you. No action needed.",
        *footer(sender),
    ]
    return Written(words.one_line(f"[dnssecd] test from {sender.host}"), "\n".join(lines) + "\n")


async def _try(outbox: Outbox, way: ChannelName, parcel: Parcel, clock: Clock) -> Result:
    began = clock.monotonic()
    ok, detail = True, ""
    try:
        detail = _refusals(await outbox.channels[way].send(parcel))
        ok = not detail
    except Undelivered as error:
        ok, detail = False, reason(error)
    seconds = round(clock.monotonic() - began, 3)
    return Result(way, outbox.channels[way].target, parcel.recipients, ok, detail, seconds)


def _refusals(sent: Sent) -> str:
    return "; ".join(f"{address}: {why}" for address, why in {**sent.deferred, **sent.rejected}.items())
