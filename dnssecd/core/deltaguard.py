"""The delta guard: stops an input that would change too much of a zone at once, until a person accepts it."""

from collections.abc import Iterable
from typing import NamedTuple

from dnssecd.core import rrtypes as t
from dnssecd.core.changeset import Change
from dnssecd.core.names import key_to_text
from dnssecd.core.zonecheck import doubled_suffix

#: Fewer names removed or changed never trip the guard, whatever share of the zone they are.
NAMES_MIN = 25

_EXAMPLES = 5


class Verdict(NamedTuple):
    """What the guard found; ``reasons`` is empty when the change may pass.

    ``touched``: owner names removed or changed (an SOA by itself does not count); ``names``: owner names before;
    ``doubled``: names added that end in ``zone.zone.``.
    """

    touched: int
    names: int
    doubled: int
    reasons: tuple[str, ...]

    @property
    def tripped(self) -> bool:
        """Whether the change must be accepted by a person."""
        return bool(self.reasons)


def judge(changes: Iterable[Change], names: int, max_change: float, origin: bytes) -> Verdict:
    """Judge the changes of the unsigned content.

    names: owner names of the version before; max_change: the largest share of them that may be removed or changed,
    0 to 1; origin: lower-cased wire name. A first load (names = 0) never trips.
    """
    prefix = doubled_suffix(origin)
    touched: set[bytes] = set()
    doubled: set[bytes] = set()
    for owner, rtype, old, new in changes:
        if rtype == t.SOA and not owner:
            continue
        if old is not None:
            touched.add(owner)
        elif new is not None and prefix and owner.startswith(prefix):
            doubled.add(owner)
    reasons = []
    if names and len(touched) >= NAMES_MIN and len(touched) > max_change * names:
        share = 100 * len(touched) / names
        reasons.append(
            f"{len(touched)} of {names} owner names ({share:.1f} %) would be removed or changed, "
            f"more than {100 * max_change:g} %"
        )
    if names and len(doubled) >= _doubled_min(prefix):
        some = ", ".join(key_to_text(owner, origin) for owner in sorted(doubled)[:_EXAMPLES])
        reasons.append(
            f"{len(doubled)} new name(s) repeat the zone's name, as when final dots are missing: {some}"
        )
    return Verdict(len(touched), names, len(doubled), tuple(reasons))


def _doubled_min(prefix: bytes) -> int:
    """A zone of one label may well hold a delegation of that label (com.com.); with two it is nearly never meant."""
    return NAMES_MIN if prefix.count(b"\x00") == 1 else 1
