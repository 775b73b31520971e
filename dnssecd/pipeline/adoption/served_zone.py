"""A zone signed by another signer: read from a file or a transfer, and used as base of dnssecd's first version.

The base has the content, the chain, and the RRSIGs that were made by imported keys and are valid for long
enough. So only missing, due or changed RRSIGs are made. The verifier then checks the whole zone as it checks
any first version.
"""

from collections.abc import Iterable, Iterator, Set
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset, Rrsigs, pack, unpack
from dnssecd.core.dns.rrtypes import DNSKEY, DS, NSEC, NSEC3, NSEC3PARAM, SOA
from dnssecd.core.signing.denial import DenialParameters
from dnssecd.core.signing.lifetimes import full_time
from dnssecd.core.verify import MemoryZoneView
from dnssecd.core.zone.changeset import Change
from dnssecd.ingest.collect import gather
from dnssecd.ingest.errors import FileChanged, ZoneFileErrors
from dnssecd.ingest.gc_pause import collection_paused
from dnssecd.ingest.xfrin import Inbound, TransferLimits, Whole
from dnssecd.ingest.xfrin_wire import TransferError
from dnssecd.ingest.zonefile import parse_zone_file, take_rrsigs
from dnssecd.pipeline.spool import spooled
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.apex import soa_serial
from dnssecd.pipeline.version.held_denial import denial_of
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.server.update_rdata import RdataReader
from dnssecd.store.interface import State, ZoneTransaction

#: BIND keeps notes on its own signing at the apex (sig-signing-type); other servers do not use them.
BIND_NOTES = 65534
#: ``VersionState.policy`` of a version that another signer made; it causes a walk over the whole zone.
FOREIGN = "foreign"
CHUNK = 1_000
_CHAIN = (NSEC, NSEC3)

Place = tuple[bytes, int]

T = TypeVar("T")


class ForeignZone(MemoryZoneView):
    """A signed zone in memory; ``notes`` are BIND's records about its signing, which are not part of the zone.

    as_given: nothing is left out, also not those notes.
    """

    def __init__(
        self,
        origin: bytes,
        rrsets: Iterable[RRset],
        rrsigs: Iterable[Rrsigs],
        *,
        as_given: bool = False,
    ) -> None:
        rows = list(rrsets)
        denial = [r for r in rows if r.rtype in _CHAIN]
        self.notes = sum(not r.owner and r.rtype == BIND_NOTES for r in rows)
        out = () if as_given else (BIND_NOTES, DS)
        content = [r for r in rows if r.rtype not in _CHAIN and (r.owner or r.rtype not in out)]
        super().__init__(origin, content, denial, rrsigs)

    @property
    def soa(self) -> RRset:
        """Return the apex SOA; every zone that was read has one."""
        soa = self.rrset(APEX, SOA)
        assert soa is not None
        return soa

    @property
    def serial(self) -> int:
        """Return the serial of the SOA."""
        return soa_serial(self.soa)

    @property
    def dnskeys(self) -> frozenset[bytes]:
        """Return the RDATA of the DNSKEY RRset."""
        found = self.rrset(APEX, DNSKEY)
        return frozenset() if found is None else frozenset(unpack(found.rdata))

    @property
    def owners(self) -> int:
        """Return how many names have content."""
        return sum(1 for _ in groupby(self.scan(), key=itemgetter(0)))


class ForeignVersion(ForeignZone):
    """The other signer's version, as the base of dnssecd's first version; the RRSIGs at ``due`` must be renewed.

    A link of the chain without RRSIG is left out, so that it is made again with one.
    """

    def __init__(self, zone: ForeignZone, rrsigs: list[Rrsigs], due: list[Place], now: int) -> None:
        signed = {sigs.owner for sigs in rrsigs if sigs.covered in _CHAIN}
        chain = (link for link in zone.denial_scan() if link.owner in signed)
        super().__init__(zone.origin, (*zone.scan(), *chain), rrsigs)
        self.due = due
        self.version: State | None = state.to_document(
            state.VersionState(
                serial=zone.serial,
                input_serial=zone.serial,
                published_at=now,
                policy=FOREIGN,
                largest_ttl=0,
                owners=zone.owners,
            )
        )

    def read_ahead(self, owners: Iterable[bytes], links: Iterable[bytes] = ()) -> None:
        """Do nothing: all is in memory."""

    def rrsigs_due(self, before: int, limit: int) -> list[Place]:
        """Return all RRSIGs to renew: those that expire soon, and bad ones."""
        return self.due

    def put_under(self, transaction: ZoneTransaction, now: int) -> None:
        """Write this version, uncommitted, to a database without version, as the base of the next one."""
        for content in _chunks(self.scan()):
            transaction.apply_content(Change(r.owner, r.rtype, None, r) for r in content)
        for chain in _chunks(self.denial_scan()):
            transaction.apply_denial(Change(r.owner, r.rtype, None, r) for r in chain)
        for sigs in _chunks(self.rrsig_scan()):
            transaction.put_rrsigs((None, s, _expiration(s, now)) for s in sigs)
        transaction.start_from(self)


