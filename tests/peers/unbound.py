"""NLnet Labs' Unbound: the validating resolver that asks a secondary and judges the chain of trust."""

from __future__ import annotations

from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode

from tests.peers.paths import program
from tests.peers.process import LOOPBACK, ServerProcess, free_port

VALIDATE_SECONDS = 5.0
PROBE_SECONDS = 0.1


class Unbound(ServerProcess):
    """A resolver that finds ``zone`` at the server on port ``authority`` and trusts ``anchors`` alone.

    anchors: DNSKEY or DS RRs in presentation form. Nothing is cached, so every answer is that of the moment.
    """

    name = "unbound"

    def __init__(self, directory: Path, zone: str, authority: int, anchors: list[str]) -> None:
        super().__init__(directory)
        self.zone = zone
        self.authority = authority
        self.anchors = anchors
        self.port = free_port()
        self.config_path = directory / "unbound.conf"

    def command(self) -> list[str]:
        return [program("unbound"), "-d", "-p", "-c", str(self.config_path)]

    def configuration(self) -> str:
        anchors = "".join(f'    trust-anchor: "{anchor}"\n' for anchor in self.anchors)
        return f"""server:
    interface: {LOOPBACK}@{self.port}
    port: {self.port}
    do-daemonize: no
    do-ip6: no
    username: ""
    chroot: ""
    directory: "{self.directory}"
    pidfile: ""
    use-syslog: no
    logfile: ""
    verbosity: 1
    num-threads: 1
    val-log-level: 2
    module-config: "validator iterator"
    do-not-query-localhost: no
    qname-minimisation: no
    aggressive-nsec: no
    prefetch: no
    target-fetch-policy: "0 0 0 0 0"
    outgoing-port-avoid: 0-32767
    unblock-lan-zones: yes
    insecure-lan-zones: yes
    local-zone: "test." nodefault
    local-zone: "invalid." nodefault
    local-zone: "home.arpa." nodefault
    cache-max-ttl: 0
    cache-max-negative-ttl: 0
    val-bogus-ttl: 0
    infra-host-ttl: 1
    root-hints: ""
{anchors}stub-zone:
    name: "{self.zone}"
    stub-addr: {LOOPBACK}@{self.authority}
    stub-no-cache: yes
remote-control:
    control-enable: no
"""

    def spawn(self) -> None:
        self.config_path.write_text(self.configuration())
        super().spawn()

    def ask(self, name: str, rrtype: str, timeout: float = VALIDATE_SECONDS) -> dns.message.Message | None:
        """The resolver's answer with DO set, None when there is none in time."""
        query = dns.message.make_query(name, rrtype, want_dnssec=True)
        query.flags |= dns.flags.AD
        try:
            return dns.query.udp(query, LOOPBACK, timeout=timeout, port=self.port)
        except (dns.exception.DNSException, OSError):
            return None

    def is_ready(self) -> bool:
        return self.ask("localhost.", "A", timeout=PROBE_SECONDS) is not None

    def verdict(self, name: str, rrtype: str) -> tuple[str, bool]:
        """(RCODE, whether AD is set); ("TIMEOUT", False) without an answer."""
        answer = self.ask(name, rrtype)
        if answer is None:
            return "TIMEOUT", False
        return dns.rcode.to_text(answer.rcode()), bool(answer.flags & dns.flags.AD)
