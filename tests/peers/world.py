"""A whole world on loopback: one zone file, the daemon, and NSD, Knot and BIND as its secondaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file, secondaries_of
from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.nameserver import Nameserver
from tests.peers.nsd import Nsd
from tests.peers.process import Servers
from tests.peers.tools import REFEREES
from tests.peers.tsig import TsigKey
from tests.peers.unbound import Unbound
from tests.peers.zones import difference, ixfr, soa_serial, unsigned_content, zone_file

SECONDARY_KINDS: tuple[type[Nameserver], ...] = (Nsd, Knotd, Named)


@dataclass
class World:
    """The zone's life so far: every serial that was published and what the zone was then."""

    zone: str
    home: Path
    key: TsigKey
    input: Path
    daemon: Dnssecd
    secondaries: Mapping[str, Nameserver]
    history: dict[int, set[str]] = field(default_factory=dict)
    _lines: dict[str, str] = field(default_factory=dict)

    def put(self, text: str) -> None:
        """A new version of the zone file, in one step."""
        replace_file(self.input, text)

    def remember(self, content: set[str]) -> int:
        """Add a published version to the history; versions share their lines, which saves most of the memory."""
        serial = soa_serial(content)
        self.history[serial] = {self._lines.setdefault(line, line) for line in content}
        return serial

    def check_agreement(self, serial: int, timeout: float = 30.0) -> set[str]:
        """Daemon and secondaries serve ``serial``, all the same zone, and its data are those of the file."""
        ours = self.daemon.zone_content(self.zone)
        assert soa_serial(ours) == serial
        wanted = unsigned_content(zone_file(self.input, self.zone))
        assert difference(wanted, unsigned_content(ours)) == "", "the signed zone is not the input"
        for name, second in self.secondaries.items():
            second.wait_serial(self.zone, serial, timeout)
            apart = difference(ours, second.zone_content(self.zone))
            assert apart == "", f"{name} at serial {serial}: {apart}"
        self.remember(ours)
        return ours

    def check_export_and_referees(self, served: set[str]) -> None:
        """``zone export`` gives what is served, and every referee accepts it."""
        path = self.home / "exported.zone"
        assert difference(served, self.daemon.export(self.zone, path)) == ""
        for referee in REFEREES:
            verdict = referee(path, self.zone)
            assert verdict.ok, verdict

    def check_ixfr_from_every_serial(self) -> None:
        """IXFR from each published serial to the present leads from what the zone was to what it is."""
        now = max(self.history, key=list(self.history).index)
        current = self.history[now]
        for serial, content in self.history.items():
            if serial == now:
                continue
            answer = ixfr(self.daemon.port, self.zone, serial, self.key, self.daemon.directory)
            assert answer.incremental, f"IXFR from {serial} is not answered with differences"
            assert difference(current, answer.apply(content)) == "", f"IXFR from {serial} leads elsewhere"

    def check_followed_by_ixfr(self) -> None:
        """Each secondary transferred the zone whole once and by differences ever after."""
        for name, second in self.secondaries.items():
            seen = second.transfers(self.zone)
            assert seen.axfr == 1, f"{name}: {seen}\n{second.log_tail()}"

    def resolvers(self, servers: Servers, served: set[str]) -> list[Unbound]:
        """A validator behind each secondary, started, trusting the zone's KSK (or CSK)."""
        anchors = [line for line in served if " IN DNSKEY 257 " in line]
        assert anchors
        return [
            servers.start(Unbound(self.home / f"unbound-{name}", self.zone, second.port, anchors))
            for name, second in self.secondaries.items()
        ]


def start_world(
    servers: Servers,
    home: Path,
    key: TsigKey,
    zone: str,
    text: str,
    *,
    policy: Mapping[str, Any] | None = None,
    kinds: Sequence[type[Nameserver]] = SECONDARY_KINDS,
    start_daemon: bool = True,
) -> World:
    """Secondaries first, since the daemon asks them before it publishes; then the daemon."""
    ports = DaemonPorts.free()
    input_path = home / "input.zone"
    input_path.write_text(text)
    secondaries = secondaries_of(home, [zone], ports.dns, key, kinds)
    for second in secondaries.values():
        servers.start(second)
    addresses = {name: second.port for name, second in secondaries.items()}
    config = daemon_config(home, ports, key, {zone: input_path}, addresses, policy)
    daemon = servers.add(Dnssecd(home / "dnssecd", config, key))
    if start_daemon:
        daemon.start()
    return World(zone, home, key, input_path, daemon, secondaries)
