"""One connection to the key service without its socket: frames in, frames out. Both clients are shells around it.

:class:`ClientCore` numbers requests, keeps those under way, cuts frames out of what was received, joins each reply to
its request and turns everything that can go wrong into a :class:`SignerError`. It knows no socket and no clock: the
shell moves octets, passes the time in, and connects when :meth:`ClientCore.check_breaker` lets it.

    core.check_breaker()                       # SignerUnreachable while the service is known to be down
    core.connected()                           # hello, then all that is still under way, are in `outgoing`
    ticket = core.submit(core.prepare(request), now)
    ... send core.outgoing, core.sent(count, now); core.receive(octets, now) ...
    reply = core.take(ticket, KeysReply)       # once core.is_done(ticket)
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Struct

from dnssecd import keyservice_protocol as wp
from dnssecd.breaker import Breaker
from dnssecd.keyservice_client.errors import (
    BadRequest,
    SignerBroken,
    SignerBusy,
    SignerTimeout,
    SignerUnreachable,
    error_from_reply,
    nobody_there,
)

R = TypeVar("R", bound=wp.Message)
UNDER_WAY_MAX = 1024
_HELLO_ID = 1  # 0 stands for the connection as a whole
_REPEATABLE = (
    wp.HelloRequest,
    wp.StatusRequest,
    wp.KeysRequest,
    wp.SignRequest,
    wp.ProveRequest,
    wp.AuditRequest,
    wp.BindRequest,
    wp.TrashRequest,
    wp.ConsentsRequest,
)


class Prepared(Struct, frozen=True):
    """A request with its number, and its frame."""

    request: wp.Request
    frame: bytes


class ClientCore:
    """The state of one client's connection; ``path`` names the service in errors.

    ``deadline_s`` is the longest wait without progress. ``breaker`` outlives connections.
    """

    def __init__(self, path: str, deadline_s: float, breaker: Breaker) -> None:
        self._path = path
        self._deadline_s = deadline_s
        self._breaker = breaker
        self._frames = wp.frame_buffer()
        self._last_id = _HELLO_ID
        self._under_way: dict[int, wp.Request] = {}
        self._done: dict[int, tuple[wp.Request, wp.Reply]] = {}
        self._progress_at = 0.0
        self._repeated = False
        self.outgoing = bytearray()

    @property
    def under_way(self) -> int:
        """The number of requests that no reply has come for."""
        return len(self._under_way)

    @property
    def breaker_state(self) -> str:
        """``closed``, ``open`` or ``half-open``."""
        return self._breaker.state

    # Requests and replies

    def prepare(self, request: wp.Request) -> Prepared:
        """Return a request numbered and encoded; BadRequest: it is too large; SignerBusy: too many are under way."""
        self._last_id += 1
        numbered = msgspec.structs.replace(request, id=self._last_id)
        try:
            frame = wp.encode_frame(numbered)
        except wp.FrameError as error:
            raise BadRequest(str(error)) from None
        if len(self._under_way) >= UNDER_WAY_MAX:
            raise SignerBusy(f"{UNDER_WAY_MAX} requests wait for the key service already", retry_in_s=1.0)
        return Prepared(numbered, frame)

    def submit(self, prepared: Prepared, now: float) -> int:
        """Put a prepared request into ``outgoing``; return the ticket that `take` wants."""
        if not self._under_way:
            self._progress_at = now
            self._repeated = False
        ticket = prepared.request.id
        self._under_way[ticket] = prepared.request
        self.outgoing += prepared.frame
        return ticket

    def sent(self, octets: int, now: float) -> None:
        """Drop the first ``octets`` of ``outgoing``: the socket has taken them, which is progress."""
        del self.outgoing[:octets]
        self._progress_at = now

    def receive(self, octets: bytes, now: float) -> list[int]:
        """Take in what was received; return the tickets that are done by it.

        FrameError when it is not this protocol or the service ends the conversation; the connection is of no more
        use then.
        """
        return [
            reply.id
            for body in self._frames.feed(octets)
            if self._accept(reply := wp.decode_reply(body), now)
        ]

    def _accept(self, reply: wp.Reply, now: float) -> bool:
        self._progress_at = now
        self._breaker.succeeded()
        request = self._under_way.pop(reply.id, None)
        if reply.id <= _HELLO_ID and isinstance(reply, wp.ErrorReply):
            raise wp.ProtocolError(reply.message)
        if request is None:
            return False  # hello, or one that was given up
        self._done[reply.id] = (request, reply)
        return True

    def is_done(self, ticket: int) -> bool:
        """Tell whether a reply has come; BadRequest when none is to be expected."""
        if ticket in self._done:
            return True
        if ticket not in self._under_way:
            raise BadRequest(f"ticket {ticket} is not under way")
        return False

    def take(self, ticket: int, kind: type[R]) -> R:
        """Return a reply that is done, once. Raise the error it stands for, or SignerBroken when it does not fit.

        After SignerBroken the shell must close the connection: nothing is under way any more.
        """
        request, reply = self._done.pop(ticket)
        if isinstance(reply, wp.ErrorReply):
            raise error_from_reply(reply)
        if not isinstance(reply, kind):
            raise self.broken(f"{type(reply).__name__} in answer to {type(request).__name__}")
        if isinstance(request, wp.SignRequest) and isinstance(reply, wp.SignReply):
            wanted, found = len(request.preimages), len(reply.signatures)
            if wanted != found:
                raise self.broken(f"{found} signatures for {wanted} preimages")
        return reply

    def forget(self, ticket: int) -> None:
        """Give up a request; its reply is dropped when it comes."""
        self._done.pop(ticket, None)
        self._under_way.pop(ticket, None)

    # Connections

    def check_breaker(self) -> None:
        """Raise SignerUnreachable, with the seconds to wait, while no connection should be tried."""
        wait_s = self._breaker.wait_s()
        if wait_s > 0:
            self.drop()
            raise SignerUnreachable(
                f"the key service at {self._path} is down; next try in {wait_s:.1f} s", retry_in_s=wait_s
            )

    def connected(self) -> None:
        """Begin a connection: ``outgoing`` is hello, then every request that is still under way."""
        self._frames = wp.frame_buffer()
        requests = (wp.HelloRequest(_HELLO_ID), *self._under_way.values())
        self.outgoing[:] = b"".join(map(wp.encode_frame, requests))

    def cannot_connect(self, error: OSError) -> SignerUnreachable:
        """Return the error of a connection that could not be made."""
        self.drop(failed=not nobody_there(error))
        return SignerUnreachable(
            f"cannot reach the key service at {self._path}: {error.strerror or error};"
            " is `dnssecd signer` running, and may this user use its socket?"
        )

    def interrupted(self, why: str) -> None:
        """After a connection broke: return when all that is under way may be sent again, else raise.

        It is sent again once, and only where a second time does no harm. Otherwise nothing is under way any more
        and SignerUnreachable is raised.
        """
        if self._repeated or not all(map(_is_repeatable, self._under_way.values())):
            self.drop(failed=True)
            raise self.loss(why)
        self._repeated = True

    def drop(self, *, failed: bool = False) -> None:
        """Give up all that is under way. ``failed``: it counts for the breaker."""
        self._under_way.clear()
        self.outgoing.clear()
        if failed:
            self._breaker.failed()

    def loss(self, why: str) -> SignerUnreachable:
        """Return the error of a request whose connection was lost."""
        return SignerUnreachable(f"lost the key service at {self._path}: {why}")

    def broken(self, why: str) -> SignerBroken:
        """Give up all that is under way, since the service does not speak the protocol; return the error."""
        self.drop(failed=True)
        return SignerBroken(f"the key service at {self._path} does not speak our protocol: {why}")

    def wait_begins(self, now: float) -> None:
        """Begin to wait for a reply: what the caller did since the last progress was not the service's delay."""
        self._progress_at = now

    def left_s(self, now: float) -> float:
        """Return the seconds that are left until the deadline without progress; 0 or less: `timed_out`."""
        return self._progress_at + self._deadline_s - now

    def timed_out(self) -> SignerTimeout:
        """Return the error of a deadline that passed. What is under way stays so."""
        self._breaker.failed()
        return SignerTimeout(
            f"the key service at {self._path} gave no answer within {self._deadline_s:g} s;"
            " see `dnssecd keystore test` and the signer's log"
        )


def _is_repeatable(request: wp.Request) -> bool:
    """Tell whether sending a request a second time, not knowing the fate of the first, does no harm."""
    return isinstance(request, _REPEATABLE) or (
        isinstance(request, wp.GenerateRequest) and bool(request.idempotency)
    )
