"""Make the settings of a zone for the parts of the daemon from the configuration."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from dnssecd.clock import SystemClock
from dnssecd.config.model import Config, Peer, ZoneConfig
from dnssecd.config.tls_model import PeerTls
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.tsig import TsigKey
from dnssecd.pipeline.jobs.spec import GrantSpec, KeyWish, ReviewSpec, UpdateLimits, ZoneSpec
from dnssecd.publish import exchange
from dnssecd.publish.source import BY_ROUTE, Source, listening_source
from dnssecd.publish.tls_client import TlsTarget
from dnssecd.server.acl import Acl, TlsOnly, ZoneAccess
from dnssecd.sharing import share
from dnssecd.store.catalogue import database_name
from dnssecd.tls import BadCertificate, Identity, PeerCheck, judge_client

#: The name of no TSIG key: the daemon's own updates have it.
_SIGNALLING_KEY = "signalling.dnssecd.invalid."
SIGNALLING_KEY = text_to_wire(_SIGNALLING_KEY)

#: Most zones have the same servers and access lists: one object for all that are equal.
_shared_peer = lru_cache(1024)(exchange.Peer)


def zone_spec(
    config: Config, zone: ZoneConfig, signer_socket: str, signer_owners: frozenset[int] | None
) -> ZoneSpec:
    """Return the settings of a zone for zone workers."""
    policy, limits = config.policies[zone.policy], zone.update_limits
    ours = zone.signing == "sign"
    return ZoneSpec(
        name=zone.name,
        origin=text_to_wire(zone.name),
        database=str(database_path(config, zone.name)),
        signer_socket=signer_socket,
        signer_owners=signer_owners,
        keystore=policy.keystore,
        keys=share(
            tuple(KeyWish(role, t.algorithm, t.keystore, t.bits) for role, t in policy.templates if ours)
        ),
        given=policy.keys == "given",
        require_backup=policy.require_backup and ours,
        held_by_min=policy.held_by_min,
        holders_min=config.holders_min(policy) if ours else 1,
        shared=tuple(sorted(config.shared_keystores | config.sealed_keystores)) if config.cluster else (),
        share=policy.name if policy.share_keys else "",
        offline=config.offline_keystores,
        tag_range=policy.tag_range,
        foreign_input=policy.foreign_keys == "input" and ours,
        signed=policy.signed and ours,
        denial=policy.denial,
        opt_out=policy.nsec3_opt_out,
        hold_denial="denial" in policy.manual or bool(policy.freeze),
        dnskey_ttl=policy.dnskey_ttl,
        validity_s=policy.signature_validity,
        inception_offset_s=policy.signature_inception,
        refresh_s=policy.signature_refresh,
        jitter_s=policy.signature_jitter,
        serial=policy.serial,
        zonemd=policy.zonemd and ours,
        cds=policy.cds == "auto" and not zone.parent.none,
        csync=policy.csync == "auto" and not zone.parent.none and ours,
        max_change=zone.max_change,
        allow_missing_glue=zone.allow_missing_glue,
        dynamic=zone.source == "dynamic",
        grants=(*(GrantSpec(g.tsig, g.names, g.types) for g in zone.allow_update), *_signalling_grants(zone)),
        review=_review(zone),
        input_zonemd=zone.input_zonemd,
        input_anchor=zone.input_anchor,
        verify_only=not ours,
        updates=share(UpdateLimits(limits.records, limits.types, limits.names, limits.strict)),
    )


def _signalling_grants(zone: ZoneConfig) -> tuple[GrantSpec, ...]:
    """Return the grant for the daemon's own updates of signalling names (RFC 9615)."""
    names = tuple(f"*._signal.{server}" for server in zone.signalling)
    return (GrantSpec(_SIGNALLING_KEY, names, ("CDS", "CDNSKEY")),) if names else ()


def _review(zone: ZoneConfig) -> ReviewSpec | None:
    found = zone.review
    if found is None:
        return None
    return ReviewSpec(found.command, found.input == "difference", found.timeout)


def database_path(config: Config, name: str) -> Path:
    """Return the path of a zone's database."""
    return config.server.state_dir / "zones" / database_name(name)


def tsig_keys(config: Config) -> dict[bytes, TsigKey]:
    """Return the TSIG keys for the server, by wire name."""
    keys = [TsigKey.make(key.name, key.algorithm, key.secret.value) for key in config.tsig.values()]
    return {key.name: key for key in keys}


