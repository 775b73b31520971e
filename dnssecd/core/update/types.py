"""The parts of a dynamic update (RFC 2136), its limits, and its result."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.grants import NameGrants

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
YXDOMAIN, YXRRSET, NXRRSET, NOTAUTH, NOTZONE = 6, 7, 8, 9, 10

CLASS_IN, CLASS_NONE, CLASS_ANY = 1, 254, 255
TYPE_ANY = 255
TTL_MAX = 2**31 - 1

#: Octets an RRset may take in a message of 65,535 octets, after header, question, OPT and TSIG. An RR takes
#: its RDATA and twelve octets of owner (compressed), type, class, TTL and length.
RRSET_OCTETS_MAX = 65_535 - 12 - 259 - 11 - 300
_RR_OCTETS = 10

#: What BIND accepts as a secondary unless its max-records-per-type and max-types-per-name (100, in which the RRSIGs of
#: each type, NSEC and its RRSIG count) say otherwise.
RECORDS_MAX, TYPES_MAX = 100, 49
#: Names of the denial chain that one message may change: about a second of work.
NAMES_MAX = 1000
#: A client's serial is accepted up to this far ahead of the zone's serial.
SERIAL_STEP_MAX = 2**16

_IGNORED_MAX = 20


class UpdateRR(NamedTuple):
    """One RR of the prerequisite or update section, well formed.

    ``owner`` is an owner key, None for a name outside the zone. ``rdata`` is canonical (core.rdata), so that
    equal RRs have equal octets, and has no RDLENGTH; it is empty where RFC 2136 demands that. ``rclass`` is
    IN, ANY or NONE.
    """

    owner: bytes | None
    rtype: int
    rclass: int
    ttl: int
    rdata: bytes


class UpdateMessage(NamedTuple):
    """An UPDATE whose form is right; ``zone`` is the zone section's name, lower-cased wire form."""

    zone: bytes
    prerequisites: Sequence[UpdateRR]
    updates: Sequence[UpdateRR]


class UpdatePolicy(Struct, frozen=True):
    """The limits of an update; a message that exceeds one is REFUSED as a whole.

    ``grants`` are those of the request's key. ``apex_refused``: types refused at the apex. TTLs are in
    seconds; ``ttl_max`` is the largest that the signature refresh allows. ``names_changed_max`` bounds how
    many names of the denial chain, empty non-terminals included, a message may add, remove, hide or uncover.
    ``rrs_per_rrset_max`` and ``types_per_name_max`` apply to each RRset or name that a message makes larger:
    above them a BIND secondary refuses the zone. ``knot_secondaries``: also refuse what a Knot secondary
    refuses. ``serial_max``: the farthest client serial that is accepted; None: SERIAL_STEP_MAX after the
    zone's.
    """

    grants: NameGrants
    apex_refused: frozenset[int] = APEX_DERIVED_TYPES
    ttl_max: int = TTL_MAX
    rrset_octets_max: int = RRSET_OCTETS_MAX
    rrs_per_rrset_max: int = RECORDS_MAX
    types_per_name_max: int = TYPES_MAX
    names_changed_max: int = NAMES_MAX
    knot_secondaries: bool = True
    allow_missing_glue: bool = False
    serial_max: int | None = None


class UpdateResult(NamedTuple):
    """The result of a message.

    rcode: NOERROR, or why nothing was changed (``reason`` says it in words). changes: the net difference of
    content without the SOA, ordered by (owner, type); empty when the message changes nothing. soa: the new
    SOA RRset with the client's serial, None if the message has none that is accepted. owners_delta: owner
    names added minus owner names removed. ignored: RRs of a NOERROR message that have no effect, or that no
    resolver will see, in words (the first few). names: an upper bound of the names of the denial chain that
    change. notable: the message was refused for what it would do to the zone (not for a grant or
    prerequisite), so an operator may want to know. granted: False where the key has no grant for it.
    """

    rcode: int
    changes: Sequence[Change] = ()
    soa: RRset | None = None
    owners_delta: int = 0
    reason: str = ""
    ignored: Sequence[str] = ()
    names: int = 0
    notable: bool = False
    granted: bool = True

    @property
    def is_noop(self) -> bool:
        """Tell whether the zone stays the same."""
        return not self.changes and self.soa is None


class UpdateFailed(Exception):
    """The message is not carried out: RCODE and reason; ``notable`` and ``granted`` as in UpdateResult."""

    def __init__(self, rcode: int, reason: str, *, notable: bool = False, granted: bool = True) -> None:
        super().__init__(reason)
        self.rcode = rcode
        self.reason = reason
        self.notable = notable
        self.granted = granted


def rrset_octets(rrset: RRset, rrs: int) -> int:
    """Return an upper bound of the octets that an RRset of ``rrs`` RRs takes in a message."""
    return len(rrset.rdata) + _RR_OCTETS * rrs


def soa_serial(soa: RRset) -> int:
    """Return the serial of an SOA RRset."""
    return int.from_bytes(soa.rdata[-20:-16], "big")


def note(ignored: list[str], text: str) -> None:
    """Add a note to ``ignored``, up to a bound."""
    if len(ignored) < _IGNORED_MAX:
        ignored.append(text)
