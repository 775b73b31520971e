"""How the core reads a zone version: an ordered, read-only view, implemented by the store.

A version has three parts. *Content*: RRsets as published, including the apex SOA and the derived apex RRsets
(DNSKEY, NSEC3PARAM, CDS, …). *Denial*: NSEC or NSEC3 RRsets, by their own owner key (for NSEC3 the hashed
name). *Signatures*: RRSIGs by owner key and type covered, those over denial included. Keys sort canonically.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from dnssecd.core.dns.rrset import RRset, Rrsigs


class ZoneView(Protocol):
    """One zone version; all lookups see the same state."""

    @property
    def origin(self) -> bytes:
        """The zone name, wire form, lower-cased."""
        ...

    def rrset(self, owner: bytes, rtype: int) -> RRset | None:
        """Return one content RRset."""
        ...

    def rrsets_at(self, owner: bytes) -> list[RRset]:
        """Return the content RRsets at a name, by type."""
        ...

    def scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        """Yield content RRsets with start <= owner < stop, ordered by (owner, type)."""
        ...

    def first_owner(self, start: bytes, stop: bytes | None = None) -> bytes | None:
        """Return the first owner of content with start <= owner < stop."""
        ...

    def denial(self, owner: bytes) -> RRset | None:
        """Return the NSEC or NSEC3 RRset whose own owner is ``owner``."""
        ...

    def denial_before(self, owner: bytes) -> RRset | None:
        """Return the last denial RRset with an owner < ``owner``, not wrapping around."""
        ...

    def denial_from(self, owner: bytes) -> RRset | None:
        """Return the first denial RRset with an owner >= ``owner``, not wrapping around."""
        ...

    def denial_last(self) -> RRset | None:
        """Return the last denial RRset of the chain."""
        ...

    def denial_scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        """Yield denial RRsets with start <= owner < stop, in order."""
        ...

    def rrsigs(self, owner: bytes, covered: int) -> Rrsigs | None:
        """Return the RRSIGs over one RRset."""
        ...

    def rrsigs_at(self, owner: bytes) -> list[Rrsigs]:
        """Return all RRSIGs at a name, by type covered."""
        ...

    def rrsig_scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[Rrsigs]:
        """Yield RRSIGs with start <= owner < stop, ordered by (owner, type covered)."""
        ...


class JournalChunk(NamedTuple):
    """A run of RRs of one difference sequence, all removed or all added.

    ``rrs`` are whole RRs in uncompressed wire form (owner, type, class, TTL, RDLENGTH, RDATA) one after another,
    without the two SOA RRs that frame the halves; a sequence may take many chunks, removed ones first.
    """

    added: bool
    rrs: bytes


class JournalStep(NamedTuple):
    """One difference sequence (RFC 1995 §4): SOA RDATA before and after (unpacked), and its chunks."""

    from_serial: int
    to_serial: int
    old_soa: bytes
    old_soa_ttl: int
    new_soa: bytes
    new_soa_ttl: int
    chunks: Iterable[JournalChunk]


class ServedVersion(ZoneView, Protocol):
    """A zone version that can be transferred out; a consistent snapshot for as long as it is held."""

    @property
    def serial(self) -> int:
        """The SOA serial of this version."""
        ...

    def last_owner_before(self, owner: bytes) -> bytes | None:
        """Return the last owner of content before ``owner``."""
        ...

    def earliest_expiration(self) -> int | None:
        """Return the earliest expiration of any RRSIG in the zone, epoch seconds; None without RRSIGs."""
        ...

    def whole_scan(self) -> Iterator[tuple[bytes, int, int, bytes]]:
        """Yield (owner, type, TTL, packed RDATA) of content, denial RRsets and RRSIGs, together by owner.

        The RRSIGs of a name have a row for each type covered.
        """
        ...

    def journal_size(self, from_serial: int) -> int | None:
        """Return the octets of RRs in the journal from ``from_serial`` to this version; None if it has a gap."""
        ...

    def journal(self, from_serial: int) -> Iterator[JournalStep]:
        """Yield the difference sequences from ``from_serial`` to this version, oldest first."""
        ...
