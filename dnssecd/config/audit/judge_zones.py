"""Judges of requirements on policies and on what zones exchange with other servers."""

from __future__ import annotations

from dnssecd.config.algorithms import ADVICE, EXPERIMENTAL, RSA, algorithm_name
from dnssecd.config.audit.terms import (
    Judgement,
    View,
    all_of,
    each_policy,
    met,
    met_if,
    not_known,
    not_met,
)
from dnssecd.config.model import Config, KeyTemplate, Policy, ZoneConfig
from dnssecd.durations import format_duration

DAY = 86_400
YEAR = 365 * DAY
#: 2031-01-01 00:00:00 UTC: RSA is accepted until the end of 2030.
RSA_ENDS_AT = 1_924_992_000
RECOMMENDED_MACS = frozenset({"hmac-sha256", "hmac-sha384", "hmac-sha512"})
MAX_CHANGE = 0.30
LOOPBACK = ("127.", "::1/")


def _algorithm_of(policy: Policy) -> int:
    return policy.templates[0][1].algorithm


@each_policy
def judge_signed_ahead(policy: Policy) -> Judgement:
    """Judge whether signatures outlast an outage of several days: the refresh is half of the validity or shorter."""
    validity = policy.signature_validity
    return met_if(validity >= 14 * DAY, f'signature_validity = "{format_duration(validity)}"')


@each_policy
def judge_short_validity(policy: Policy) -> Judgement:
    """Judge a validity of 5 to 7 days."""
    validity = policy.signature_validity
    return met_if(5 * DAY <= validity <= 7 * DAY, f'signature_validity = "{format_duration(validity)}"')


def judge_strong_algorithm(view: View) -> Judgement:
    """Judge elliptic curves, or RSA until the end of 2030."""

    def judge(policy: Policy) -> Judgement:
        number = _algorithm_of(policy)
        name = algorithm_name(number)
        if number not in RSA:
            return met_if(number not in EXPERIMENTAL.values(), name)
        return met_if(view.seen.now < RSA_ENDS_AT, f"{name}, accepted until the end of 2030")

    return each_policy(judge)(view)


@each_policy
def judge_recommended_algorithm(policy: Policy) -> Judgement:
    """Judge the IANA registry's column "Use for DNSSEC Signing"."""
    number = _algorithm_of(policy)
    level = ADVICE[number].use_signing
    return met_if(level == "RECOMMENDED", f"{algorithm_name(number)}: use for DNSSEC signing is {level}")


@each_policy
def judge_lifetimes(policy: Policy) -> Judgement:
    """Judge key lifetimes of at most three years."""

    def judge(role: str, key: KeyTemplate) -> Judgement:
        life = "unlimited" if key.lifetime is None else format_duration(key.lifetime)
        return met_if(key.lifetime is not None and key.lifetime <= 3 * YEAR, f'{role} lifetime = "{life}"')

    return all_of((judge(role, key) for role, key in policy.templates), "")


@each_policy
def judge_nsec(policy: Policy) -> Judgement:
    """Judge the preference of NSEC; whether a zone needs NSEC3 is the operator's decision."""
    if policy.denial == "nsec":
        return met('denial = "nsec"')
    return not_known('denial = "nsec3": only you can say whether its names must not be listed')


@each_policy
def judge_iterations(policy: Policy) -> Judgement:
    """Judge 0 additional iterations: dnssecd publishes nothing else."""
    return met(_no_nsec3(policy) or "dnssecd always uses 0 iterations")


@each_policy
def judge_salt(policy: Policy) -> Judgement:
    """Judge an empty salt: dnssecd publishes nothing else."""
    return met(_no_nsec3(policy) or "dnssecd never uses a salt")


@each_policy
def judge_opt_out(policy: Policy) -> Judgement:
    """Judge opt-out, which is meant for large zones of mostly unsigned delegations."""
    if policy.denial == "nsec" or not policy.nsec3_opt_out:
        return met(_no_nsec3(policy) or "nsec3_opt_out = false")
    return not_known(
        "nsec3_opt_out = true: only you can say whether the zone is large and mostly delegations"
    )


def _no_nsec3(policy: Policy) -> str:
    return 'denial = "nsec": no NSEC3' if policy.denial == "nsec" else ""


@each_policy
def judge_zonemd(policy: Policy) -> Judgement:
    """Judge whether secondaries can check a zone as a whole."""
    return met_if(policy.zonemd, f"zonemd = {str(policy.zonemd).lower()}")


@each_policy
def judge_split(policy: Policy) -> Judgement:
    """Judge whether KSK and ZSK are different keys."""
    return met_if(policy.csk is None, "ksk and zsk" if policy.csk is None else "csk: one key for both")


@each_policy
def judge_manual_ksk(policy: Policy) -> Judgement:
    """Judge whether an operator approves each step that changes the DS."""
    missing = [step for step in ("ksk", "algorithm") if step not in policy.manual]
    shown = ", ".join(sorted(policy.manual)) or "nothing"
    return met_if(not missing, f"manual: {shown}")


