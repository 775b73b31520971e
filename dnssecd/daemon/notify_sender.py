"""Send one NOTIFY (RFC 1996) as wire bytes, so that it adds little time between commit and the secondary's query.

It uses the server's TSIG code; with dnspython's objects the NOTIFY of a commit waited for milliseconds.
"""

import asyncio
import secrets
from collections.abc import Callable

import dns.rcode

from dnssecd.core.dns.message import AA, HEADER_SIZE, NOTIFY, QR, FormError, parse
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrtypes import CLASS_IN, SOA
from dnssecd.core.dns.tsig import AnswerVerifier, TsigError, TsigPeerError, sign_request
from dnssecd.publish.answerform import UDP_OCTETS_MAX, UnwantedAnswer
from dnssecd.publish.exchange import Peer, PeerKey, Timing, ask_udp, rejected_tsig
from dnssecd.publish.notify import Goal, NotifyOutcome, NotifyResult
from dnssecd.publish.soa_look import wire_key
from dnssecd.publish.tls_client import HANDSHAKE_S, TlsTarget, client
from dnssecd.tls import TlsFailed

_FLAGS = (NOTIFY << 11 | AA).to_bytes(2)
_COUNTS, _COUNTS_WITHOUT_SOA = b"\0\1\0\1\0\0\0\0", b"\0\1\0\0\0\0\0\0"
_POINTER_TO_QUESTION = b"\xc0\x0c"
_TYPE_AND_CLASS = SOA.to_bytes(2) + CLASS_IN.to_bytes(2)


def notify_wire(zone: str, goal: Goal, message_id: bytes) -> bytes:
    """Return the NOTIFY for a version: AA set, the SOA, if it is given, in the answer section (RFC 1996 §3.7)."""
    question = text_to_wire(zone).lower() + _TYPE_AND_CLASS
    if not goal.soa:
        return message_id + _FLAGS + _COUNTS_WITHOUT_SOA + question
    soa = _TYPE_AND_CLASS + goal.ttl.to_bytes(4) + len(goal.soa).to_bytes(2) + goal.soa
    return message_id + _FLAGS + _COUNTS + question + _POINTER_TO_QUESTION + soa


class NotifySender:
    """Sends NOTIFYs (publish.notify.Announce); ``now`` gives epoch seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    async def __call__(self, zone: str, peer: Peer, goal: Goal, timing: Timing | None) -> NotifyOutcome:
        """Send one NOTIFY and return the outcome; faults of the peer do not raise."""
        unsigned = notify_wire(zone, goal, secrets.token_bytes(2))
        outcome = NotifyOutcome(NotifyResult.ERROR, "not sent")
        for key in peer.notify_keys:
            outcome = await self._send(peer, unsigned, key, timing or Timing())
            if outcome.result is not NotifyResult.REFUSED or not outcome.rejects_key:
                break
        return outcome

    async def _send(self, peer: Peer, wire: bytes, key: PeerKey | None, timing: Timing) -> NotifyOutcome:
        signed = None
        if key is not None:
            wire, mac = sign_request(wire, wire_key(key), int(self._now()))
            signed = key, mac
        try:
            if peer.tls is not None:
                return await self._send_tls(peer.tls, wire, signed, timing)
            return await ask_udp(peer, wire, lambda item: self._judge(item, wire, signed), timing)
        except TimeoutError:
            return NotifyOutcome(NotifyResult.TIMEOUT, "no answer in time")
        except (OSError, TlsFailed) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            return NotifyOutcome(NotifyResult.ERROR, reason or str(error) or type(error).__name__)
        except asyncio.IncompleteReadError:
            return NotifyOutcome(NotifyResult.ERROR, "the connection was closed before the answer")
        except UnwantedAnswer as error:
            return NotifyOutcome(NotifyResult.ERROR, str(error))

    async def _send_tls(
        self, target: TlsTarget, wire: bytes, signed: tuple[PeerKey, bytes] | None, timing: Timing
    ) -> NotifyOutcome:
        async with asyncio.timeout(timing.tcp_s + HANDSHAKE_S):
            item, _ = await client().ask(target, wire, UDP_OCTETS_MAX)
        outcome = self._judge(item, wire, signed)
        if outcome is None:
            raise UnwantedAnswer("it answers another question")
        return outcome

    def _judge(
        self, item: bytes, request: bytes, signed: tuple[PeerKey, bytes] | None
    ) -> NotifyOutcome | None:
        """Judge an answer; None for a datagram that is not one; raise UnwantedAnswer if its TSIG does not verify.

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
                verifier = AnswerVerifier(wire_key(signed[0]), signed[1])
                verifier.accept(item, int(self._now()))
                verifier.finish()
        except TsigPeerError as error:
            return NotifyOutcome(
                NotifyResult.REFUSED,
                rejected_tsig(signed[0] if signed else None, error.code),
                rejects_key=error.code in ("BADKEY", "BADSIG"),
            )
        except (FormError, TsigError) as error:
            raise UnwantedAnswer(f"bad answer ({rcode}): {error}") from error
        answered = NotifyResult.ANSWERED if rcode == "NOERROR" else NotifyResult.REFUSED
        return NotifyOutcome(answered, rcode)
