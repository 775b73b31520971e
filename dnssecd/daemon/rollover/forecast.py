"""Forecasts: the future steps of keys, and the signing load of the key stores."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from dnssecd.core.keys.evidence import Evidence, ParentSight
from dnssecd.core.keys.keyset import Keyset, signing_view
from dnssecd.core.keys.simulate import (
    BRING_DNSKEY,
    CONFIRM_BACKUP,
    EVENT_NAMES,
    HOLD_CEREMONY,
    Assumptions,
    Outage,
    SimEvent,
    Simulation,
    Span,
    Unwanted,
    simulate,
)
from dnssecd.core.keys.summary import Hands, list_acts
from dnssecd.core.keys.timeline_svg import Flag, render_svg
from dnssecd.core.keys.types import RolloverPolicy, SubmitDs
from dnssecd.core.utc import minute
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.draft import PROMPT_RECORDS_MAX
from dnssecd.replacing import replace

DAY_S = 86_400
#: A parent that follows a request within this time is assumed.
DS_DELAY_S = DAY_S
#: A rollover is looked at so far ahead.
AHEAD_DAYS = 120
LAG_S = 60
#: The part of the time ahead that a picture shows of the past.
PAST_SHARE = 6
OUTAGES = ("secondaries", "parent", "signer")
_ASSUMED = (
    (CONFIRM_BACKUP, "each key waits for a confirmed backup; here it is confirmed immediately"),
    (BRING_DNSKEY, "new keys wait for the other signers; here their servers have them a day later"),
    (
        HOLD_CEREMONY,
        "a step needs RRsets that no ceremony has signed yet; here one is held immediately, and later ones in time",
    ),
)


def assumptions(
    zone: FrontZone,
    evidence: Evidence,
    policy: RolloverPolicy,
    ds_delay: int | None,
    outages: tuple[Outage, ...] = (),
) -> Assumptions:
    """Return the assumptions for a zone as it is now: its TTLs, its pace of re-signing, what is known of its keys."""
    prompt = (zone.records or 0) <= PROMPT_RECORDS_MAX
    several = bool(evidence.signer_ns)
    return Assumptions(
        secondary_lag=min(LAG_S, policy.propagation_delay),
        ds_delay=ds_delay,
        resign=0 if prompt else max(0, zone.spec.validity_s - zone.refresh_s),
        ttl_dnskey=max(evidence.ttl_dnskey, policy.dnskey_ttl),
        ttl_zone=evidence.ttl_zone,
        ttl_negative=evidence.ttl_negative,
        ttl_ds=max(policy.parent_ds_ttl, max((sight.ttl for sight in evidence.parents), default=0)),
        outages=outages,
        ds=_ds_seen(evidence.parents),
        spares=evidence.spares,
        backups=evidence.backups,
        ahead=evidence.ahead,
        signers=evidence.signers,
        signer_ns=evidence.signer_ns,
        ns=evidence.ns if several else (),
        parent_ns=_delegation_seen(evidence.parents) if several else None,
    )


def ahead_of_people(policy: RolloverPolicy) -> tuple[RolloverPolicy, list[str]]:
    """Return the policy with every approval given immediately, and a note about that."""
    kinds = sorted(policy.manual - {"denial"})
    if not kinds:
        return policy, []
    note = f"rollovers of kind {', '.join(kinds)} wait for dnssecd key approve; here they are approved immediately"
    return replace(policy, manual=policy.manual & {"denial"}), [note]


def _ds_seen(parents: Iterable[ParentSight]) -> tuple[bytes, ...] | None:
    """Return the DS RRset that all parent servers serve; None if they differ, or none has answered yet."""
    answers = {tuple(sorted(sight.ds)) for sight in parents if sight.ds is not None}
    return answers.pop() if len(answers) == 1 else None


def _delegation_seen(parents: Iterable[ParentSight]) -> tuple[tuple[str, ...], int] | None:
    """Return all names that a parent server has in the delegation, and the largest TTL; None if one is not known."""
    seen = [(sight.ns, sight.ns_ttl) for sight in parents]
    if not seen or any(names is None for names, _ in seen):
        return None
    return tuple(sorted({name for names, _ in seen for name in names or ()})), max(ttl for _, ttl in seen)


def notes_on(ahead: Simulation, keyset: Keyset) -> list[str]:
    """Return what a forecast assumes of people and of other signers, and where it ends because something is unknown."""
    events = {event.event for event in ahead.events}
    notes = [text for what, text in _ASSUMED if what in events]
    signers = sorted({key.signer for key in keyset.keys if key.foreign})
    if signers:
        notes.append(f"rollovers of the other signers ({', '.join(signers)}) are not known here")
    notes += [
        f"since {minute(wait.at)}: {wait.detail}; when this ends is not known, so steps after it are missing here"
        for wait in ahead.waits
    ]
    return notes


def parse_outage(text: str, start: int, seconds: Mapping[str, int]) -> Outage:
    """Return the outage ``WHAT:FROM:FOR`` (``seconds`` parses its durations); raise ValueError."""
    what, _, span = text.partition(":")
    begin, _, length = span.partition(":")
    if what not in OUTAGES or begin not in seconds or length not in seconds:
        raise ValueError(
            f'"{text}" is not an outage: write WHAT:FROM:FOR, with WHAT one of {", ".join(OUTAGES)}'
        )
    return Outage(what, start + seconds[begin], start + seconds[begin] + seconds[length])


def picture(
    zone: str,
    spans: Sequence[Span],
    events: Iterable[SimEvent],
    now: int,
    stop: int,
    hands: Hands,
    back: int | None = None,
) -> str:
    """Return the keys' states over time as SVG, with a flag where a person acts.

    It begins a part of the time ahead before now, or ``back`` seconds, but not long before the first state.
    """
    back = (stop - now) // PAST_SHARE if back is None else back
    first = min((span.start for span in spans), default=now)
    start = max(now - back, min(first, now) - (stop - now) // 40)
    flags = [Flag(act.at, act.text) for act in list_acts(events, hands)]
    island = hands is Hands.ANCHORS
    return render_svg(spans, start, stop, f"Keys of {zone}", now=now, flags=flags, island=island)


def ds_ready_at(ahead: Simulation) -> dict[int, int]:
    """Return when the DS of each key may first be handed over (epoch s), by key tag."""
    ready: dict[int, int] = {}
    for event in ahead.events:
        if event.event == EVENT_NAMES[SubmitDs.__name__] and not event.stand_in:
            ready.setdefault(event.key_tag, event.at)
    return ready


def compare(
    keyset: Keyset,
    old: RolloverPolicy,
    new: RolloverPolicy,
    assume: Assumptions,
    start: int,
    stop: int,
    wanted: Callable[[], bool] = lambda: True,
) -> Simulation:
    """Return the forecast under the new policy, with the steps that happen only under it; wanted: as in simulate."""
    before = simulate(keyset, old, assume, start, stop, wanted)
    usual, waits = Counter(map(_kind, before.events)), {wait.detail for wait in before.waits}
    after = simulate(keyset, new, assume, start, stop, wanted)
    ahead = []
    for event in after.events:
        if usual[_kind(event)] > 0:
            usual[_kind(event)] -= 1
        else:
            ahead.append(event)
    return replace(
        after,
        events=tuple(ahead),
        waits=tuple(wait for wait in after.waits if wait.detail not in waits),
    )


def _kind(event: SimEvent) -> tuple[int, str, int, str]:
    return event.at, event.role, event.key_tag, event.event


class Load(Struct, frozen=True):
    """One key store's work: RRSIGs by day (epoch s of its start); first expiration of any of its zones' RRSIGs."""

    keystore: str
    days: tuple[tuple[int, int], ...]
    earliest_expiration: int | None


def zone_load(zone: FrontZone, start: int, days: int) -> Counter[int]:
    """Return how many RRSIGs of a zone are due on each day, with those of their successors. Run it in a thread."""
    spec = zone.spec
    cycle = max(DAY_S, spec.validity_s - zone.refresh_s - spec.jitter_s // 2)
    due: Counter[int] = Counter()
    with zone.database.snapshot() as snapshot:
        keyset = state.keyset_from(snapshot.state(state.KEYSET))
        expirations = snapshot.expirations(DAY_S)
    each = max(1, len(signing_view(keyset).zone_keys)) if keyset is not None else 1
    for begin, number in expirations:
        when = max(begin - zone.refresh_s, start)
        while when < start + days * DAY_S:
            due[when // DAY_S * DAY_S] += number * each
            when += cycle
    return due


def loads(
    zones: Iterable[FrontZone], start: int, days: int, wanted: Callable[[], bool] = lambda: True
) -> list[Load]:
    """Return the forecast of every key store.

    Run it in a thread: it walks over an index of each zone. wanted: as in simulate.
    """
    due: dict[str, Counter[int]] = {}
    first: dict[str, list[int]] = {}
    for zone in zones:
        if not wanted():
            raise Unwanted
        store = zone.spec.data_keystore
        due.setdefault(store, Counter()).update(zone_load(zone, start, days))
        if zone.earliest_expiration is not None:
            first.setdefault(store, []).append(zone.earliest_expiration)
    first_day = start // DAY_S * DAY_S
    return [
        Load(
            store,
            tuple((day, due[store][day]) for day in range(first_day, first_day + days * DAY_S, DAY_S)),
            min(first.get(store, []), default=None),
        )
        for store in sorted(due)
    ]
