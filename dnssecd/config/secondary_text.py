"""What an operator writes into the configuration of a secondary, for each kind of server.

Only the parts that concern dnssecd: the TSIG key, this primary, the zones. ``deploy/secondaries/`` has whole files.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from dnssecd.config.model import Address, TsigKey


@dataclass(frozen=True, slots=True)
class SecondarySide:
    """What a secondary needs to know. primary: dnssecd's address as the secondary sees it. tsig: None for none."""

    name: str
    primary: Address
    tsig: TsigKey | None
    zones: Sequence[str]


def render_secondary(kind: str, side: SecondarySide) -> str:
    """Return the configuration for a server of a kind in :data:`SERVERS`. It contains the TSIG secret."""
    return "\n".join(SERVERS[kind](side)) + "\n"


def file_name(zone: str) -> str:
    """Return a file name for a zone: without the final dot, only letters, digits, ``.``, ``_`` and ``-``."""
    return re.sub(r"[^a-z0-9._-]", "_", zone.rstrip(".")).lstrip(".") or "root"


def _secret(key: TsigKey) -> str:
    return base64.b64encode(key.secret.value).decode()


def _bind(side: SecondarySide) -> Iterator[str]:
    key = side.tsig
    yield f"// {side.name}: BIND. Add to named.conf, then: rndc reconfig"
    if key is not None:
        yield f'key "{key.name}" {{'
        yield f"    algorithm {key.algorithm};"
        yield f'    secret "{_secret(key)}";'
        yield "};"
    signed = f' key "{key.name}"' if key is not None else ""
    allowed = f'key "{key.name}"' if key is not None else side.primary.host
    yield 'primaries "dnssecd" {'
    yield f"    {side.primary.host} port {side.primary.port}{signed};"
    yield "};"
    for zone in side.zones:
        yield f'zone "{zone}" {{'
        yield "    type secondary;"
        yield f'    file "{file_name(zone)}.db";'
        yield '    primaries { "dnssecd"; };'
        yield f"    allow-notify {{ {allowed}; }};"
        yield "};"


def _knot(side: SecondarySide) -> Iterator[str]:
    key = side.tsig
    yield f"# {side.name}: Knot DNS. Add to knot.conf (each section may exist only once), then: knotc reload"
    if key is not None:
        yield "key:"
        yield f'  - id: "{key.name}"'
        yield f"    algorithm: {key.algorithm}"
        yield f"    secret: {_secret(key)}"
    signed = [f'    key: "{key.name}"'] if key is not None else []
    yield "remote:"
    yield "  - id: dnssecd"
    yield f"    address: {side.primary.host}@{side.primary.port}"
    yield from signed
    yield "acl:"
    yield "  - id: notify-from-dnssecd"
    yield f"    address: {side.primary.host}"
    yield from signed
    yield "    action: notify"
    yield "template:"
    yield "  - id: from-dnssecd"
    yield "    master: dnssecd"
    yield "    acl: notify-from-dnssecd"
    yield "    # The zone is kept in the journal: a restart serves immediately, and IXFR continues."
    yield "    zonefile-sync: -1"
    yield "    zonefile-load: none"
    yield "    journal-content: all"
    yield "zone:"
    for zone in side.zones:
        yield f'  - domain: "{zone}"'
        yield "    template: from-dnssecd"


def _nsd(side: SecondarySide) -> Iterator[str]:
    key = side.tsig
    name = key.name if key is not None else "NOKEY"
    yield f"# {side.name}: NSD. Add to nsd.conf, then: nsd-control reconfig"
    if key is not None:
        yield "key:"
        yield f'    name: "{key.name}"'
        yield f"    algorithm: {key.algorithm}"
        yield f'    secret: "{_secret(key)}"'
    yield "pattern:"
    yield '    name: "from-dnssecd"'
    yield f"    request-xfr: {side.primary.host}@{side.primary.port} {name}"
    yield f"    allow-notify: {side.primary.host} {name}"
    for zone in side.zones:
        yield "zone:"
        yield f'    name: "{zone}"'
        yield f'    zonefile: "{file_name(zone)}.zone"'
        yield '    include-pattern: "from-dnssecd"'


def _powerdns(side: SecondarySide) -> Iterator[str]:
    key = side.tsig
    yield f"# {side.name}: PowerDNS with gsqlite3 or another generic SQL backend. In pdns.conf, then restart:"
    yield "#   secondary=yes"
    yield "#   gsqlite3-dnssec=yes"
    yield f"#   allow-notify-from={side.primary.host}"
    yield "#   xfr-cycle-interval=60"
    yield "# Then run:"
    if key is not None:
        yield f"pdnsutil import-tsig-key {key.name} {key.algorithm} {_secret(key)}"
    for zone in side.zones:
        yield f"pdnsutil create-secondary-zone {_shell(zone)} {side.primary}"
        if key is not None:
            yield f"pdnsutil activate-tsig-key {_shell(zone)} {key.name} secondary"


def _shell(zone: str) -> str:
    name = zone.rstrip(".") or "."
    return name if re.fullmatch(r"[a-z0-9._-]+", name) else f"'{name}'"


#: Kind of server → what renders its configuration.
SERVERS: Final[Mapping[str, Callable[[SecondarySide], Iterator[str]]]] = MappingProxyType(
    {"bind": _bind, "knot": _knot, "nsd": _nsd, "powerdns": _powerdns}
)
