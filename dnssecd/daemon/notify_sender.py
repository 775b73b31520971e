"""Sends one NOTIFY (RFC 1996), on wire bytes: what stands between a commit and the secondary's question takes no time.

It uses the server's own TSIG code: for the same through dnspython's objects a commit's NOTIFY waited milliseconds.
"""

import secrets
from collections.abc import Callable
from functools import lru_cache

import dns.rcode

from dnssecd.core.dns.message import AA, HEADER_SIZE, NOTIFY, QR, FormError, parse
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrtypes import CLASS_IN, SOA
from dnssecd.core.dns.tsig import AnswerVerifier, TsigError, TsigKey, TsigPeerError, sign_request
from dnssecd.publish.answerform import UDP_OCTETS_MAX, UnwantedAnswer
from dnssecd.publish.exchange import Peer, PeerKey, Timing, ask_udp, rejected_tsig
from dnssecd.publish.notify import Goal, NotifyOutcome, NotifyResult

_FLAGS = (NOTIFY << 11 | AA).to_bytes(2)
_COUNTS = b"\0\1\0\1\0\0\0\0"
_POINTER_TO_QUESTION = b"\xc0\x0c"
_TYPE_AND_CLASS = SOA.to_bytes(2) + CLASS_IN.to_bytes(2)


def notify_wire(zone: str, goal: Goal, message_id: bytes) -> bytes:
    """Return the NOTIFY for a version: AA set, the SOA in the answer section (RFC 1996 §3.7)."""
    soa = _TYPE_AND_CLASS + goal.ttl.to_bytes(4) + len(goal.soa).to_bytes(2) + goal.soa
    head = message_id + _FLAGS + _COUNTS
    return head + text_to_wire(zone).lower() + _TYPE_AND_CLASS + _POINTER_TO_QUESTION + soa


class NotifySender:
    """Sends NOTIFYs (publish.notify.Announce); ``now`` gives epoch seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    async def __call__(self, zone: str, peer: Peer, goal: Goal, timing: Timing | None) -> NotifyOutcome:
        """Send one NOTIFY and return what came of it; never raises for what the peer does."""
        wire = notify_wire(zone, goal, secrets.token_bytes(2))
        signed = None
        if peer.notify_key is not None:
            wire, mac = sign_request(wire, _tsig_key(peer.notify_key), int(self._now()))
            signed = peer.notify_key, mac
        try:
            return await ask_udp(peer, wire, lambda item: self._judge(item, wire, signed), timing or Timing())
        except TimeoutError:
            return NotifyOutcome(NotifyResult.TIMEOUT, "no answer in time")
        except OSError as error:
            return NotifyOutcome(NotifyResult.ERROR, error.strerror or str(error) or type(error).__name__)
        except UnwantedAnswer as error:
            return NotifyOutcome(NotifyResult.ERROR, str(error))

    def _judge(
        self, item: bytes, request: bytes, signed: tuple[PeerKey, bytes] | None
    ) -> NotifyOutcome | None:
        """Judge an answer, None for what is none; UnwantedAnswer where TSIG does not vouch for it.

        signed: the key and the MAC of the request.
        """
        if len(item) < HEADER_SIZE or item[:2] != request[:2]:
            return None
        flags = int.from_bytes(item[2:4])
        if not flags & QR or flags >> 11 & 15 != NOTIFY:
            return None
        rcode = dns.rcode.to_text(dns.rcode.Rcode(flags & 15))
        if len(item) > UDP_OCTETS_MAX:
            raise UnwantedAnswer(f"bad answer ({rcode}): longer than {UDP_OCTETS_MAX:,} octets")
        try:
            answer = parse(item)
            if answer.question and answer.question.lower() != request[HEADER_SIZE:][: len(answer.question)]:
                return None
            if signed is not None:
                verifier = AnswerVerifier(_tsig_key(signed[0]), signed[1])
                verifier.accept(item, int(self._now()))
                verifier.finish()
        except TsigPeerError as error:
            return NotifyOutcome(
                NotifyResult.REFUSED, rejected_tsig(signed[0] if signed else None, error.code)
            )
        except (FormError, TsigError) as error:
            raise UnwantedAnswer(f"bad answer ({rcode}): {error}") from error
        answered = NotifyResult.ANSWERED if rcode == "NOERROR" else NotifyResult.REFUSED
        return NotifyOutcome(answered, rcode)


@lru_cache(maxsize=256)
def _tsig_key(key: PeerKey) -> TsigKey:
    return TsigKey.make(key.name, key.algorithm, key.secret)
