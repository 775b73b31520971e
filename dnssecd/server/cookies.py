"""DNS cookies of the server side (RFC 7873), in the interoperable form (RFC 9018): they prove a client's address.

A client that returns its server cookie has received an answer at its address, so its large UDP answers are not
truncated (server.answer_budget). No client is refused for lack of a cookie. The secret lives as long as the
process.
"""

from __future__ import annotations

import hmac
from struct import Struct

from dnssecd.server.acl import Address

CLIENT_OCTETS = 8
_SERVER_OCTETS = 16
_VERSION = 1
#: A server cookie is accepted up to this age, and up to this far in the future (RFC 9018 §4.3), seconds.
AGE_MAX_S = 3600
#: A younger one is sent back as it is, which saves a computation.
RENEW_S = 1800
AHEAD_MAX_S = 300
_HEAD = Struct("!BxxxI")
_MASK = (1 << 64) - 1


class Cookies:
    """Makes and checks server cookies; secret: 16 octets."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def answer(self, cookie: bytes, address: Address, now: float) -> tuple[bytes, bool]:
        """Return the data of COOKIE for an answer, and whether the request's server cookie is valid."""
        valid = len(cookie) > CLIENT_OCTETS and self.is_valid(cookie, address, now)
        if valid and _age_s(cookie[CLIENT_OCTETS:], now) < RENEW_S:
            return cookie, True
        return self.make(cookie, address, now), valid

    def make(self, cookie: bytes, address: Address, now: float) -> bytes:
        """Return the COOKIE option's data for an answer: the client's cookie and a new server cookie."""
        client = cookie[:CLIENT_OCTETS]
        head = _HEAD.pack(_VERSION, int(now) & 0xFFFFFFFF)
        return client + head + self._hash(client, head, address)

    def is_valid(self, cookie: bytes, address: Address, now: float) -> bool:
        """Tell whether the option's data of a request has a server cookie that was given to this client."""
        client, server = cookie[:CLIENT_OCTETS], cookie[CLIENT_OCTETS:]
        if len(server) != _SERVER_OCTETS or server[0] != _VERSION:
            return False
        if not -AHEAD_MAX_S <= _age_s(server, now) <= AGE_MAX_S:
            return False
        return hmac.compare_digest(server[8:], self._hash(client, server[:8], address))

    def _hash(self, client: bytes, head: bytes, address: Address) -> bytes:
        return siphash24(self._secret, client + head + address.packed)


def _age_s(server: bytes, now: float) -> int:
    """Return the age of a server cookie, by RFC 1982 arithmetic: the field has 32 bits."""
    return (int(now) - int.from_bytes(server[4:8], "big") + 2**31) % 2**32 - 2**31


def siphash24(key: bytes, data: bytes) -> bytes:
    """Return the SipHash-2-4 of ``data``: eight octets, as RFC 9018 writes them. key: 16 octets."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    state = (
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    )
    padded = data + bytes(-(len(data) + 1) % 8) + bytes((len(data) & 255,))
    for position in range(0, len(padded), 8):
        word = int.from_bytes(padded[position : position + 8], "little")
        a, b, c, d = state
        a, b, c, d = _rounds((a, b, c, d ^ word), 2)
        state = a ^ word, b, c, d
    a, b, c, d = state
    a, b, c, d = _rounds((a, b, c ^ 0xFF, d), 4)
    return (a ^ b ^ c ^ d).to_bytes(8, "little")


def _rounds(state: tuple[int, int, int, int], number: int) -> tuple[int, int, int, int]:
    a, b, c, d = state
    for _ in range(number):
        a = (a + b) & _MASK
        b = (b << 13 | b >> 51) & _MASK ^ a
        a = (a << 32 | a >> 32) & _MASK
        c = (c + d) & _MASK
        d = (d << 16 | d >> 48) & _MASK ^ c
        a = (a + d) & _MASK
        d = (d << 21 | d >> 43) & _MASK ^ a
        c = (c + b) & _MASK
        b = (b << 17 | b >> 47) & _MASK ^ c
        c = (c << 32 | c >> 32) & _MASK
    return a, b, c, d
