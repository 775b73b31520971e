"""Walk a zone in canonical order: names with all their RRsets, zone cuts, empty non-terminals.

Zone cuts (RFC 4035 §2.2): names at a delegation hold NS, glue and perhaps DS, names below it are glue; names below
a DNAME are occluded (RFC 6672 §2.4). Neither glue nor occluded data is authoritative.
"""

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple

from dnssecd.core.dns import names, rrtypes
from dnssecd.core.dns.rrset import RRset, Rrsigs
from dnssecd.core.verify.wire import Malformed, split
from dnssecd.core.zone.zoneview import ZoneView


class Standing(IntEnum):
    """The standing of a name in DNSSEC."""

    AUTHORITATIVE = 0
    DELEGATION = 1
    OCCLUDED = 2


#: The members as constants: they are compared for every name of the zone.
AUTHORITATIVE, DELEGATION, OCCLUDED = Standing.AUTHORITATIVE, Standing.DELEGATION, Standing.OCCLUDED


class NameGroup(NamedTuple):
    """All RRsets at one owner."""

    owner: bytes
    content: list[RRset]
    denial: list[RRset]
    rrsigs: list[Rrsigs]


_END_RRSET = RRset(names.AFTER_ALL, 0, 0, b"")
_END_RRSIGS = Rrsigs(names.AFTER_ALL, 0, 0, b"")


def groups(
    view: ZoneView, start: bytes = b"", stop: bytes | None = None, contents: Iterator[RRset] | None = None
) -> Iterator[NameGroup]:
    """Merge content, denial and signatures of start <= owner < stop by owner, in canonical order.

    contents: the content of that span, if another check reads it in the same pass.
    """
    contents = view.scan(start, stop) if contents is None else contents
    denials, signatures = view.denial_scan(start, stop), view.rrsig_scan(start, stop)
    content, denial = next(contents, _END_RRSET), next(denials, _END_RRSET)
    rrsigs = next(signatures, _END_RRSIGS)
    while True:
        owner = min(content[0], denial[0], rrsigs[0])
        if owner == names.AFTER_ALL:
            return
        sets: list[RRset] = []
        proofs: list[RRset] = []
        sigs: list[Rrsigs] = []
        while content[0] == owner:
            sets.append(content)
            content = next(contents, _END_RRSET)
        while denial[0] == owner:
            proofs.append(denial)
            denial = next(denials, _END_RRSET)
        while rrsigs[0] == owner:
            sigs.append(rrsigs)
            rrsigs = next(signatures, _END_RRSIGS)
        yield NameGroup(owner, sets, proofs, sigs)


class CutWalker:
    """Tells the standing of names given in canonical order."""

    def __init__(self) -> None:
        self._cut: bytes | None = None

    def step(self, owner: bytes, types: tuple[int, ...]) -> Standing:
        """Return the standing of the next name with content of ``types``."""
        if self._cut is not None:
            if owner.startswith(self._cut):
                return OCCLUDED
            self._cut = None
        if rrtypes.NS in types and owner:
            self._cut = owner
            return DELEGATION
        if rrtypes.DNAME in types:
            self._cut = owner
        return AUTHORITATIVE

    def peek(self, owner: bytes, denial: list[RRset]) -> Standing:
        """Return the standing of a name without content; NSEC3 RRs are never occluded (RFC 5155 §7.1)."""
        if self._cut is None or not owner.startswith(self._cut):
            return AUTHORITATIVE
        if denial and all(rrset.rtype == rrtypes.NSEC3 for rrset in denial):
            return AUTHORITATIVE
        return OCCLUDED


class Standings:
    """Tells the standing of single names of one version, in any order.

    Each name above is looked at once, so that a name of many labels costs no more than its labels.
    """

    def __init__(self, view: ZoneView) -> None:
        self._view = view
        #: Whether a name is a cut or DNAME, or lies below one.
        self._hides: dict[bytes, bool] = {}

    def of(self, owner: bytes, types: tuple[int, ...]) -> Standing:
        """Return the standing of a name with content of ``types``."""
        if owner and self._hidden_below(names.parent_key(owner)):
            return OCCLUDED
        return DELEGATION if owner and rrtypes.NS in types else AUTHORITATIVE

    def _hidden_below(self, name: bytes) -> bool:
        unknown = []
        while (known := self._hides.get(name)) is None:
            unknown.append(name)
            if not name:
                known = False
                break
            name = names.parent_key(name)
        for above in reversed(unknown):
            known = known or self._is_cut(above)
            self._hides[above] = known
        return known

    def _is_cut(self, name: bytes) -> bool:
        if self._view.rrset(name, rrtypes.DNAME) is not None:
            return True
        return bool(name) and self._view.rrset(name, rrtypes.NS) is not None


def rdatas_at(view: ZoneView, rtype: int) -> list[bytes]:
    """Return the RDATAs of an apex RRset, none if it is absent or does not decode."""
    rrset = view.rrset(names.APEX, rtype)
    if rrset is None:
        return []
    try:
        return split(rrset.rdata)
    except Malformed:
        return []


class EmptyNonTerminals:
    """Finds names that exist only because of names below them (RFC 4592 §2.2.2), in one walk.

    ``emit(key, secure)`` is called for each once its subtree is complete; secure: there is authoritative data
    or a secure delegation below it, so opt-out must not leave it out (RFC 5155 §7.1).
    """

    def __init__(self, emit: Callable[[bytes, bool], None]) -> None:
        self._emit = emit
        self._keys: list[bytes] = [b""]
        self._empty: list[bool] = [False]
        self._secure: list[bool] = [True]

    def visit(self, owner: bytes, secure: bool) -> None:
        """Take the next name that is neither glue nor occluded."""
        if not owner:
            return
        if owner[-1]:
            raise ValueError(f"{owner!r} is not an owner key: its last label has no end")
        keys = self._keys
        while not owner.startswith(keys[-1]):
            self._pop()
        above = len(keys[-1])
        cut = owner.find(b"\0", above) + 1
        while cut < len(owner):
            keys.append(owner[:cut])
            self._empty.append(True)
            self._secure.append(False)
            cut = owner.find(b"\0", cut) + 1
        keys.append(owner)
        self._empty.append(False)
        self._secure.append(secure)

    def finish(self) -> None:
        """Complete the walk."""
        while len(self._keys) > 1:
            self._pop()

    def _pop(self) -> None:
        key, empty, secure = self._keys.pop(), self._empty.pop(), self._secure.pop()
        if secure:
            self._secure[-1] = True
        if empty:
            self._emit(key, secure)
