"""What the configuration allows a dynamic update."""

from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, CSYNC
from dnssecd.core.signing.lifetimes import refresh_s
from dnssecd.core.update.types import UpdatePolicy
from dnssecd.core.zone.grants import NameGrants
from dnssecd.pipeline.jobs.spec import ZoneSpec


def update_policy(spec: ZoneSpec, grants: NameGrants, serial_max: int) -> UpdatePolicy:
    """Return the policy for an update of the zone by a key with these grants."""
    limits = spec.updates
    return UpdatePolicy(
        grants=grants,
        apex_refused=APEX_DERIVED_TYPES | {CSYNC} if spec.csync else APEX_DERIVED_TYPES,
        ttl_max=_ttl_max(spec),
        rrs_per_rrset_max=limits.records,
        types_per_name_max=limits.types,
        names_changed_max=limits.names,
        knot_secondaries=limits.strict,
        allow_missing_glue=spec.allow_missing_glue,
        serial_max=serial_max,
    )


def _ttl_max(spec: ZoneSpec) -> int:
    """Return the largest TTL of an update: less than the resulting refresh, as for every other input."""
    refresh, _ = refresh_s(spec.refresh_s, spec.validity_s, spec.validity_s, 0)
    return max(1, refresh - 1)
