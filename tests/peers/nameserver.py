"""What the authoritative peers have in common: zones to hold, questions to answer, transfers to count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rdatatype

from tests.peers.process import LOOPBACK, ServerProcess, free_port, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.zones import axfr

QUERY_SECONDS = 2.0
PROBE_SECONDS = 0.1


@dataclass(frozen=True)
class SecondaryZone:
    """A zone held as a copy of what the primary at port ``primary`` on loopback serves; ``others``: further ones."""

    name: str
    primary: int
    tsig: TsigKey
    others: tuple[int, ...] = ()

    @property
    def primaries(self) -> tuple[int, ...]:
        return (self.primary, *self.others)


@dataclass(frozen=True)
class PrimaryZone:
    """A zone served from a master file to those who know ``tsig``; its secondaries get NOTIFY.

    notify: ports on loopback; updates: dynamic updates with ``tsig`` are taken.
    """

    name: str
    file: Path
    tsig: TsigKey
    notify: Sequence[int] = ()
    updates: bool = False


Zone = SecondaryZone | PrimaryZone


@dataclass(frozen=True)
class Transfers:
    """How often a zone came in whole and in differences, by the secondary's own account."""

    axfr: int
    ixfr: int


def ask(
    port: int, zone: str, rrtype: str, *, dnssec: bool = False, timeout: float = QUERY_SECONDS
) -> dns.message.Message | None:
    """The answer of a server on loopback over UDP, None when there is none; no retries."""
    query = dns.message.make_query(zone, rrtype, want_dnssec=dnssec)
    query.flags &= ~dns.flags.RD
    try:
        return dns.query.udp(query, LOOPBACK, timeout=timeout, port=port)
    except (dns.exception.DNSException, OSError):
        return None


def soa_serial_at(port: int, zone: str, timeout: float = QUERY_SECONDS) -> int | None:
    """The serial a server on loopback answers with, None while it has no such zone."""
    answer = ask(port, zone, "SOA", timeout=timeout)
    if answer is None or not answer.answer or answer.answer[0].rdtype != dns.rdatatype.SOA:
        return None
    return int(answer.answer[0][0].serial)


class Nameserver(ServerProcess):
    """An authoritative server on one loopback port."""

    def __init__(self, directory: Path, zones: Sequence[Zone], port: int | None = None) -> None:
        super().__init__(directory)
        self.zones = list(zones)
        self.port = port if port is not None else free_port()
        self.config_path = directory / f"{self.name}.conf"

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def keys(self) -> list[TsigKey]:
        """Each TSIG key the zones use, once."""
        return list({zone.tsig.name: zone.tsig for zone in self.zones}.values())

    def configuration(self) -> str:
        raise NotImplementedError

    def spawn(self) -> None:
        self.config_path.write_text(self.configuration())
        super().spawn()

    def is_ready(self) -> bool:
        """Ready is: answers anything, REFUSED and SERVFAIL included; its zones may still be on their way."""
        zone = self.zones[0].name if self.zones else "."
        return ask(self.port, zone, "SOA", timeout=PROBE_SECONDS) is not None

    def serial(self, zone: str) -> int | None:
        return soa_serial_at(self.port, zone)

    def wait_serial(self, zone: str, serial: int, timeout: float = 30.0) -> None:
        """Return once the server answers with ``serial``; PeerError after ``timeout`` seconds."""
        what = f"{self.name} serves {zone} at serial {serial} (last: {self.serial(zone)})"
        wait_until(lambda: self.serial(zone) == serial, what, timeout)

    def zone_content(self, zone: str) -> set[str]:
        """The canonical lines of the zone as it is served."""
        key = next(each.tsig for each in self.zones if each.name == zone)
        return axfr(self.port, zone, key, self.directory)

    def transfers(self, zone: str) -> Transfers:
        """Transfers into this secondary so far, counted in its log."""
        raise NotImplementedError
