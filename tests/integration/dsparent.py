"""A parent zone on a real server for tests of DS automation: `test.`, which delegates `small.test.`."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from tests.integration.smallzone import ZONE
from tests.peers.named import Named
from tests.peers.nameserver import Nameserver, PrimaryZone, ask
from tests.peers.process import LOOPBACK, free_port
from tests.peers.tsig import TsigKey

PARENT = "test."
SCANNER = "scanner.test."


def parent_zone(extra: str = "", ttl: int = 1, name: str = PARENT, child: str = "small") -> str:
    """A master file of the parent; TTLs and negative TTL of ``ttl`` seconds."""
    return (
        f"$ORIGIN {name}\n$TTL {ttl}\n@ SOA ns me 1 3600 600 604800 {ttl}\n@ NS ns\nns A 127.0.0.1\n"
        f"scanner A {LOOPBACK}\n{child} NS ns1.{child}\nns1.{child} A {LOOPBACK}\nother NS ns.other\n"
        f"ns.other A {LOOPBACK}\n{extra}"
    )


def dsync(port: int, owner: str = "small._dsync", rrtype: str = "CDS", target: str = SCANNER) -> str:
    """A DSYNC record in RFC 3597 form: named 9.18 does not know the type."""
    rdata = (
        struct.pack("!HBH", dns.rdatatype.from_text(rrtype), 1, port) + dns.name.from_text(target).to_wire()
    )
    return f"{owner} TYPE66 \\# {len(rdata)} {rdata.hex()}\n"


def parent_server(
    home: Path,
    key: TsigKey,
    text: str | None = None,
    *,
    kind: type[Nameserver] = Named,
    port: int | None = None,
) -> Nameserver:
    """A server (not started) that is the parent's primary and takes updates signed with ``key``."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "parent.zone"
    path.write_text(text or parent_zone())
    return kind(home, [PrimaryZone(PARENT, path, key, updates=True)], port)


def ds_at(port: int, zone: str = ZONE) -> dict[bytes, int]:
    """DS RDATA → TTL as a server on loopback answers with; PeerError's job is the caller's: {} for none."""
    answer = ask(port, zone, "DS")
    if answer is None:
        return {}
    rrset = answer.get_rrset(answer.answer, dns.name.from_text(zone), dns.rdataclass.IN, dns.rdatatype.DS)
    return {} if rrset is None else {record.to_digestable(): rrset.ttl for record in rrset}


@dataclass(eq=False)
class NotifyReceiver(asyncio.DatagramProtocol):
    """The parent's endpoint for NOTIFY(CDS) (RFC 9859): keeps what it gets and acknowledges it.

    lose: so many datagrams are dropped first.
    """

    port: int = field(default_factory=free_port)
    lose: int = 0
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    got: list[dns.message.Message] = field(default_factory=list)
    transport: asyncio.DatagramTransport | None = None

    async def start(self) -> NotifyReceiver:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(LOOPBACK, self.port)
        )
        return self

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.lose > 0:
            self.lose -= 1
            return
        message = dns.message.from_wire(data)
        self.got.append(message)
        answer = dns.message.make_response(message)
        answer.set_opcode(dns.opcode.NOTIFY)
        answer.flags |= dns.flags.AA
        answer.set_rcode(self.rcode)
        assert self.transport is not None
        self.transport.sendto(answer.to_wire(), addr)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()
