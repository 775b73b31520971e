"""Apply the differences of an IXFR strictly: one that does not fit shows that the held zone is another."""

from collections.abc import Callable, Iterable

from dnssecd.core.dns.names import APEX, key_to_text
from dnssecd.core.dns.rrset import RRset, pack, unpack
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.core.zone.changeset import Change
from dnssecd.ingest.collect import Row
from dnssecd.ingest.words import type_text
from dnssecd.ingest.xfrin import SERIAL_FIELD, Difference

#: Gives the held RRset at (owner key, type), without derived RRs.
Held = Callable[[bytes, int], RRset | None]
Place = tuple[bytes, int]


class DoesNotFit(Exception):
    """The differences do not start from the held zone: it must be transferred whole."""


class _Set:
    """An RRset being changed; its RDATA without RDLENGTH."""

    __slots__ = ("before", "rdatas", "ttl")

    def __init__(self, before: RRset | None) -> None:
        self.before = before
        self.ttl = before.ttl if before else 0
        self.rdatas = set(unpack(before.rdata)) if before else set()


class Application:
    """Applies difference sequences, one after another, to the zone ``origin`` that ``held`` reads."""

    def __init__(self, origin: bytes, held: Held) -> None:
        self._origin, self._held = origin, held
        self._sets: dict[Place, _Set] = {}

    def apply(self, difference: Difference) -> None:
        """Apply one sequence; raise DoesNotFit."""
        for row in difference.deleted:
            self._delete(row)
        for row in difference.added:
            self._add(row)

    def changes(self) -> list[Change]:
        """Return the net changes of content without the SOA, ordered by (owner, type)."""
        net = []
        for owner, rtype in sorted(self._sets):
            made = self._sets[owner, rtype]
            after = RRset(owner, rtype, made.ttl, pack(made.rdatas)) if made.rdatas else None
            if after != made.before:
                net.append(Change(owner, rtype, made.before, after))
        return net

    def _set(self, row: Row) -> _Set:
        place = row[:2]
        found = self._sets.get(place)
        if found is None:
            found = self._sets[place] = _Set(self._held(*place))
        return found

    def _delete(self, row: Row) -> None:
        made = self._set(row)
        rdata = row[3][2:]
        if rdata not in made.rdatas:
            raise DoesNotFit(f"deletes {self._text(row)} that does not exist")
        if row[2] != made.ttl:
            raise DoesNotFit(f"deletes {self._text(row)} with TTL {row[2]}; the held RRset has {made.ttl}")
        made.rdatas.remove(rdata)

    def _add(self, row: Row) -> None:
        made = self._set(row)
        rdata = row[3][2:]
        if rdata in made.rdatas:
            raise DoesNotFit(f"adds {self._text(row)} that exists already")
        if made.rdatas and row[2] != made.ttl:
            raise DoesNotFit(f"adds {self._text(row)} with TTL {row[2]} to an RRset with {made.ttl}")
        made.ttl = row[2]
        made.rdatas.add(rdata)

    def _text(self, row: Row) -> str:
        return f"an RR {key_to_text(row[0], self._origin)} {type_text(row[1])}"


def applied(origin: bytes, held: Held, sequences: Iterable[Difference]) -> list[Change]:
    """Return the changes of the sequences, in order of (owner, type), without the SOA.

    Each must begin with the SOA that ended the previous one. The held SOA is compared without its serial,
    because dnssecd chooses its own. Raise DoesNotFit.
    """
    application = Application(origin, held)
    soa = held(APEX, SOA)
    standing = soa.rdata if soa else b""
    for number, difference in enumerate(sequences):
        wanted = difference.before[3]
        if (wanted != standing) if number else (_timeless(wanted) != _timeless(standing)):
            raise DoesNotFit("begins with an SOA other than the held one")
        application.apply(difference)
        standing = difference.after[3]
    return application.changes()


def _timeless(soa: bytes) -> bytes:
    return soa[: SERIAL_FIELD.start] + soa[SERIAL_FIELD.stop :]
