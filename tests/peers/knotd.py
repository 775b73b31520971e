"""Knot DNS's knotd, as primary and as secondary."""

from __future__ import annotations

import signal

from tests.peers.nameserver import Nameserver, PrimaryZone, SecondaryZone, Transfers, Zone
from tests.peers.paths import program
from tests.peers.process import LOOPBACK


class Knotd(Nameserver):
    name = "knotd"

    def command(self) -> list[str]:
        return [program("knotd"), "-c", str(self.config_path)]

    def configuration(self) -> str:
        keys = "key:\n" + "".join(key.knot().removeprefix("key:\n") for key in self.keys)
        head = f"""server:
    rundir: "{self.directory}"
    listen: {LOOPBACK}@{self.port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    pidfile: "{self.directory}/knotd.pid"
log:
  - target: stderr
    any: info
database:
    storage: "{self.directory}"
    journal-db-max-size: 100M
control:
    listen: "{self.directory}/knot.sock"
"""
        remotes, acls, zones = [], [], []
        for number, zone in enumerate(self.zones):
            remote, acl, body = self._zone(number, zone)
            remotes.append(remote)
            acls.append(acl)
            zones.append(body)
        remote_section = "remote:\n" + "".join(remotes) if any(remotes) else ""
        return head + keys + remote_section + "acl:\n" + "".join(acls) + "zone:\n" + "".join(zones)

    def _zone(self, number: int, zone: Zone) -> tuple[str, str, str]:
        key = zone.tsig.name
        ports = zone.primaries if isinstance(zone, SecondaryZone) else zone.notify
        names = [f"r{number}-{port}" for port in ports]
        remote = "".join(
            f"  - id: {name}\n    address: {LOOPBACK}@{port}\n    key: {key}\n"
            for name, port in zip(names, ports, strict=True)
        )
        actions = {SecondaryZone: "[notify, transfer]", PrimaryZone: "[transfer, update]"}[type(zone)]
        if isinstance(zone, PrimaryZone) and not zone.updates:
            actions = "transfer"
        acl = f"  - id: a{number}\n    address: {LOOPBACK}\n    key: {key}\n    action: {actions}\n"
        body = f'  - domain: "{zone.name}"\n    storage: "{self.directory}"\n    acl: a{number}\n'
        remotes = ", ".join(names)
        match zone:
            case SecondaryZone():
                body += f"    master: [{remotes}]\n    zonefile-load: none\n    journal-content: all\n"
                body += "    zonefile-sync: -1\n    refresh-min-interval: 2\n    retry-max-interval: 2\n"
            case PrimaryZone():
                body += f'    file: "{zone.file}"\n    zonefile-load: difference\n    zonefile-sync: -1\n'
                body += f"    notify: [{remotes}]\n" if names else ""
                body += "    semantic-checks: off\n"
        return remote, acl, body

    def reload(self) -> None:
        """Read configuration and changed master files again."""
        self.signal(signal.SIGHUP)

    def transfers(self, zone: str) -> Transfers:
        mine = [line for line in self.log_text().splitlines() if f"[{zone}]" in line]
        lines = [line for line in mine if ", incoming," in line]
        finished = [line for line in lines if ", finished," in line]
        in_ixfr_form = sum("receiving AXFR-style IXFR" in line for line in lines)
        whole = sum(" AXFR, incoming" in line for line in finished)
        return Transfers(
            axfr=whole + in_ixfr_form,
            ixfr=sum(" IXFR, incoming" in line for line in finished) - in_ixfr_form,
        )
