"""Settings of TLS (RFC 9103), as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The certificate (with its chain) and the private key that dnssecd shows to peers, PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class PeerTls:
    """``tls`` of a secondary or primary.

    name, ca, pins: how its certificate is judged. port: its port for TLS. mutual: a secondary must show a certificate.
    queries: NOTIFY and queries to a secondary use TLS.
    """

    name: str = ""
    ca: Path | None = None
    pins: tuple[str, ...] = ()
    port: int = 853
    mutual: bool = False
    queries: bool = False
