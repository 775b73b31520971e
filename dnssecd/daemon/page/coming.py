"""The coming steps of a zone's keys in plain words, for pages and calendars.  Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from dnssecd.core.keys.simulate import SimEvent
from dnssecd.core.keys.summary import OTHER_ACTS, Hands, list_acts
from dnssecd.page.model import Coming

#: Steps, by the names that ``simulate`` gives them. What becomes true by itself is no step.
WORDS = {
    "generate": "is made",
    "use spare key": "joins the zone's keys",
    "publish dnskey": "its DNSKEY is published",
    "withdraw dnskey": "its DNSKEY is withdrawn",
    "sign dnskey set": "begins to sign the DNSKEY RRset",
    "stop signing dnskey set": "stops signing the DNSKEY RRset",
    "sign zone": "begins to sign the zone",
    "retire signatures": "its signatures are replaced",
    "submit ds": "its DS goes to the parent",
    "withdraw ds": "its DS leaves the parent",
    "revoke": "is revoked",
    "remove": "is removed: no validator needs it",
}
#: The step that begins a rollover.
BEGINS = ("generate", "use spare key")
#: The steps that highlights are made of.
HIGHLIGHTS = frozenset((*BEGINS, "submit ds", "withdraw ds", *OTHER_ACTS))


def list_steps(zone: str, events: Iterable[SimEvent], hands: Hands) -> list[Coming]:
    """Return every coming step of a zone, with what a person does."""
    every = list(events)
    steps = [
        _coming(zone, event, f"{name_of(event)}: {WORDS[event.event]}")
        for event in every
        if event.event in WORDS
    ]
    return sorted([*_list_acts(zone, every, hands), *steps], key=lambda entry: (entry.at, not entry.act))


def list_highlights(zone: str, events: Iterable[SimEvent], hands: Hands) -> list[Coming]:
    """Return what a person does, and where rollovers begin."""
    every = list(events)
    begins = [
        _coming(zone, event, f"rollover: a new {event.role.upper()}")
        for event in every
        if event.event in BEGINS
    ]
    return sorted([*_list_acts(zone, every, hands), *begins], key=lambda entry: entry.at)


def name_of(event: SimEvent) -> str:
    """Return the name of an event's key: "KSK 4711", or "KSK new-1" for one to be made."""
    return f"{event.role.upper()} {f'new-{event.stand_in}' if event.stand_in else event.key_tag}"


def _list_acts(zone: str, events: Iterable[SimEvent], hands: Hands) -> list[Coming]:
    return [
        Coming(
            at=act.at,
            zone=zone,
            what=act.text,
            act=True,
            key=sys.intern("act " + " ".join(f"{event.event} {name_of(event)}" for event in act.keys)),
        )
        for act in list_acts(events, hands)
    ]


def _coming(zone: str, event: SimEvent, what: str) -> Coming:
    """Return a step. Its texts are shared by all zones that have the same: there are very many of some."""
    key = sys.intern(f"{event.event} {name_of(event)}")
    return Coming(at=event.at, zone=zone, what=sys.intern(what), act=False, key=key)
