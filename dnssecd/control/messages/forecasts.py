"""What comes: ``simulate``, ``schedule``, ``plan``."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import UNSET, Meta, UnsetType, field

from dnssecd.control.messages.base import Answer, KeyTag, Request, Seconds, Time, Zone
from dnssecd.control.messages.keys import AlgorithmNumber


class ComingEvent(Answer, frozen=True, kw_only=True):
    """A line of the calendar."""

    at: Time
    zone: Zone
    role: str
    key_tag: KeyTag
    event: str
    detail: str
    stand_in: Annotated[
        int | UnsetType,
        Meta(
            description="0 for a key that exists; n for the n-th future key of its role: its tag is invented"
        ),
    ] = UNSET


class Calendar(Answer, frozen=True, kw_only=True):
    """Every step ahead."""

    zone: Zone
    start: Time
    stop: Time
    notes: Annotated[list[str], Meta(description="what is assumed")]
    events: list[ComingEvent]
    summary: Annotated[str, Meta(description="about when it is done, and when a person has to act")] = ""
    svg: Annotated[str | UnsetType, Meta(description="the picture, if it was asked for")] = UNSET


class Simulate(Request[Calendar], frozen=True, kw_only=True):
    """Compute every step ahead from the zone, its policy and its TTLs."""

    command: ClassVar[str] = "simulate"

    zone: Zone
    days: Annotated[int, Meta(description="how far to look ahead, 1 to 3,650")]
    ds_delay: Annotated[
        Seconds | None, Meta(description="seconds until the parent changes the DS; null: one day")
    ] = None
    ds_never: Annotated[bool, Meta(description="the parent never changes the DS")] = False
    outages: Annotated[
        list[str], Meta(description="WHAT:FROM:FOR, WHAT is secondaries, parent or signer")
    ] = field(default_factory=list)
    svg: Annotated[bool, Meta(description="draw a picture, too")] = False


class StageSizes(Answer, frozen=True, kw_only=True):
    """Octets of answers and transfers in one stage; answers with signatures."""

    dnskey: Annotated[int, Meta(description="the answer to a query for DNSKEY")]
    soa: Annotated[int, Meta(description="for SOA")]
    address: Annotated[int, Meta(description="for an address")]
    nxdomain: Annotated[int, Meta(description="for a name that does not exist")]
    update: Annotated[int, Meta(description="an IXFR with one address more")]
    transfer: Annotated[int, Meta(description="an AXFR, without name compression")]
    signatures: Annotated[int, Meta(description="how many there are")]
    store: Annotated[int, Meta(description="the zone's database, without its journal's growth")]


class AlgorithmSizes(Answer, frozen=True, kw_only=True):
    """What another algorithm would do to the size of a zone."""

    zone: Zone
    algorithm: AlgorithmNumber
    experimental: bool
    now: StageSizes
    during: Annotated[StageSizes, Meta(description="while both algorithms sign the zone")]
    after: StageSizes
    udp_max: Annotated[int, Meta(description="larger answers need TCP")]


class SimulateAlgorithm(Request[AlgorithmSizes], frozen=True, kw_only=True):
    """Compute the sizes of a zone's answers, transfers and store with another algorithm. Nothing is changed."""

    command: ClassVar[str] = "simulate.algorithm"

    zone: Zone
    algorithm: AlgorithmNumber


class Wake(Answer, frozen=True, kw_only=True):
    """When the daemon does something next."""

    at: Time
    what: str
    subject: str


class DayLoad(Answer, frozen=True, kw_only=True):
    """What is to be signed on one day."""

    day: Annotated[Time, Meta(description="start of the day")]
    signatures: int


class StoreLoad(Answer, frozen=True, kw_only=True):
    """What a key store will have to sign."""

    keystore: str
    days: list[DayLoad]
    earliest_expiration: Annotated[Time | None, Meta(description="when the first RRSIG expires")]
    runway_seconds: Seconds | None


class Schedule(Answer, frozen=True, kw_only=True):
    """What the daemon does next."""

    wakes: list[Wake]
    load: list[StoreLoad] | None


class ShowSchedule(Request[Schedule], frozen=True, kw_only=True):
    """Show what the daemon does next."""

    command: ClassVar[str] = "schedule"

    load: Annotated[bool, Meta(description="what the key stores will have to sign, too")] = False


class ZonePlan(Answer, frozen=True, kw_only=True):
    """What a changed configuration does to a zone."""

    zone: Zone
    notes: list[str]
    events: list[ComingEvent]
    days: Annotated[int, Meta(description="how far it looks ahead")]
    summary: Annotated[str, Meta(description="about when it is done, and when a person has to act")] = ""


class Plan(Answer, frozen=True, kw_only=True):
    """What a changed configuration does."""

    zones: list[ZonePlan]
    added: list[Zone]
    removed: list[Zone]


class ShowPlan(Request[Plan], frozen=True, kw_only=True):
    """Compute what the configuration file, as it is now, would do to keys and signatures."""

    command: ClassVar[str] = "plan"
