"""From the configuration to what the parts of the daemon are told of a zone."""

from pathlib import Path

from dnssecd.config.model import Config, Peer, ZoneConfig
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.tsig import TsigKey
from dnssecd.pipeline.jobs.spec import GrantSpec, KeyWish, UpdateLimits, ZoneSpec
from dnssecd.publish import exchange
from dnssecd.publish.source import BY_ROUTE, Source, listening_source
from dnssecd.server.acl import ZoneAccess
from dnssecd.store.catalogue import database_name


def zone_spec(config: Config, zone: ZoneConfig, signer_socket: str) -> ZoneSpec:
    """Return what zone workers have to know of a zone."""
    policy, limits = config.policies[zone.policy], zone.update_limits
    templates = (("ksk", policy.ksk), ("zsk", policy.zsk), ("csk", policy.csk))
    return ZoneSpec(
        name=zone.name,
        origin=text_to_wire(zone.name),
        database=str(database_path(config, zone.name)),
        signer_socket=signer_socket,
        keystore=policy.keystore,
        keys=tuple(KeyWish(role, t.algorithm, t.bits) for role, t in templates if t is not None),
        share=policy.name if policy.share_keys else "",
        signed=policy.signed,
        denial=policy.denial,
        opt_out=policy.nsec3_opt_out,
        hold_denial="denial" in policy.manual or bool(policy.freeze),
        dnskey_ttl=policy.dnskey_ttl,
        validity_s=policy.signature_validity,
        inception_offset_s=policy.signature_inception,
        refresh_s=policy.signature_refresh,
        jitter_s=policy.signature_jitter,
        serial=policy.serial,
        zonemd=policy.zonemd,
        cds=policy.cds == "auto" and not zone.parent.none,
        max_change=zone.max_change,
        allow_missing_glue=zone.allow_missing_glue,
        dynamic=zone.source == "dynamic",
        grants=tuple(GrantSpec(g.tsig, g.names, g.types) for g in zone.allow_update),
        updates=UpdateLimits(limits.records, limits.types, limits.names, limits.strict),
    )


def database_path(config: Config, name: str) -> Path:
    """Return where a zone's database lies."""
    return config.server.state_dir / "zones" / database_name(name)


def tsig_keys(config: Config) -> dict[bytes, TsigKey]:
    """Return the TSIG keys for the server, by wire name."""
    keys = [TsigKey.make(key.name, key.algorithm, key.secret.value) for key in config.tsig.values()]
    return {key.name: key for key in keys}


def peer(config: Config, server: Peer) -> exchange.Peer:
    """Return a server to talk to.

    A secondary or primary knows us by the address that we listen on, so that is where questions come from. A server
    that is only polled has no such reason, and may be reached by another interface.
    """
    if server.source is not None:
        source = Source((server.source,), fixed=True)
    elif server in (config.secondaries.get(server.name), config.primaries.get(server.name)):
        source = listening_source((address.host for address in config.server.listen), server.address.host)
    else:
        source = BY_ROUTE
    return exchange.Peer(
        server.name,
        server.address.host,
        server.address.port,
        _peer_key(config, server.tsig),
        source=source,
        notify=(_peer_key(config, server.notify_tsig) or True)
        if isinstance(server.notify_tsig, str)
        else server.notify_tsig,
        query=server.query,
    )


def _peer_key(config: Config, name: str | None) -> exchange.PeerKey | None:
    if name is None:
        return None
    found = config.tsig[name]
    return exchange.PeerKey(found.name, found.algorithm, found.secret.value)


def access(zone: ZoneConfig, secondaries: tuple[Peer, ...], config: Config) -> ZoneAccess:
    """Return who may do what with a zone."""
    query = [*zone.allow_query.tsig, *map(str, zone.allow_query.networks)]
    transfer = [*zone.allow_transfer.tsig, *map(str, zone.allow_transfer.networks)]
    configured = [config.primaries[name] for name in zone.primaries]
    primaries = [(primary.address.host, primary.tsig) for primary in configured]
    notifiers = [
        primary.notify_tsig if isinstance(primary.notify_tsig, str) else primary.address.host
        for primary in configured
    ]
    updaters = [grant.tsig for grant in zone.allow_update]
    return ZoneAccess.make(
        query,
        transfer,
        [(peer.address.host, peer.tsig) for peer in secondaries],
        primaries,
        updaters,
        notifiers,
    )
