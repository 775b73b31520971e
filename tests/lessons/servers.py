"""A server that answers what it is told, over UDP on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset

from dnssecd.publish.exchange import Peer


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, rrsets: Mapping[dns.rdatatype.RdataType, dns.rrset.RRset]) -> None:
        self._rrsets = rrsets

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        found = self._rrsets.get(query.question[0].rdtype)
        if found is not None:
            answer.answer.append(found)
        self._transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def answering(rrsets: Mapping[dns.rdatatype.RdataType, dns.rrset.RRset]) -> AsyncIterator[Peer]:
    """Serve these RRsets, by type, whatever name is asked for."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Answers(rrsets), local_addr=("127.0.0.1", 0))
    host, port = transport.get_extra_info("sockname")
    try:
        yield Peer("live", host, port)
    finally:
        transport.close()
