"""BIND's named, as primary and as secondary."""

from __future__ import annotations

import signal

from tests.peers.nameserver import Nameserver, PrimaryZone, SecondaryZone, Transfers, Zone
from tests.peers.paths import program
from tests.peers.process import LOOPBACK


class Named(Nameserver):
    name = "named"
    max_ixfr_ratio = "unlimited"

    def command(self) -> list[str]:
        return [program("named"), "-f", "-L", "/dev/stderr", "-c", str(self.config_path), "-n", "1"]

    def configuration(self) -> str:
        head = f"""options {{
    directory "{self.directory}";
    listen-on port {self.port} {{ {LOOPBACK}; }};
    listen-on-v6 {{ none; }};
    pid-file none;
    session-keyfile none;
    managed-keys-directory "{self.directory}";
    recursion no;
    dnssec-validation no;
    empty-zones-enable no;
    minimal-responses yes;
    notify explicit;
    serial-query-rate 1000;
    notify-rate 1000;
    startup-notify-rate 1000;
}};
controls {{ }};
logging {{
    channel all {{ stderr; severity info; print-category yes; print-time iso8601; }};
    channel transfers {{ stderr; severity debug 3; print-category yes; print-time iso8601; }};
    category default {{ all; }};
    category xfer-in {{ transfers; }};
}};
"""
        return head + "".join(key.bind() for key in self.keys) + "".join(map(self._zone, self.zones))

    def _zone(self, zone: Zone) -> str:
        match zone:
            case SecondaryZone():
                stem = zone.name.strip(".") or "root"
                primaries = "".join(f'{LOOPBACK} port {p} key "{zone.tsig.name}"; ' for p in zone.primaries)
                return f"""zone "{zone.name}" {{
    type secondary;
    file "{stem}.db";
    masterfile-format text;
    primaries {{ {primaries}}};
    allow-notify {{ key "{zone.tsig.name}"; }};
    allow-transfer {{ key "{zone.tsig.name}"; }};
    min-refresh-time 1; min-retry-time 1; max-retry-time 2;
    notify no;
}};
"""
            case PrimaryZone():
                targets = " ".join(f'{LOOPBACK} port {port} key "{zone.tsig.name}";' for port in zone.notify)
                updates = f'allow-update {{ key "{zone.tsig.name}"; }};' if zone.updates else ""
                return f"""zone "{zone.name}" {{
    type primary;
    file "{zone.file}";
    {"" if zone.updates else "ixfr-from-differences yes;"}
    max-ixfr-ratio {self.max_ixfr_ratio};
    allow-transfer {{ key "{zone.tsig.name}"; }};
    also-notify {{ {targets} }};
    notify-delay 0;
    {updates}
}};
"""

    def reload(self) -> None:
        """Read configuration and changed master files again."""
        self.signal(signal.SIGHUP)

    def transfers(self, zone: str) -> Transfers:
        subject = f"transfer of '{zone.rstrip('.') or '.'}/IN'"
        lines = [line for line in self.log_text().splitlines() if subject in line]
        whole = sum("got nonincremental response" in line for line in lines)
        return Transfers(axfr=whole, ixfr=sum("got incremental response" in line for line in lines))
