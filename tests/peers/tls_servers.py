"""named and NSD with transfers over TLS, as secondary and as primary; a TLS peer that stalls."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.peers.certificates import Certificate
from tests.peers.named import Named
from tests.peers.nameserver import Zone
from tests.peers.nsd import Nsd
from tests.peers.process import LOOPBACK, free_port


@dataclass(frozen=True)
class Tls:
    """What a peer needs: its certificate, the authority of dnssecd, and dnssecd's name in its certificate."""

    own: Certificate
    authority: Path
    remote: str


class TlsNamed(Named):
    """BIND that listens for TLS too, and transfers by TLS."""

    def __init__(self, directory: Path, zones: Sequence[Zone], tls: Tls, *, shows: bool = True) -> None:
        """shows: it sends its certificate to primaries."""
        super().__init__(directory, zones)
        self.tls, self.tls_port, self.shows = tls, free_port(), shows

    def configuration(self) -> str:
        own = f'cert-file "{self.tls.own.certificate}"; key-file "{self.tls.own.key}";'
        there = f'ca-file "{self.tls.authority}"; remote-hostname "{self.tls.remote}";'
        blocks = f"""tls own {{ {own} protocols {{ TLSv1.3; }}; }};
tls there {{ {own if self.shows else ""} {there} protocols {{ TLSv1.3; }}; }};
"""
        text = super().configuration()
        text = text.replace(
            "    listen-on-v6",
            f"    listen-on port {self.tls_port} tls own {{ {LOOPBACK}; }};\n    listen-on-v6",
        )
        text = re.sub(r'(primaries \{ \S+ port \d+ key "[^"]+")', r"\1 tls there", text)
        return blocks + re.sub(r"(type primary;.*?)allow-transfer \{", self._only_tls, text, flags=re.DOTALL)

    def _only_tls(self, match: re.Match[str]) -> str:
        return f"{match[1]}allow-transfer port {self.tls_port} transport tls {{"


class TlsNsd(Nsd):
    """NSD that listens for TLS too, and transfers by TLS."""

    def __init__(self, directory: Path, zones: Sequence[Zone], tls: Tls, *, shows: bool = True) -> None:
        super().__init__(directory, zones)
        self.tls, self.tls_port, self.shows = tls, free_port(), shows

    def configuration(self) -> str:
        own = self.tls.own
        shown = f'    client-cert: "{own.certificate}"\n    client-key: "{own.key}"\n' if self.shows else ""
        text = super().configuration()
        text = text.replace(
            "    server-count: 1\n",
            f"""    ip-address: {LOOPBACK}@{self.tls_port}
    server-count: 1
    tls-port: {self.tls_port}
    tls-service-key: "{own.key}"
    tls-service-pem: "{own.certificate}"
    tls-cert-bundle: "{self.tls.authority}"
""",
        )
        text += f'tls-auth:\n    name: there\n    auth-domain-name: "{self.tls.remote}"\n{shown}'
        return re.sub(r"(request-xfr: )(\S+ \S+)", r"\1\2 there", text)


@contextmanager
def stalling_server() -> Iterator[int]:
    """Yield the port of a server that accepts connections and never sends an octet."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        stopped = threading.Event()
        accepted: list[socket.socket] = []

        def accept() -> None:
            listener.settimeout(0.1)
            while not stopped.is_set():
                try:
                    accepted.append(listener.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stopped.set()
            thread.join()
            for sock in accepted:
                sock.close()
