"""What a secondary needs to know of dnssecd, from the configuration."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from dnssecd.cli.common import Bad

if TYPE_CHECKING:
    from dnssecd.config.model import Address, Config, Peer
    from dnssecd.config.secondary_text import SecondarySide


def find_side(config: Config, name: str, primary: Address | None) -> SecondarySide:
    """Return what the secondary *name* needs. primary: dnssecd's address as it sees it; None: as configured.

    Raise Bad for a secondary that is not configured, has no zone, or for which no address can be derived.
    """
    from dnssecd.config.errors import did_you_mean
    from dnssecd.config.secondary_text import SecondarySide

    peer = config.secondaries.get(name)
    if peer is None:
        raise Bad(f'there is no secondary "{name}" in {config.path}', did_you_mean(name, config.secondaries))
    zones = [zone.name for zone in config.zones.values() if name in zone.secondaries]
    if not zones:
        raise Bad(f"no zone has the secondary {name}", f'write secondaries = ["{name}"] in a [zone.*] table')
    tsig = config.tsig[peer.tsig] if peer.tsig is not None else None
    return SecondarySide(name, primary or _find_primary(config, peer), tsig, zones)


def _find_primary(config: Config, peer: Peer) -> Address:
    """Return the address listened on of the secondary's address family."""
    version = ip_address(peer.address.host).version
    same = [one for one in config.server.listen if ip_address(one.host).version == version]
    fixed = [one for one in same if not ip_address(one.host).is_unspecified]
    if not fixed:
        why = "listens on all addresses" if same else "has no address of the same address family"
        raise Bad(
            f"the address that {peer.name} reaches dnssecd at is not known: [server] listen {why}",
            "give it: --primary 192.0.2.1",
        )
    return next((one for one in fixed if one.host == peer.source), fixed[0])