class KeepRule(Struct, frozen=True):
    """Which RRSIGs may be kept: by these (algorithm, key tag), valid now and for ``least_s`` more; not at ``bad``."""

    marks: frozenset[tuple[int, int]]
    now: int
    least_s: int
    bad: Set[Place] = frozenset()

    def version(self, zone: ForeignZone) -> ForeignVersion:
        """Return the zone with the RRSIGs that may be kept, and where they may not.

        The verifier decides whether they are cryptographically good.
        """
        found, due = [], []
        for sigs in zone.rrsig_scan():
            covered = (
                zone.denial(sigs.owner) if sigs.covered in _CHAIN else zone.rrset(sigs.owner, sigs.covered)
            )
            if covered is None:
                continue
            place = sigs.owner, sigs.covered
            good = [rdata for rdata in unpack(sigs.rdata) if self._good(rdata, covered.ttl)]
            if not good or sigs.ttl != covered.ttl or place in self.bad:
                due.append(place)
                found.append(sigs)
            else:
                found.append(sigs._replace(rdata=pack(good)))
        return ForeignVersion(zone, found, due, self.now)

    def _good(self, rdata: bytes, ttl: int) -> bool:
        if (rdata[2], int.from_bytes(rdata[16:18])) not in self.marks or int.from_bytes(rdata[4:8]) != ttl:
            return False
        expiration = full_time(int.from_bytes(rdata[8:12]), self.now)
        inception = full_time(int.from_bytes(rdata[12:16]), self.now)
        return inception <= self.now and expiration > self.now + self.least_s


def read_zone_file(path: Path, origin: bytes) -> ForeignZone:
    """Read a signed zone file; raise Rejected."""
    try:
        parsed = parse_zone_file(path, origin, strip=False, require_newline=False)
    except (ZoneFileErrors, FileChanged) as error:
        raise Rejected(
            "input-error", str(error), "give the signed zone, complete, as a text zone file"
        ) from None
    return ForeignZone(origin, parsed.rrsets, parsed.rrsigs)


def read_transfer(path: Path, origin: bytes, server: str) -> ForeignZone:
    """Read the messages of an AXFR that the fetcher stored; raise Rejected."""
    inbound = Inbound(origin, None, RdataReader, TransferLimits(), keep=True)
    try:
        with collection_paused():
            for wire in spooled(path):
                inbound.feed(wire)
            received = inbound.finish()
            assert isinstance(received, Whole), "an AXFR was asked for"
            rows = [*received.rows, received.soa]
            rrsigs = take_rrsigs(rows)
            rrsets = gather(rows).rrsets
    except TransferError as error:
        raise Rejected("input-error", f"{server} sent no correct transfer of the zone: {error}") from None
    return ForeignZone(origin, rrsets, rrsigs)


def chain_of(zone: ForeignZone, name: str) -> DenialParameters:
    """Return the zone's denial parameters; raise Rejected if it is unsigned or its denial cannot be kept."""
    if not zone.dnskeys:
        raise Rejected(
            "input-error",
            f"{name} as served is not signed: it has no DNSKEY",
            "an unsigned zone needs no migration: dnssecd zone reload",
        )
    kinds = {r.rtype for r in zone.denial_scan()}
    found = denial_of(zone)
    if len(kinds) != 1 or found is None:
        what = "has no NSEC or NSEC3 chain" if not kinds else "has both NSEC and NSEC3 records"
        raise Rejected(
            "input-error",
            f"{name} as served {what}",
            "let the other signer finish its change, then try again",
        )
    if found.is_nsec3:
        _check_parameters(zone, name)
    return found


def _check_parameters(zone: ForeignZone, name: str) -> None:
    param = zone.rrset(APEX, NSEC3PARAM)
    rdatas = [] if param is None else unpack(param.rdata)
    if len(rdatas) != 1:
        raise Rejected(
            "input-error",
            f"{name} as served has {len(rdatas)} NSEC3PARAM records, so it is not clear which chain is "
            f"complete",
            "let the other signer finish its change of NSEC3 parameters, then try again",
        )
    iterations, salt = int.from_bytes(rdatas[0][2:4]), rdatas[0][5:]
    if iterations or salt:
        raise Rejected(
            "input-error",
            f"{name} has NSEC3 with {iterations} iterations and salt {salt.hex() or '-'}; dnssecd makes "
            f"NSEC3 without either, as RFC 9276 says, and would replace the chain in one step",
            "change it at the other signer, which does so step by step: BIND dnssec-policy: nsec3param iterations 0 "
            "salt-length 0; Knot: nsec3-iterations: 0, nsec3-salt-length: 0; OpenDNSSEC: <Iterations>0</Iterations>, "
            '<Salt length="0"/>; PowerDNS: pdnsutil set-nsec3 ZONE "1 0 0 -". When all secondaries have the change, '
            "try again",
        )


def _chunks(rows: Iterable[T]) -> Iterator[list[T]]:
    chunk: list[T] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _expiration(sigs: Rrsigs, now: int) -> int:
    return min(full_time(int.from_bytes(rdata[8:12]), now) for rdata in unpack(sigs.rdata))
