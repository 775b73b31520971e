"""The check before a zone's first publication: whether secondaries or the parent show another signer."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrtypes import DNSKEY
from dnssecd.core.dns.serial import is_after
from dnssecd.core.keys.keyset import key_tag
from dnssecd.publish.exchange import Peer, Timing, ask
from dnssecd.publish.parent import DsRecord, ParentAnswer, ask_all_ds
from dnssecd.publish.soa_look import ApexQuestion
from dnssecd.publish.watch import sight

_REVOKE = 0x0080
_DIGESTS = {1: "sha1", 2: "sha256", 4: "sha384"}


class ForeignKey(Struct, frozen=True):
    """A DNSKEY that a server serves and that is not one of our keys; ``rdata`` in wire form."""

    server: str
    rdata: bytes
    key_tag: int
    algorithm: int


class ForeignDs(Struct, frozen=True):
    """A DS that a server of the parent serves and that none of our keys matches."""

    server: str
    ds: DsRecord


class FirstCheck(Struct, frozen=True):
    """The result. Publishing is safe only if :attr:`foreign` is empty and the parent answered.

    ``highest_serial``: the latest serial that any secondary serves, or None. ``unreachable``: (server, why)
    of the secondaries that did not answer; ``parent_failures``: the same of the parent's servers;
    ``parent_answers``: how many of those answered. A secondary that answers but does not serve the zone is in
    no list.
    """

    highest_serial: int | None
    foreign_keys: tuple[ForeignKey, ...]
    foreign_ds: tuple[ForeignDs, ...]
    unreachable: tuple[tuple[str, str], ...]
    parent_answers: int
    parent_failures: tuple[tuple[str, str], ...]
    ds_seen: tuple[ParentAnswer, ...] = ()

    @property
    def foreign(self) -> bool:
        """Tell whether another signer signs this zone already."""
        return bool(self.foreign_keys or self.foreign_ds)


async def first_check(
    zone: str,
    secondaries: Sequence[Peer],
    parent_servers: Sequence[Peer],
    our_keys: Iterable[bytes],
    now: Callable[[], float],
    timing: Timing | None = None,
) -> FirstCheck:
    """Ask secondaries (SOA, DNSKEY) and the parent's servers (DS).

    our_keys: DNSKEY RDATA of every key that dnssecd holds for the zone. Keys are compared by algorithm and
    public key, without the REVOKE bit; DS by digest. Faults of peers do not raise.
    """
    keys = list(our_keys)
    sightings, key_answers, answers = await asyncio.gather(
        asyncio.gather(*(sight(zone, peer, now, timing) for peer in secondaries)),
        asyncio.gather(*(_dnskeys(zone, peer, now, timing) for peer in secondaries)),
        ask_all_ds(zone, parent_servers, now, timing),
    )
    serials = [sighting.serial for sighting in sightings if sighting.serial is not None]
    return FirstCheck(
        highest_serial=_latest(serials),
        foreign_keys=tuple(key for some in key_answers for key in some if not _is_ours(key.rdata, keys)),
        foreign_ds=tuple(
            ForeignDs(answer.server, ds)
            for answer in answers
            for ds in answer.ds or ()
            if not any(ds_matches(ds, key, zone) for key in keys)
        ),
        unreachable=tuple((s.server, s.detail) for s in sightings if not s.reachable),
        parent_answers=sum(answer.ds is not None for answer in answers),
        parent_failures=tuple((answer.server, answer.failure) for answer in answers if answer.ds is None),
        ds_seen=tuple(answers),
    )


async def _dnskeys(
    zone: str, peer: Peer, now: Callable[[], float], timing: Timing | None
) -> list[ForeignKey]:
    """Return the DNSKEY RRset that a server serves, each key as a ForeignKey."""
    reply = await ask(peer, ApexQuestion(zone, DNSKEY, now), timing)
    rdatas = () if reply.answer is None else reply.answer.rdatas
    return [ForeignKey(peer.name, rdata, key_tag(rdata), rdata[3]) for rdata in rdatas]


def _latest(serials: list[int]) -> int | None:
    latest: int | None = None
    for serial in serials:
        if latest is None or is_after(serial, latest):
            latest = serial
    return latest


def _is_ours(rdata: bytes, keys: Iterable[bytes]) -> bool:
    """Compare everything except the flags, because the REVOKE and SEP bits may change."""
    return any(rdata[2:] == key[2:] for key in keys)


def ds_matches(ds: DsRecord, dnskey: bytes, zone: str) -> bool:
    """Tell whether ``ds`` names the key (RFC 4034 §5.1.4); an unknown digest type matches nothing."""
    if ds.digest_type not in _DIGESTS or ds.algorithm != dnskey[3]:
        return False
    for flags in {dnskey[:2], (int.from_bytes(dnskey[:2], "big") & ~_REVOKE).to_bytes(2, "big")}:
        data = text_to_wire(zone) + flags + dnskey[2:]
        if hashlib.new(_DIGESTS[ds.digest_type], data, usedforsecurity=False).digest() == ds.digest:
            return True
    return False
