"""A daemon with a zone from primaries that send whatever a test wants, each RR built by hand."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dnssecd.core.dns.tsig import TsigKey as OurKey
from tests.integration.test_transfers_in import Upstream, start_daemon
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.unit.xfrin import streams as s
from tests.unit.xfrin.liar import Liar, answers, ixfr_answers, rcode, running
from tests.unit.xfrin.streams import RR


def _pieces(rrs: Sequence[RR]) -> list[Sequence[RR]]:
    """The RRs of an answer as its messages have them."""
    return [rrs[at : at + 100] for at in range(0, len(rrs), 100)]


class Scripted(Liar):
    """A primary with a whole zone, and differences to it from one serial."""

    def offer(self, serial: int, zone: Sequence[RR]) -> None:
        """Have a zone, and no differences."""
        self.serial = serial
        self.ixfr = rcode(4, s.IXFR)
        self.axfr = answers(*_pieces([s.soa(serial), *zone, s.soa(serial)]))

    def offer_difference(self, before: int, deleted: Sequence[RR], added: Sequence[RR]) -> None:
        """Have differences from ``before`` to the zone."""
        now = s.soa(self.serial)
        self.ixfr = ixfr_answers(*_pieces([now, s.soa(before), *deleted, now, *added, now]))


@contextmanager
def upstreams(
    servers: Servers, home: Path, key: TsigKey, zone: Sequence[RR], number: int = 1
) -> Iterator[tuple[Upstream, list[Scripted]]]:
    """Run a daemon that has the zone, at serial 7, from so many primaries."""
    with ExitStack() as stack:
        ours = OurKey.make(key.name, key.algorithm, base64.b64decode(key.secret))
        primaries = [stack.enter_context(_running(Scripted(ours))) for _ in range(number)]
        for primary in primaries:
            primary.offer(7, zone)
        upstream = start_daemon(servers, home, key, [p.port for p in primaries], name=s.ZONE)
        assert upstream.daemon.wait_serial_other_than(s.ZONE, None) == 7
        for primary in primaries:
            primary.asked.clear()
        yield upstream, primaries


@contextmanager
def _running(primary: Scripted) -> Iterator[Scripted]:
    with running(primary):
        yield primary


def reload(upstream: Upstream) -> str:
    """Have the daemon look at its primaries now; what the command says."""
    done = upstream.daemon.cli("zone", "reload", s.ZONE)
    return done.out + done.err


def input_serial(upstream: Upstream) -> int:
    """The primaries' serial of what is published."""
    return int(upstream.daemon.zone_status(s.ZONE)["input_serial"])


def wait_events(upstream: Upstream, names: set[str]) -> dict[str, str]:
    """Wait until exactly these events fire; their causes."""
    wait_until(lambda: upstream.events().keys() == names or None, f"events {names}", 20)
    return upstream.events()
