"""Make the rollover planner's policy from a zone's configuration."""

from datetime import UTC, datetime

from dnssecd.config.model import Config, Policy, ZoneConfig
from dnssecd.core.keys.keystate import Role
from dnssecd.core.keys.types import KeySpec, RolloverPolicy

YEARS_AHEAD = 3
#: The end of a freeze that an operator must end (epoch s).
FOREVER = 1 << 40
#: The smallest margin of every wait (s): a smaller clock jump is not noticed.
MARGIN_S_MIN = 5


def rollover_policy(config: Config, zone: ZoneConfig, now: float) -> RolloverPolicy:
    """Return the planner's policy for a zone; freeze windows from last year on and some years ahead.

    The margin for a wrong clock depends on the pace of the policy: steps within seconds do not wait for
    minutes.
    """
    policy = config.policies[zone.policy]
    return RolloverPolicy(
        specs=_specs(policy),
        signed=policy.signed,
        parent=not (zone.parent.none or zone.name == "."),
        dnskey_ttl=policy.dnskey_ttl,
        propagation_delay=policy.propagation_delay,
        parent_propagation_delay=policy.parent_propagation_delay,
        parent_ds_ttl=policy.parent_ds_ttl,
        standby_ksk=policy.standby_ksk,
        standby_zsk=policy.standby_zsk,
        given=policy.keys == "given",
        require_backup=policy.require_backup,
        holders_min=config.holders_min(policy),
        shared=config.shared_keystores | config.sealed_keystores,
        rfc5011=policy.rfc5011,
        manual=policy.manual,
        freeze=_freeze(policy, now),
        margin=min(config.server.clock_tolerance, max(policy.propagation_delay, MARGIN_S_MIN)),
    )


def _specs(policy: Policy) -> tuple[KeySpec, ...]:
    return tuple(
        KeySpec(Role(role), key.algorithm, key.keystore, key.lifetime, key.bits)
        for role, key in policy.templates
    )


def _freeze(policy: Policy, now: float) -> tuple[tuple[int, int], ...]:
    year = datetime.fromtimestamp(now, UTC).year
    return tuple(
        span for window in policy.freeze for span in window.spans(range(year - 1, year + YEARS_AHEAD))
    )
