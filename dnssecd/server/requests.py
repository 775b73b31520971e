"""The state of one request: its sender, its TSIG key, and the size limit of its answer."""

from __future__ import annotations

from collections.abc import Callable

from dnssecd.core.dns import message as m
from dnssecd.core.dns.tsig import AnswerSigner, TsigRdata
from dnssecd.server.acl import Address, Channel
from dnssecd.server.connections import Standing
from dnssecd.server.reply import PLAIN_UDP_SIZE, UDP_SIZE

#: Called with the proven standing of the sender, before the request is processed.
Proved = Callable[[Standing], None]


class Exchange:
    """One request until its answer."""

    __slots__ = (
        "address",
        "address_proven",
        "channel",
        "key",
        "message",
        "options",
        "proved",
        "signer",
        "transport",
        "tsig",
        "wire",
    )

    def __init__(
        self,
        wire: bytes,
        message: m.Message,
        address: Address,
        transport: str,
        proved: Proved | None,
        channel: Channel | None = None,
    ) -> None:
        """channel: the TLS connection that the request came on."""
        self.channel = channel
        #: EDNS options of the answer.
        self.options = b""
        #: Whether a cookie shows that the client receives answers at its address.
        self.address_proven = False
        self.wire = wire
        self.message = message
        self.address = address
        self.transport = transport
        self.key: bytes | None = None
        self.signer: AnswerSigner | None = None
        #: The verified TSIG record of ``key``.
        self.tsig: TsigRdata | None = None
        self.proved = proved

    def show(self, standing: Standing) -> None:
        """Report the proven standing of the sender."""
        if self.proved is not None:
            self.proved(standing)

    @property
    def reserve(self) -> int:
        """Return the octets that the answer must leave free for TSIG."""
        return 0 if self.signer is None else self.signer.reserve

    @property
    def size_max(self) -> int:
        """Return the octets that the answer may have before TSIG."""
        if self.transport == "tcp":
            return 65_535 - self.reserve
        edns = self.message.edns
        return (PLAIN_UDP_SIZE if edns is None else min(edns.udp_size, UDP_SIZE)) - self.reserve
