"""One request on its way to an answer: who sent it, by which key, and how large the answer may be."""

from __future__ import annotations

from collections.abc import Callable

from dnssecd.core.dns import message as m
from dnssecd.core.dns.tsig import AnswerSigner, TsigRdata
from dnssecd.server.acl import Address
from dnssecd.server.connections import Standing
from dnssecd.server.reply import PLAIN_UDP_SIZE, UDP_SIZE

#: Is called with what the sender of a request has shown to be, before the request is carried out.
Proved = Callable[[Standing], None]


class Exchange:
    """One request on its way to an answer."""

    __slots__ = ("address", "key", "message", "proved", "signer", "transport", "tsig", "wire")

    def __init__(
        self, wire: bytes, message: m.Message, address: Address, transport: str, proved: Proved | None
    ) -> None:
        self.wire = wire
        self.message = message
        self.address = address
        self.transport = transport
        self.key: bytes | None = None
        self.signer: AnswerSigner | None = None
        #: The record that proves ``key``.
        self.tsig: TsigRdata | None = None
        self.proved = proved

    def show(self, standing: Standing) -> None:
        """Report what the sender has shown to be."""
        if self.proved is not None:
            self.proved(standing)

    @property
    def reserve(self) -> int:
        return 0 if self.signer is None else self.signer.reserve

    @property
    def size_max(self) -> int:
        """Octets the answer may take before TSIG."""
        if self.transport == "tcp":
            return 65_535 - self.reserve
        edns = self.message.edns
        return (PLAIN_UDP_SIZE if edns is None else min(edns.udp_size, UDP_SIZE)) - self.reserve