@each_policy
def judge_standby_zsk(policy: Policy) -> Judgement:
    """Judge whether a second ZSK is published."""
    if policy.csk is not None:
        return not_met("a CSK has no standby ZSK")
    return met_if(policy.standby_zsk, f"standby_zsk = {str(policy.standby_zsk).lower()}")


def judge_transfers(view: View) -> Judgement:
    """Judge whether each transfer, in and out, is signed with a strong TSIG key."""
    parts = [part for zone in view.zones for part in _judge_transfers(view.config, zone)]
    return all_of(parts, "no zone is transferred")


def _judge_transfers(config: Config, zone: ZoneConfig) -> list[Judgement]:
    peers = [*config.secondaries_of(zone.name), *(config.primaries[name] for name in zone.primaries)]
    parts = [_judge_tsig(config, peer.name, key) for peer in peers for key in peer.tsig_names or (None,)]
    parts += [_judge_tsig(config, f"{zone.name} allow_transfer", name) for name in zone.allow_transfer.tsig]
    open_to = [str(net) for net in zone.allow_transfer.networks if not str(net).startswith(LOOPBACK)]
    if open_to:
        parts.append(not_met(f"{zone.name}: allow_transfer by address: {', '.join(open_to)}"))
    return parts


def _judge_tsig(config: Config, who: str, name: str | None) -> Judgement:
    if name is None:
        return not_met(f"{who}: no TSIG key")
    algorithm = config.tsig[name].algorithm
    return met_if(algorithm in RECOMMENDED_MACS, f"{who}: {name} {algorithm}")


def judge_encrypted(view: View) -> Judgement:
    """Judge whether each transfer, in and out, uses TLS (RFC 9103); dnssecd does not see a tunnel."""
    parts = [part for zone in view.zones for part in _judge_encrypted(view.config, zone)]
    return all_of(parts, "no zone is transferred")


def _judge_encrypted(config: Config, zone: ZoneConfig) -> list[Judgement]:
    peers = [*config.secondaries_of(zone.name), *(config.primaries[name] for name in zone.primaries)]
    parts = [
        met(f"{peer.name}: TLS")
        if peer.tls
        else not_known(f"{peer.name}: TCP; dnssecd cannot see whether a tunnel encrypts it")
        for peer in peers
    ]
    others = [*zone.allow_transfer.tsig, *map(str, zone.allow_transfer.networks)]
    parts += [not_known(f"{zone.name} allow_transfer: {one} may use TCP") for one in sorted(others)]
    return parts


def judge_hidden(view: View) -> Judgement:
    """Judge whether public servers, and not the signer, answer the public."""
    return all_of(map(_judge_hidden, view.zones), "no zone is configured")


def _judge_hidden(zone: ZoneConfig) -> Judgement:
    open_to = [str(net) for net in zone.allow_query.networks if net.prefixlen == 0]
    if open_to:
        return not_met(f"{zone.name}: allow_query is open to {', '.join(open_to)}")
    if not zone.secondaries and not zone.allow_transfer.tsig:
        return not_met(f"{zone.name}: no secondary is configured")
    return met(f"{zone.name}: a hidden primary with {len(zone.secondaries)} secondaries")


def judge_updates(view: View) -> Judgement:
    """Judge dynamic updates: dnssecd takes them with TSIG only, by name and type."""
    parts = [
        _judge_tsig(view.config, f"{zone.name} update", grant.tsig)
        for zone in view.zones
        for grant in zone.allow_update
    ]
    return all_of(parts, "no key may update a zone")


def judge_alerts(view: View) -> Judgement:
    """Judge whether an operator gets alerts."""
    alerts = view.config.alerts
    ways = [name for name in ("mail", "webhook", "command") if getattr(alerts, name) is not None]
    return met_if(
        bool(ways), f"alerts by {', '.join(ways)}" if ways else "no channel for alerts is configured"
    )


def judge_escalation(view: View) -> Judgement:
    """Judge whether alerts reach people in two ways, or escalate."""
    alerts = view.config.alerts
    ways = [name for name in ("mail", "webhook", "command") if getattr(alerts, name) is not None]
    escalates = alerts.mail is not None and bool(alerts.mail.escalate_to)
    return met_if(
        len(ways) > 1 or escalates,
        f"channels: {', '.join(ways) or 'none'}; escalate_to: {'yes' if escalates else 'no'}",
    )


def judge_servers(view: View) -> Judgement:
    """Judge whether each zone has at least two secondaries."""
    parts = (
        met_if(len(zone.secondaries) >= 2, f"{zone.name}: {len(zone.secondaries)} secondaries")
        for zone in view.zones
    )
    return all_of(parts, "no zone is configured")


def judge_guard(view: View) -> Judgement:
    """Judge whether a cut or emptied input is refused."""
    parts = (
        met_if(zone.max_change <= MAX_CHANGE, f'{zone.name}: max_change = "{zone.max_change:.0%}"')
        for zone in view.zones
    )
    return all_of(parts, "no zone is configured")
