"""A forecast in one sentence: about when it is done, and when a person has to act. Pure."""

from collections.abc import Collection, Iterable
from enum import Enum

from msgspec import Struct

from dnssecd.core.keys.simulate import (
    BRING_DNSKEY,
    CONFIRM_BACKUP,
    EVENT_NAMES,
    HOLD_CEREMONY,
    SimEvent,
)
from dnssecd.core.keys.types import RemoveKey, SubmitDs, WithdrawDs
from dnssecd.core.utc import minute
from dnssecd.replacing import replace

_SUBMIT, _WITHDRAW = EVENT_NAMES[SubmitDs.__name__], EVENT_NAMES[WithdrawDs.__name__]
#: The private key is destroyed later; nothing waits for that.
_REMOVE = EVENT_NAMES[RemoveKey.__name__]
#: Changes of DS within this time are one request to the parent, and keys that come within it are one backup.
ONE_ACT_S = 3600
#: What people do beside changes of DS.
OTHER_ACTS = {
    CONFIRM_BACKUP: "confirm a backup",
    BRING_DNSKEY: "bring the other signers the new DNSKEY",
    HOLD_CEREMONY: "hold a ceremony",
}


class Hands(Enum):
    """Who changes the DS at the parent."""

    PERSON = "hand over the DS"
    PERSON_OR_CDS = "hand over the DS, unless the parent follows CDS"
    AUTOMATIC = ""
    ANCHORS = "give validators the new trust anchor"


class Act(Struct, frozen=True):
    """When a person has to do what (`at` epoch s); `keys`: the changes that are one request."""

    at: int
    what: str
    keys: tuple[SimEvent, ...]

    @property
    def text(self) -> str:
        """What is to be done, with the keys: "hand over the DS: add that of KSK 4711"."""
        if self.keys[0].event in OTHER_ACTS:
            names = ", ".join(_key_name(key) for key in self.keys if key.role)
            return f"{self.what}: {names}" if names else self.what
        parts = [
            f"{'add' if key.event == _SUBMIT else 'remove'} that of {_key_name(key)}" for key in self.keys
        ]
        return f"{self.what}: {', '.join(parts)}"


def _key_name(event: SimEvent) -> str:
    name = f"new-{event.stand_in}" if event.stand_in else event.key_tag
    return f"{event.role.upper()} {name}"


def summarize(
    events: Iterable[SimEvent],
    hands: Hands,
    old_tags: Collection[int] = (),
) -> str:
    """Return the sentence; "" without events.

    old_tags: it is done when these keys have left, and later events belong to later rollovers; none: it is done
    with the last event.
    """
    every = [event for event in events if event.event != _REMOVE]
    ends = [event.at for event in every if event.key_tag in old_tags and not event.stand_in] or [
        event.at for event in every
    ]
    if not ends:
        return ""
    done = max(ends)
    acts = list_acts((event for event in every if event.at <= done), hands)
    return f"Done about {minute(done)}; {_acts(acts)}."


def list_acts(events: Iterable[SimEvent], hands: Hands) -> list[Act]:
    """Return when a person has to act, earliest first; what is asked for at nearly the same time is one request."""
    words = dict(OTHER_ACTS)
    if hands is not Hands.AUTOMATIC:
        words |= {_SUBMIT: hands.value, _WITHDRAW: hands.value}
    acts: list[Act] = []
    last: dict[str, int] = {}  # what -> the place of the last such act
    for event in sorted((event for event in events if event.event in words), key=lambda event: event.at):
        what = words[event.event]
        place = last.get(what)
        if place is not None and event.at <= acts[place].at + ONE_ACT_S:
            acts[place] = replace(acts[place], keys=(*acts[place].keys, event))
        else:
            last[what] = len(acts)
            acts.append(Act(event.at, what, (event,)))
    return acts


def _acts(acts: list[Act]) -> str:
    if not acts:
        return "you do not have to act"
    often = "once, on" if len(acts) == 1 else f"{len(acts)} times, first on"
    return f"you act {often} {minute(acts[0].at)}: {acts[0].what}"
