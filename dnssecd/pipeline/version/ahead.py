"""RRSIGs of off-line KSKs in the zone's store, and how a version is made with them."""

import hashlib
from collections.abc import Iterable
from typing import Protocol

import msgspec

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset, unpack
from dnssecd.core.dns.rrtypes import DNSKEY, KSK_SIGNED_TYPES, type_text
from dnssecd.core.keys.keyset import Key, SigningKey, SigningView, new_key, signing_view
from dnssecd.core.keys.keystate import Role
from dnssecd.core.keys.signed_ahead import (
    AheadSet,
    SignedAhead,
    dnskey_until,
    expiration,
    inception,
    offered,
)
from dnssecd.core.keys.types import RSA_ALGORITHMS
from dnssecd.core.signing.signplan import signers
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.store.interface import OldVersion, State, ZoneSnapshot

#: State document: what ceremonies signed for the zone.
CEREMONY = "ceremony"
EVENT = "ceremony-needed"
NEVER = 1 << 40


class CeremonyState(msgspec.Struct, frozen=True, kw_only=True):
    """What a zone's store keeps of ceremonies.

    ``requests``: how many requests were made; ``response``: hash of the response imported last, at ``imported`` (epoch
    s); ``ksks``: DNSKEY RDATA of KSKs imported before there was a first version, ``first_zsk``: the id of the ZSK that
    the first request begins with.
    """

    sets: tuple[AheadSet, ...] = ()
    requests: int = 0
    response: str = ""
    ksks: tuple[bytes, ...] = ()
    imported: int = 0
    first_zsk: str = ""


NO_CEREMONY = CeremonyState()


class HasState(Protocol):
    """A snapshot or a transaction."""

    def state(self, name: str) -> State | None:
        """Return a named state document."""
        ...


def read_ceremony(reader: HasState) -> CeremonyState:
    """Return what the store keeps of ceremonies."""
    return state.from_document(reader.state(CEREMONY), CeremonyState) or NO_CEREMONY


def read_ahead(reader: HasState, spec: ZoneSpec) -> SignedAhead | None:
    """Return what was signed ahead for a zone; None for a zone without an off-line KSK."""
    return supply_of(read_ceremony(reader), spec) if spec.offline else None


def supply_of(ceremony: CeremonyState, spec: ZoneSpec) -> SignedAhead | None:
    """Return the supply in what the store keeps; None for a zone without an off-line key store."""
    return SignedAhead(frozenset(spec.offline), ceremony.sets) if spec.offline else None


class PreSigned:
    """The RRSIGs of off-line keys for the version that is made at ``now`` (epoch s)."""

    def __init__(self, ahead: SignedAhead, view: SigningView, now: int) -> None:
        """Take the supply; ``view`` is what the zone is to have."""
        self._ahead, self._now = ahead, now
        self.view = offered(view, ahead, now)

    def spec(self, spec: ZoneSpec) -> ZoneSpec:
        """Return the specification with the TTL that was signed: a new dnskey_ttl waits for the next ceremony.

        Raise Rejected where no RRSIG over the DNSKEY RRset is valid now: no version can be.
        """
        absent = self._absent(DNSKEY)
        if not absent:
            return spec
        found = self._best(DNSKEY, self.view.dnskey_rdatas, absent)
        if found is None:
            raise _unsigned(DNSKEY, absent)
        return msgspec.structs.replace(spec, dnskey_ttl=found.ttl)

    def split(self, rrset: RRset, keys: tuple[SigningKey, ...]) -> tuple[tuple[SigningKey, ...], list[bytes]]:
        """Return the keys that the key service has, and the RRSIGs of those it has not. Raise Rejected."""
        absent = self._ahead.absent(keys)
        if not absent:
            return keys, []
        found = self._best(rrset.rtype, tuple(unpack(rrset.rdata)), absent)
        if found is None or found.ttl != rrset.ttl:
            raise _unsigned(rrset.rtype, absent)
        return tuple(key for key in keys if key not in absent), list(found.rrsigs)

    def is_due(self, old: OldVersion, place: tuple[bytes, int]) -> bool:
        """Return whether RRSIGs that come due can be replaced: those of an off-line key only by later ones."""
        owner, rtype = place
        absent = self._absent(rtype) if owner == APEX else ()
        if not absent:
            return True
        rrset, held = old.rrset(owner, rtype), old.rrsigs(owner, rtype)
        found = None if rrset is None else self._best(rtype, tuple(unpack(rrset.rdata)), absent)
        if found is None or held is None:
            return False
        return self.first_end(found.rrsigs) > self.first_end(unpack(held.rdata))

    def first_end(self, rrsigs: Iterable[bytes]) -> int:
        """Return when the first of some RRSIGs expires (epoch s)."""
        return min(self._ends(rrsigs))

    def _ends(self, rrsigs: Iterable[bytes]) -> list[int]:
        return [expiration(rrsig, self._now) for rrsig in rrsigs]

    def _absent(self, rtype: int) -> tuple[SigningKey, ...]:
        return self._ahead.absent(signers(self.view, rtype)) if rtype in KSK_SIGNED_TYPES else ()

    def _best(self, rtype: int, rdatas: tuple[bytes, ...], keys: tuple[SigningKey, ...]) -> AheadSet | None:
        return self._ahead.best(rtype, rdatas, keys, self._now) if keys else None


