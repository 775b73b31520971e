"""Data for pages: zones that are well, zones that are not, and names and texts of strangers."""

from __future__ import annotations

from typing import Any

from dnssecd.control.messages.alerts import Alert
from dnssecd.control.messages.keys import KeyRow
from dnssecd.control.messages.status import Delivery, KeyServiceState, Status, Verdict
from dnssecd.control.messages.zones import HistoryEntry, PersonTask, ServerSeen, ZoneDetails, ZoneStatus
from dnssecd.core.keys.keystate import Rec, Role, State
from dnssecd.core.keys.simulate import Span
from dnssecd.core.keys.timeline_svg import Flag, render_svg
from dnssecd.page.digest import Digest
from dnssecd.page.model import (
    Coming,
    Freeze,
    KeyTimes,
    ParentServer,
    StoreState,
    Survey,
    TokenState,
    Unavailable,
    ZoneView,
)

NOW = 1_796_000_000.0
DAY = 86_400
#: What a stranger could put where a page shows it: markup, ends of attributes, template code, line ends, controls.
HOSTILE = "<script>alert(1)</script>\"'onmouseover=x {{ 7777*3 }} &amp; \r\nSet-Cookie: a=b\x1b[31m\x00\u202e"


def alert(
    name: str = "input-error", zone: str | None = "a.test.", severity: str = "error", **more: Any
) -> Alert:
    fields: dict[str, Any] = {
        "subject": None,
        "cause": "line 3: unknown type",
        "effect": "the last good version is served",
        "remedy": "correct the file",
        "firing": True,
        "first_seen": NOW - 600,
        "last_seen": NOW,
        "count": 1,
        "acked_by": None,
    }
    return Alert(name=name, zone=zone, severity=severity, **{**fields, **more})


def zone(name: str = "a.test.", **more: Any) -> ZoneStatus:
    fields: dict[str, Any] = {
        "serial": 7,
        "input_serial": 3,
        "runway_seconds": 10 * DAY,
        "secondaries": [
            ServerSeen(name="ns1", serial=7, seen_at=NOW - 30, detail=""),
            ServerSeen(name="ns2", serial=6, seen_at=NOW - 30, detail=""),
            ServerSeen(name="ns3", serial=None, seen_at=None, detail="not queried yet"),
        ],
        "primaries": [],
        "blockers": [],
        "alerts": [],
        "state": "served",
        "policy": "default",
        "source": "file",
        "records": 30,
        "input_error": None,
        "warnings": [],
        "frozen": False,
        "security": "secure",
        "security_detail": "the parent has its DS",
        "next_step": "All caches have the DNSKEY of KSK 4711.",
        "refresh_seconds": 8 * DAY,
    }
    return ZoneStatus(zone=name, **{**fields, **more})


def survey(zones: list[ZoneStatus], **more: Any) -> Survey:
    status = Status(
        zones=zones,
        alerts=[alert("disk-low", None, "warning")],
        version="0.2.0",
        pid=1,
        started_at=NOW - DAY,
        signer=KeyServiceState(mode="service", state="ok"),
        clock_suspect=False,
        clock="",
        delivery=[
            Delivery(
                way="mail",
                target="mx",
                working=True,
                waiting=0,
                oldest=None,
                last_delivered=NOW - 60,
                error=None,
            )
        ],
        verdict=Verdict(
            level="warning",
            text="WARNING: dnssecd itself has 1 alert",
            zones=len(zones),
            zones_served=len(zones),
            runway_seconds=DAY,
            runway_zone=zones[0].zone if zones else None,
        ),
    )
    fields: dict[str, Any] = {
        "stores": [
            StoreState(
                name="hsm", kind="pkcs11", state="available", tokens=[TokenState(name="hsm.a", state="down")]
            )
        ],
        "coming": [
            Coming(at=int(NOW) + DAY, zone=one.zone, what="hand over the DS", act=True, key="act 1")
            for one in zones[:20]
        ],
        "looked_ahead": len(zones),
        "freezes": [Freeze(policy="default", start=int(NOW) + 5 * DAY, stop=int(NOW) + 9 * DAY)],
    }
    return Survey(taken_at=NOW, status=status, **{"host": "host", **fields, **more})


def view(name: str = "a.test.", text: str = "text", **more: Any) -> ZoneView:
    """A zone's page with *text* wherever a text from outside can be."""
    status = zone(
        name,
        alerts=[alert(zone=name, cause=text, remedy=text, subject=text)],
        warnings=[text],
        security_detail=text,
        policy=text,
        secondaries=[ServerSeen(name=text, serial=None, seen_at=None, detail=text)],
        waits_for_person=[PersonTask(what=text, command=text)],
    )
    details = ZoneDetails(
        **{field: getattr(status, field) for field in status.__struct_fields__},
        denial="nsec3",
        signatures=3,
        file=text,
        last_published=NOW - 60,
        earliest_expiration=NOW + DAY,
        next_wake=None,
        keys=[
            KeyRow(
                zone=name,
                role="ksk",
                algorithm=13,
                tag=4711,
                public_key="257 3 13 AAAA",
                goal="present",
                state="active",
                keystore=text,
                label=text,
                dnskey="omnipresent",
                zrrsig=None,
                krrsig="rumoured",
                ds="hidden",
            )
        ],
        stripped=0,
    )
    span = Span("k", Role.KSK, text[:40] or "KSK 4711", Rec.DNSKEY, State.OMNIPRESENT, int(NOW) - DAY, None)
    svg = render_svg([span], int(NOW) - DAY, int(NOW) + DAY, text, now=int(NOW), flags=[Flag(int(NOW), text)])
    entry = HistoryEntry(at=NOW, who=text, what=text, serial=7, detail=text)
    parents = [
        ParentServer(name=text, seen_at=NOW, ds=["4711 13 2 AB"]),
        ParentServer(name="b", seen_at=None, ds=None),
    ]
    return ZoneView(
        taken_at=NOW,
        host="host",
        version="0.2.0",
        zone=details,
        lines=[text],
        parents=more.pop("parents", parents),
        handover=[text],
        history=[entry],
        coming=[Coming(at=int(NOW) + DAY, zone=name, what=text, act=True, key="k")],
        times=KeyTimes(start=int(NOW), stop=int(NOW) + DAY, svg=svg, notes=[text], summary=text),
        **more,
    )


class Samples:
    """A source of these data. answer: what a zone's page is, by its name."""

    def __init__(self, made: Survey, views: dict[str, ZoneView] | None = None) -> None:
        self.made, self.views = made, views or {}
        self.why = ""

    def digest(self) -> Digest:
        if self.why:
            raise Unavailable(self.why)
        return Digest(self.made)

    def zone(self, name: str, days: int) -> ZoneView | None:
        return self.views.get(name)
