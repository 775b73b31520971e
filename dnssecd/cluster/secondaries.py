"""The configuration of secondaries of a cluster: every node is a primary of the zone, for transfers and NOTIFY."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from dnssecd.config.model import Address


class Primaries(NamedTuple):
    """The nodes as primaries of one zone. tsig: name and algorithm of the key that secondaries use, "" for none."""

    zone: str
    addresses: Sequence[Address]
    tsig: str
    algorithm: str

    @property
    def key(self) -> str:
        """The name of the key as most servers have it, without the final dot."""
        return self.tsig.rstrip(".")


def for_named(primaries: Primaries) -> str:
    """Return the zone for BIND 9."""
    key = f' key "{primaries.key}"' if primaries.tsig else ""
    lines = [f"    {_bind(address)}{key};" for address in primaries.addresses]
    notify = " ".join(f"{address.host};" for address in primaries.addresses)
    return "\n".join(
        [
            f'zone "{primaries.zone.rstrip(".") or "."}" {{',
            "  type secondary;",
            f'  file "{_file(primaries.zone)}";',
            "  primaries {",
            *lines,
            "  };",
            f"  allow-notify {{ {notify} }};",
            "};",
        ]
    )


def _bind(address: Address) -> str:
    return address.host if address.port == 53 else f"{address.host} port {address.port}"


def for_knot(primaries: Primaries) -> str:
    """Return remotes, access and the zone for Knot DNS."""
    key = f"\n    key: {primaries.tsig}" if primaries.tsig else ""
    names = [f"dnssecd-{number}" for number, _ in enumerate(primaries.addresses, 1)]
    remotes = [
        f"  - id: {name}\n    address: {address.host}@{address.port}{key}"
        for name, address in zip(names, primaries.addresses, strict=True)
    ]
    hosts = ", ".join(dict.fromkeys(address.host for address in primaries.addresses))
    listed = ", ".join(names)
    return "\n".join(
        [
            "remote:",
            *remotes,
            "acl:",
            f"  - id: dnssecd-notify\n    address: [ {hosts} ]\n    action: notify{key}",
            "zone:",
            f"  - domain: {primaries.zone}",
            f"    master: [ {listed} ]",
            "    acl: dnssecd-notify",
        ]
    )


def for_nsd(primaries: Primaries) -> str:
    """Return the zone for NSD."""
    key = primaries.tsig or "NOKEY"
    lines = ["zone:", f'  name: "{primaries.zone}"', f'  zonefile: "{_file(primaries.zone)}"']
    lines += [f"  request-xfr: {address.host}@{address.port} {key}" for address in primaries.addresses]
    lines += [f"  allow-notify: {host} {key}" for host in dict.fromkeys(a.host for a in primaries.addresses)]
    return "\n".join(lines)


def for_pdns(primaries: Primaries) -> str:
    """Return the commands for PowerDNS (pdnsutil, 4.x) that make the zone a secondary."""
    zone = primaries.zone.rstrip(".") or "."
    masters = " ".join(str(address) for address in primaries.addresses)
    lines = [f"pdnsutil create-slave-zone {zone} {masters}"]
    if primaries.tsig:
        lines.append(f"pdnsutil activate-tsig-key {zone} {primaries.key} slave")
    hosts = ",".join(dict.fromkeys(address.host for address in primaries.addresses))
    lines.append(f"# in pdns.conf: secondary=yes and allow-notify-from={hosts}")
    return "\n".join(lines)


def _file(zone: str) -> str:
    return f"{zone.rstrip('.').replace('/', '_') or 'root'}.zone"


#: Program → its configuration as text.
FORMS: dict[str, Callable[[Primaries], str]] = {
    "named": for_named,
    "knot": for_knot,
    "nsd": for_nsd,
    "pdns": for_pdns,
}
