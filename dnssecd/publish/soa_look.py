"""Ask a server for one RRset of a zone's apex, read from the wire form.

Every version of every zone is looked for at every secondary, and the daemon's event loop reads the answers. Objects for
all records and names take ten times as long as this: only the RRset that was asked for is read. A look that judges a
peer as a validator would (publish.served, publish.parent) reads all of the answer, with dnspython.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import lru_cache
from struct import Struct

import dns.rcode
import msgspec

from dnssecd.core.dns.message import AA, CLASS_IN, HEADER_SIZE, TYPE_OPT, FormError, parse
from dnssecd.core.dns.message_names import NameTable, skip_name
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrtypes import RRSIG, SOA
from dnssecd.core.dns.tsig import AnswerVerifier, TsigError, TsigKey, TsigPeerError, parse_rdata, sign_request
from dnssecd.publish.exchange import UNSIGNED, Asked, PeerKey, bad_answer, check_form

_FLAGS_AND_COUNTS = bytes.fromhex("0000 0001 0000 0000 0001")
#: EDNS version 0, 1,232 octets; without and with DO (RFC 6891 §6.1.2).
_OPT, _OPT_DO = bytes.fromhex("00 0029 04d0 00000000 0000"), bytes.fromhex("00 0029 04d0 00008000 0000")
_FIXED = Struct("!HHIH")
_RRSIG_HEAD = 18
#: Serial, refresh, retry, expire, minimum.
SOA_NUMBERS = 20
#: Flags, protocol, algorithm, and a key (RFC 4034 §2.1).
DNSKEY_OCTETS_MIN = 5


class ApexAnswer(msgspec.Struct, frozen=True):
    """A verified answer: the RDATA (uncompressed, names not changed otherwise) of the RRset that was asked for.

    ``signatures``: the RDATA of the RRSIGs over it, the signer's name in lower case. ``tsig_time``: epoch seconds.
    """

    flags: int
    rcode: str
    rdatas: tuple[bytes, ...]
    signatures: frozenset[bytes]
    tsig_time: int | None

    @property
    def authoritative(self) -> bool:
        """Tell whether the answer is authoritative for the zone."""
        return bool(self.flags & AA)


class ApexQuestion(Asked[ApexAnswer]):
    """A question for SOA or DNSKEY. ``zone``: absolute name; ``now``: epoch seconds."""

    def __init__(self, zone: str, rtype: int, now: Callable[[], float], *, dnssec: bool = False) -> None:
        self._name, self._rtype, self._now = text_to_wire(zone).lower(), rtype, now
        question = self._name + rtype.to_bytes(2) + CLASS_IN.to_bytes(2)
        opt = _OPT_DO if dnssec else _OPT
        self._plain = secrets.token_bytes(2) + _FLAGS_AND_COUNTS + question + opt
        self._signed: tuple[TsigKey, bytes] | None = None

    def wire(self, key: PeerKey | None) -> bytes:
        """Return the query, signed with a key."""
        self._signed = None
        if key is None:
            return self._plain
        signing = wire_key(key)
        signed, mac = sign_request(self._plain, signing, int(self._now()))
        self._signed = signing, mac
        return signed

    async def read(self, item: bytes, octets_max: int) -> ApexAnswer:
        """Return the verified answer; raise UnwantedAnswer or TsigPeerError."""
        check_form(item, octets_max)
        try:
            return self._read(item, self._verified(item))
        except TsigPeerError:
            raise
        except (FormError, TsigError) as error:
            raise bad_answer(item, str(error)) from error

    def _verified(self, item: bytes) -> int | None:
        """Verify the TSIG, if the question had one; return its time."""
        record = parse(item).tsig
        if self._signed is None:
            return None
        if record is None:
            raise bad_answer(item, UNSIGNED)
        verifier = AnswerVerifier(*self._signed)
        verifier.accept(item, int(self._now()))
        verifier.finish()
        return parse_rdata(item, record).time_signed

    def _read(self, item: bytes, tsig_time: int | None) -> ApexAnswer:
        names = NameTable(item, FormError)
        flags, questions, answers, *more = (
            int.from_bytes(item[at : at + 2]) for at in range(2, HEADER_SIZE, 2)
        )
        rdatas, signatures, extended = [], set(), 0
        position = HEADER_SIZE
        if questions:
            position = skip_name(item, position, FormError) + 4
        for number in range(answers + sum(more)):
            start, fixed = position, skip_name(item, position, FormError)
            rtype, rclass, ttl, octets = _FIXED.unpack_from(item, fixed)
            rdata, position = fixed + 10, fixed + 10 + octets
            if number >= answers:
                extended = ttl >> 24 if rtype == TYPE_OPT else extended
            elif rclass == CLASS_IN and rtype in (self._rtype, RRSIG) and names.read(start)[0] == self._name:
                if rtype == self._rtype:
                    rdatas.append(_plain_rdata(item, names, rtype, rdata, position))
                elif item[rdata : rdata + 2] == self._rtype.to_bytes(2):
                    signatures.add(_rrsig(item, names, rdata, position))
        rcode = dns.rcode.to_text(dns.rcode.Rcode(extended << 4 | flags & 15))
        return ApexAnswer(flags, rcode, tuple(dict.fromkeys(rdatas)), frozenset(signatures), tsig_time)


def _plain_rdata(item: bytes, names: NameTable, rtype: int, start: int, end: int) -> bytes:
    if rtype != SOA:
        if end - start < DNSKEY_OCTETS_MIN:
            raise FormError("RDATA is cut short")
        return item[start:end]
    mname, position = names.read(start)
    rname, position = names.read(position)
    if end - position != SOA_NUMBERS:
        raise FormError("an SOA has a wrong length")
    return mname + rname + item[position:end]


def _rrsig(item: bytes, names: NameTable, start: int, end: int) -> bytes:
    signer, position = names.read(start + _RRSIG_HEAD)
    if position > end:
        raise FormError("an RRSIG is cut short")
    return item[start : start + _RRSIG_HEAD] + signer + item[position:end]


@lru_cache(maxsize=256)
def wire_key(key: PeerKey) -> TsigKey:
    """Return a peer's key in wire form."""
    return TsigKey.make(key.name, key.algorithm, key.secret)