def peer(config: Config, server: Peer) -> exchange.Peer:
    """Return a server to contact.

    A secondary or primary is configured with the address on which dnssecd listens, so queries are sent from
    that address. A server that is only polled has no such configuration, and may be reached by another
    interface.
    """
    if server.source is not None:
        source = Source((server.source,), fixed=True)
    elif server in (config.secondaries.get(server.name), config.primaries.get(server.name)):
        source = listening_source((address.host for address in config.server.listen), server.address.host)
    else:
        source = BY_ROUTE
    return _shared_peer(
        server.name,
        server.address.host,
        server.address.port,
        _peer_key(config, server.tsig),
        source=source,
        notify=(_peer_key(config, server.notify_tsig) or True)
        if isinstance(server.notify_tsig, str)
        else server.notify_tsig,
        query=server.query,
        others=tuple(_need_key(config, name) for name in server.tsig_others),
        tls=tls_target(config, server, source),
    )


def peers(config: Config, servers: Iterable[Peer]) -> tuple[exchange.Peer, ...]:
    """Return servers to contact."""
    return share(tuple(peer(config, server) for server in servers))


def tls_target(config: Config, server: Peer, source: Source) -> TlsTarget | None:
    """Return where and how NOTIFY, queries and transfers in use TLS; None if they do not."""
    tls = server.tls
    if tls is None or not tls.queries:
        return None
    return TlsTarget(server.address.host, tls.port, peer_check(tls), tls_identity(config), source)


def peer_check(tls: PeerTls) -> PeerCheck:
    """Return how a peer's certificate is judged."""
    return PeerCheck(tls.name, "" if tls.ca is None else str(tls.ca), tls.pins)


def tls_identity(config: Config) -> Identity | None:
    """Return the certificate that dnssecd shows."""
    files = config.server.tls_files
    return None if files is None else Identity(str(files.certificate), str(files.key))


def _need_key(config: Config, name: str) -> exchange.PeerKey:
    found = config.tsig[name]
    return exchange.PeerKey(found.name, found.algorithm, found.secret.value)


def protection(server: Peer) -> str:
    """Return how transfers from a primary are protected, for operators."""
    parts = ["TLS"] if server.tls is not None else []
    parts += [f"TSIG {server.tsig}"] if server.tsig else []
    return " and ".join(parts) or "neither TLS nor TSIG"


def _peer_key(config: Config, name: str | None) -> exchange.PeerKey | None:
    return None if name is None else _need_key(config, name)


def access(zone: ZoneConfig, secondaries: tuple[Peer, ...], config: Config) -> ZoneAccess:
    """Return the access lists of a zone."""
    query = [*zone.allow_query.tsig, *map(str, zone.allow_query.networks)]
    transfer = [*zone.allow_transfer.tsig, *map(str, zone.allow_transfer.networks)]
    configured = [config.primaries[name] for name in zone.primaries]
    primaries = [pair for primary in configured for pair in _clients(primary)]
    notifiers = [
        primary.notify_tsig if isinstance(primary.notify_tsig, str) else primary.address.host
        for primary in configured
    ]
    if config.cluster is not None and configured:  # nodes forward NOTIFY to the owner
        notifiers += [address.host for node in config.cluster.nodes.values() for address in node.address]
    updaters = [grant.tsig for grant in zone.allow_update]
    made = ZoneAccess.make(
        query,
        transfer,
        [pair for peer in secondaries if peer.tls is None for pair in _clients(peer)],
        primaries,
        updaters,
        notifiers,
        [_tls_only(peer, peer.tls) for peer in secondaries if peer.tls is not None],
    )
    return share(made)


def _clients(peer: Peer) -> list[tuple[str, str | None]]:
    """Return (address, TSIG key) for each key of a peer, or for none."""
    return [(peer.address.host, key) for key in peer.tsig_names or (None,)]


def _tls_only(peer: Peer, tls: PeerTls) -> TlsOnly:
    check = peer_check(tls)

    def judge(certificate: bytes | None) -> str:
        try:
            return judge_client(certificate, check, SystemClock().now())
        except BadCertificate as error:
            return f"on this host: {error}"

    acl = Acl.make(peer.tsig_names or [peer.address.host])
    return TlsOnly(acl, judge if tls.mutual else None)
