"""Grants: which TSIG key may update which names and types (configuration: ``allow_update``), compiled.

A grant names owners exactly, everything below a name (``*.sub.example.com.``), the whole zone (``*``) or the key's
own name (``self``). Owner keys make "below" a prefix that ends at a label, so that no look-alike, sibling or parent
of a granted sub-domain can match (CVE-2020-8624).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from msgspec import Struct, field

from dnssecd.core.dns.names import APEX, BadName, ancestors, owner_key, text_to_wire

#: In a set of types it means all types (QTYPE ANY).
ANY_TYPE = 255

Types = frozenset[int]
_NO_TYPES: Types = frozenset()


class GrantText(Protocol):
    """A grant as the configuration gives it; types are mnemonics or ``ANY``."""

    @property
    def tsig(self) -> str:
        """Return the name of the TSIG key."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names the key may update, in the notation of ``allow_update``."""

    @property
    def types(self) -> tuple[str, ...]:
        """Return the types the key may update."""


class NameGrants(Struct, frozen=True):
    """Types granted by owner key: at a name, and at everything strictly below a name."""

    exact: Mapping[bytes, Types] = field(default_factory=dict)
    below: Mapping[bytes, Types] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.exact or self.below)

    def types_at(self, owner: bytes) -> Types:
        """Return the types granted at a name: empty for none, with ANY_TYPE among them for all."""
        types = self.exact.get(owner, _NO_TYPES)
        if self.below:
            for name in ancestors(owner):
                if name in self.below:
                    types |= self.below[name]
        return types

    def allows(self, owner: bytes, rtype: int) -> bool:
        """Tell whether one RRset is covered."""
        types = self.types_at(owner)
        return rtype in types or ANY_TYPE in types


#: Covers nothing.
NOTHING = NameGrants()


class Grants(Struct, frozen=True):
    """All grants of a zone: by key (lower-cased wire name), and of all keys together."""

    by_key: Mapping[bytes, NameGrants]
    together: NameGrants

    def of(self, key: bytes | None) -> NameGrants:
        """Return the grants of a key; NOTHING for an unknown key and for a request without a key."""
        return NOTHING if key is None else self.by_key.get(key, NOTHING)


def compile_grants(grants: Iterable[GrantText], origin: bytes, type_number: Callable[[str], int]) -> Grants:
    """Return the grants of the zone ``origin`` (lower-cased wire name).

    type_number: gives the number of a type's mnemonic. Raises BadName for a name that is not in the zone.
    """
    makers: dict[bytes, _Maker] = {}
    together = _Maker()
    for grant in grants:
        key = text_to_wire(grant.tsig)
        types = frozenset(ANY_TYPE if text == "ANY" else type_number(text) for text in grant.types)
        for name in grant.names:
            makers.setdefault(key, _Maker()).add(name, types, key, origin)
            together.add(name, types, key, origin)
    return Grants({key: maker.made() for key, maker in makers.items()}, together.made())


def owned_by_updates(grants: Grants, owner: bytes, rtype: int) -> bool:
    """Tell whether a grant covers an RRset of a file zone: updates own it, and the file's RRset is ignored."""
    return grants.together.allows(owner, rtype)


class _Maker:
    """Collects the grants of one key."""

    def __init__(self) -> None:
        self._exact: dict[bytes, Types] = {}
        self._below: dict[bytes, Types] = {}

    def add(self, name: str, types: Types, key: bytes, origin: bytes) -> None:
        if name == "*":
            _join(self._exact, APEX, types)
            _join(self._below, APEX, types)
        elif name == "self":
            try:
                _join(self._exact, owner_key(key, origin), types)
            except BadName:
                return  # the key's name lies in another zone: the grant covers nothing here
        elif name.startswith("*."):
            _join(self._below, owner_key(text_to_wire(name[2:]), origin), types)
        else:
            _join(self._exact, owner_key(text_to_wire(name), origin), types)

    def made(self) -> NameGrants:
        return NameGrants(self._exact, self._below)


def _join(table: dict[bytes, Types], owner: bytes, types: Types) -> None:
    table[owner] = table.get(owner, _NO_TYPES) | types