def presigned_at(reader: HasState, spec: ZoneSpec, view: SigningView, now: int) -> PreSigned | None:
    """Return the RRSIGs of off-line keys for a version; None for a zone without an off-line KSK."""
    ahead = read_ahead(reader, spec)
    return None if ahead is None else PreSigned(ahead, view, now)


def _unsigned(rtype: int, keys: tuple[SigningKey, ...]) -> Rejected:
    tags = ", ".join(str(key.tag) for key in keys)
    return Rejected(
        EVENT,
        f"no {type_text(rtype)} RRset as it has to be published now was signed ahead by the off-line KSK {tags}",
        "have it signed at a ceremony: dnssecd ksr export, dnssecd ksr sign, dnssecd skr import; the last version is "
        "still served",
    )


def offline_dates(snapshot: ZoneSnapshot, spec: ZoneSpec, refresh_s: int, now: int) -> tuple[int, int] | None:
    """Return (first expiration, when signing is due next) of a zone with an off-line KSK, epoch seconds.

    RRSIGs of an off-line key count as renewed for as long as there are later ones in the supply, until they are due and
    were not renewed. None: all is as in any other zone.
    """
    ahead = read_ahead(snapshot, spec)
    keyset = state.keyset_from(snapshot.state(state.KEYSET))
    if ahead is None or keyset is None:
        return None
    view = offered(signing_view(keyset, cds=spec.cds), ahead, now)
    until = dnskey_until(keyset, ahead, now)
    if until is None:
        return None
    published_end = _published_end(snapshot, now)
    others = _first_other(snapshot, ahead, view, now)
    dues = [] if others is None else [others - refresh_s]
    switch = next_switch(ahead, view, published_end, now, refresh_s)
    dues += [] if switch is None else [switch]
    ends = [dnskey_end(until, published_end, switch, now)]
    ends += [] if others is None else [others]
    return min(ends), min(dues, default=min(ends))


def dnskey_end(until: int, published_end: int, switch: int | None, now: int) -> int:
    """Return when the DNSKEY RRset has no valid RRSIG any more (epoch s); ``until``: by the supply, 0: it has none.

    Once the switch is overdue the published RRSIGs count: what renews them may not work.
    """
    overdue = switch is not None and switch <= now
    return published_end if overdue or not until else until


def _published_end(snapshot: ZoneSnapshot, now: int) -> int:
    held = snapshot.rrsigs(APEX, DNSKEY)
    return now if held is None else min(expiration(rrsig, now) for rrsig in unpack(held.rdata))


def _first_other(snapshot: ZoneSnapshot, ahead: SignedAhead, view: SigningView, now: int) -> int | None:
    """Return when the first RRSIG expires that no off-line key made."""
    for owner, covered in snapshot.rrsigs_due(NEVER, 1 + len(KSK_SIGNED_TYPES)):
        if owner == APEX and covered in KSK_SIGNED_TYPES and ahead.absent(signers(view, covered)):
            continue
        held = snapshot.rrsigs(owner, covered)
        if held is not None:
            return min(expiration(rrsig, now) for rrsig in unpack(held.rdata))
    return None


def next_switch(
    ahead: SignedAhead, view: SigningView, published_end: int, now: int, refresh_s: int
) -> int | None:
    """Return when (epoch s) later RRSIGs of the off-line keys over the DNSKEY RRset take over; None: never.

    ``published_end``: when the first of the published RRSIGs expires. Later ones may be valid already and wait until
    the published ones come due (``PreSigned.is_due``).
    """
    keys = ahead.absent(view.dnskey_keys)
    if not keys:
        return None
    later = {
        inception(rrsig, now)
        for each in ahead.sets
        if each.rtype == DNSKEY and each.rdatas == view.dnskey_rdatas
        for rrsig in each.rrsigs
        if expiration(rrsig, now) > published_end
    }
    for at in sorted(later):
        found = ahead.best(DNSKEY, view.dnskey_rdatas, keys, max(at, now))
        if found is not None and min(expiration(rrsig, now) for rrsig in found.rrsigs) > published_end:
            return max(published_end - refresh_s, at)
    return None


def offline_key_id(rdata: bytes) -> str:
    """Return the id of an off-line key in the zone's key set; it has none at the key service."""
    return hashlib.sha256(rdata).hexdigest()[:32]


def offline_key(rdata: bytes, keystore: str, now: int) -> Key:
    """Return an off-line KSK as it joins the zone's keys."""
    return new_key(offline_key_id(rdata), Role.KSK, rdata[3], rdata[4:], keystore, now, _bits(rdata))


def _bits(rdata: bytes) -> int:
    """Return the size of an RSA key (RFC 3110 §2), 0 for other algorithms."""
    if rdata[3] not in RSA_ALGORITHMS:
        return 0
    exponent, start = (rdata[4], 5) if rdata[4] else (int.from_bytes(rdata[5:7]), 7)
    return int.from_bytes(rdata[start + exponent :]).bit_length()


def first_offline_ksk(ceremony: CeremonyState, keystore: str, algorithm: int, zone: str, now: int) -> Key:
    """Return the KSK that a new zone begins with: the first that a ceremony signed with. Raise Rejected."""
    for rdata in ceremony.ksks:
        if rdata[3] == algorithm:
            return offline_key(rdata, keystore, now)
    raise Rejected(
        EVENT,
        f"the KSK of {zone} is off-line, and no response of a ceremony was imported yet",
        f"dnssecd ksr export {zone} --from now --to +90d -o FILE; sign that at the ceremony; dnssecd skr import "
        "FILE",
    )
