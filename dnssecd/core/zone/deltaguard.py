"""The delta guard: stops an input that would change too much of a zone at once, until an operator accepts it."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from dnssecd.core.dns import rrtypes as t
from dnssecd.core.dns.names import APEX, key_to_text
from dnssecd.core.dns.rrset import unpack
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.delegationcheck import ADDRESSES, key_inside
from dnssecd.core.zone.zonecheck import doubled_suffix
from dnssecd.core.zone.zoneview import ZoneView

#: This many removed or changed names trip the guard if they are too large a share of the zone; fewer trip it
#: only if RRsets are lost on which the whole zone depends.
NAMES_MIN = 5

#: Without these at the apex the zone's own name, or its mail, stops working.
_APEX_TYPES = {t.A: "A", t.MX: "MX", t.AAAA: "AAAA"}

#: From this many new names that repeat a one-label zone name, they count as a mistake.
_DOUBLED_MIN = 25

_EXAMPLES = 5


class Verdict(NamedTuple):
    """The result of the guard; ``reasons`` is empty when the change may pass.

    ``touched``: owner names removed or changed (an SOA by itself does not count); ``names``: owner names before;
    ``doubled``: names added that end in ``zone.zone.``.
    """

    touched: int
    names: int
    doubled: int
    reasons: tuple[str, ...]

    @property
    def tripped(self) -> bool:
        """Tell whether an operator must accept the change."""
        return bool(self.reasons)


def judge(
    changes: Iterable[Change],
    names: int,
    max_change: float,
    origin: bytes,
    after: Callable[[], ZoneView] | None = None,
) -> Verdict:
    """Judge the changes of the unsigned content.

    names: owner names of the previous version; max_change: the largest share of them that may be removed or
    changed, 0 to 1; origin: lower-cased wire name; after: gives the content with the changes, to find name
    servers that lose their address (None: not checked). A first load (names = 0) never trips.
    """
    prefix = doubled_suffix(origin)
    touched: set[bytes] = set()
    doubled: set[bytes] = set()
    lost: list[tuple[bytes, int]] = []
    for owner, rtype, old, new in changes:
        if rtype == t.SOA and not owner:
            continue
        if old is not None:
            touched.add(owner)
            if new is None and rtype in _APEX_TYPES:
                lost.append((owner, rtype))
        elif new is not None and prefix and owner.startswith(prefix):
            doubled.add(owner)
    reasons = []
    if names and len(touched) > max_change * names:
        grave = "" if len(touched) >= NAMES_MIN else _grave(lost, origin, after)
        if grave or len(touched) >= NAMES_MIN:
            share = 100 * len(touched) / names
            reasons.append(
                f"{len(touched)} of {names} owner names ({share:.1f} %) would be removed or changed, "
                f"more than {100 * max_change:g} %{grave}"
            )
    if names and len(doubled) >= _doubled_min(prefix):
        some = ", ".join(key_to_text(owner, origin) for owner in sorted(doubled)[:_EXAMPLES])
        reasons.append(
            f"{len(doubled)} new name(s) repeat the zone's name, as when final dots are missing: {some}"
        )
    return Verdict(len(touched), names, len(doubled), tuple(reasons))


def _grave(lost: list[tuple[bytes, int]], origin: bytes, after: Callable[[], ZoneView] | None) -> str:
    """Return, in words, what is lost that the whole zone depends on; empty for nothing."""
    types = [_APEX_TYPES[rtype] for owner, rtype in lost if not owner]
    if types:
        return f", and the apex would lose its {' and '.join(types)} records"
    owners = {owner for owner, rtype in lost if rtype in ADDRESSES}
    stranded = _stranded(owners, after()) if owners and after is not None else []
    if stranded:
        return f", and name server {key_to_text(stranded[0], origin)} would have no address"
    return ""


def _stranded(lost: set[bytes], view: ZoneView) -> list[bytes]:
    """Return those of the names that serve the zone and have no address in ``view``."""
    servers = view.rrset(APEX, t.NS)
    targets = [] if servers is None else unpack(servers.rdata)
    keys = [key_inside(target, view.origin) for target in targets if target.endswith(view.origin)]
    return [key for key in keys if key in lost and all(view.rrset(key, rtype) is None for rtype in ADDRESSES)]


def _doubled_min(prefix: bytes) -> int:
    """Return how many doubled names trip the guard: com.com. may be meant, example.com.example.com. hardly ever."""
    return _DOUBLED_MIN if prefix.count(b"\x00") == 1 else 1
