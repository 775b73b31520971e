"""The catalogue's data for serving a zone that is no longer in the configuration."""

from ipaddress import ip_network
from pathlib import Path

import msgspec

from dnssecd.config.model import Acl, Address, Config, ParentConfig, Peer, ZoneConfig
from dnssecd.config.tls_model import PeerTls
from dnssecd.pipeline.jobs.spec import ZoneSpec


class StoredTls(msgspec.Struct, frozen=True):
    """The TLS settings of a server (config.tls_model.PeerTls)."""

    name: str
    ca: str | None
    pins: tuple[str, ...]
    port: int
    mutual: bool
    queries: bool


class StoredPeer(msgspec.Struct, frozen=True):
    """A server without its secret."""

    name: str
    host: str
    port: int
    tsig: str | None
    source: str | None = None
    query: bool = True
    notify_tsig: str | bool = True
    tsig_others: tuple[str, ...] = ()
    tls: StoredTls | None = None


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """A zone's files, policy values and allowed clients, as last configured."""

    name: str
    policy: str
    spec: ZoneSpec
    secondaries: tuple[StoredPeer, ...]
    query_keys: tuple[str, ...]
    query_networks: tuple[str, ...]
    transfer_keys: tuple[str, ...]
    transfer_networks: tuple[str, ...]
    parent_none: bool = False
    parent_servers: tuple[tuple[str, int], ...] = ()


def remember(config: Config, zone: ZoneConfig, spec: ZoneSpec) -> str:
    """Return the document to store."""
    serving = Serving(
        name=zone.name,
        policy=zone.policy,
        spec=spec,
        secondaries=tuple(
            StoredPeer(
                peer.name,
                peer.address.host,
                peer.address.port,
                peer.tsig,
                peer.source,
                peer.query,
                peer.notify_tsig,
                peer.tsig_others,
                _stored(peer.tls),
            )
            for peer in config.secondaries_of(zone.name)
        ),
        query_keys=tuple(sorted(zone.allow_query.tsig)),
        query_networks=tuple(map(str, zone.allow_query.networks)),
        transfer_keys=tuple(sorted(zone.allow_transfer.tsig)),
        transfer_networks=tuple(map(str, zone.allow_transfer.networks)),
        parent_none=zone.parent.none,
        parent_servers=tuple((server.host, server.port) for server in zone.parent.servers),
    )
    return msgspec.json.encode(serving).decode()


def read(document: str) -> Serving:
    """Return a stored document; raise msgspec.DecodeError for a malformed one."""
    return msgspec.json.decode(document, type=Serving)


def as_config(serving: Serving, tsig: frozenset[str]) -> tuple[ZoneConfig, tuple[Peer, ...]]:
    """Return the zone as if configured, and its secondaries; those with a missing TSIG key are left out."""
    peers = tuple(
        Peer(
            peer.name,
            Address(peer.host, peer.port),
            peer.tsig,
            source=peer.source,
            query=peer.query,
            notify_tsig=peer.notify_tsig,
            tsig_others=tuple(key for key in peer.tsig_others if key in tsig),
            tls=_as_tls(peer.tls),
        )
        for peer in serving.secondaries
        if {key for key in (peer.tsig, peer.notify_tsig) if isinstance(key, str)} <= tsig
    )
    zone = ZoneConfig(
        name=serving.name,
        policy=serving.policy,
        source="file",
        file=None,
        primaries=(),
        allow_update=(),
        secondaries=tuple(peer.name for peer in peers),
        check_servers=tuple(peer for peer in peers if peer.query),
        allow_transfer=_acl(serving.transfer_keys, serving.transfer_networks),
        allow_query=_acl(serving.query_keys, serving.query_networks),
        parent=ParentConfig(
            none=serving.parent_none,
            servers=tuple(Address(host, port) for host, port in serving.parent_servers),
        ),
        max_change=1.0,
    )
    return zone, peers


def _stored(tls: PeerTls | None) -> StoredTls | None:
    if tls is None:
        return None
    ca = None if tls.ca is None else str(tls.ca)
    return StoredTls(tls.name, ca, tls.pins, tls.port, tls.mutual, tls.queries)


def _as_tls(tls: StoredTls | None) -> PeerTls | None:
    if tls is None:
        return None
    ca = None if tls.ca is None else Path(tls.ca)
    return PeerTls(tls.name, ca, tls.pins, tls.port, tls.mutual, tls.queries)


def _acl(keys: tuple[str, ...], networks: tuple[str, ...]) -> Acl:
    return Acl(frozenset(keys), tuple(ip_network(network) for network in networks))
