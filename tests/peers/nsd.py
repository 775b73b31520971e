"""NLnet Labs' NSD, as secondary (and as primary of a zone it only serves)."""

from __future__ import annotations

import re

from tests.peers.nameserver import Nameserver, PrimaryZone, SecondaryZone, Transfers, Zone
from tests.peers.paths import program
from tests.peers.process import LOOPBACK
from tests.peers.tools import dig


class Nsd(Nameserver):
    name = "nsd"

    def command(self) -> list[str]:
        return [program("nsd"), "-d", "-c", str(self.config_path)]

    def configuration(self) -> str:
        home = self.directory
        head = f"""server:
    ip-address: {LOOPBACK}@{self.port}
    server-count: 1
    username: ""
    chroot: ""
    database: ""
    zonesdir: "{home}"
    zonelistfile: "{home}/zone.list"
    xfrdfile: "{home}/xfrd.state"
    xfrdir: "{home}"
    pidfile: "{home}/nsd.pid"
    cookie-secret-file: "{home}/cookie"
    logfile: "{self.log_path}"
    verbosity: 3
    xfrd-reload-timeout: 0
    rrl-ratelimit: 0
remote-control:
    control-enable: no
"""
        return head + "".join(key.nsd() for key in self.keys) + "".join(map(self._zone, self.zones))

    def _zone(self, zone: Zone) -> str:
        key = zone.tsig.name
        stem = zone.name.strip(".") or "root"
        match zone:
            case SecondaryZone():
                requests = "".join(f"    request-xfr: {LOOPBACK}@{port} {key}\n" for port in zone.primaries)
                return f"""zone:
    name: "{zone.name}"
    zonefile: "{stem}.db"
{requests}    allow-notify: {LOOPBACK} {key}
    provide-xfr: {LOOPBACK} {key}
    store-ixfr: yes
    ixfr-number: 10000
    ixfr-size: 1000000000
    min-refresh-time: 1
    min-retry-time: 1
    max-retry-time: 2
"""
            case PrimaryZone():
                targets = "".join(f"    notify: {LOOPBACK}@{port} {key}\n" for port in zone.notify)
                return f"""zone:
    name: "{zone.name}"
    zonefile: "{zone.file}"
    provide-xfr: {LOOPBACK} {key}
{targets}"""

    def transfers(self, zone: str) -> Transfers:
        """Counted from NSD's store of differences: its log does not tell an IXFR from an AXFR.

        NSD keeps each difference it receives and drops them all when the zone comes in whole. One IXFR may
        bring several, so their number is cut to that of the transfers.
        """
        committed = rf'xfrd: zone {re.escape(zone)} committed "received update to serial (\d+) '
        serials = re.findall(committed, self.log_text())
        if not serials:
            return Transfers(axfr=0, ixfr=0)
        differences = self._differences_since(zone, int(serials[0]))
        ixfr = min(differences, len(serials) - 1)
        return Transfers(axfr=len(serials) - ixfr, ixfr=ixfr)

    def _differences_since(self, zone: str, serial: int) -> int:
        key = next(each.tsig for each in self.zones if each.name == zone)
        answer = dig(
            self.port,
            zone,
            f"IXFR={serial}",
            "+nocomments",
            "+nocmd",
            "+nostats",
            tsig=key,
            directory=self.directory,
        )
        soas = sum(line.split()[3:4] == ["SOA"] for line in answer.out.splitlines())
        return max(0, (soas - 2) // 2)
