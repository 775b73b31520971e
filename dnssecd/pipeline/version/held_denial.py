"""Keep the present chain of a zone while the policy's change of denial waits for its gates."""

import msgspec

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrtypes import NSEC, NSEC3
from dnssecd.core.keys.goals import DENIAL
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.signing.denial import FLAG_OPT_OUT, DenialParameters
from dnssecd.core.zone.zoneview import ZoneView
from dnssecd.pipeline.jobs.spec import ZoneSpec


def denial_of(view: ZoneView) -> DenialParameters | None:
    """Return the denial of existence of a version; None for one without a chain."""
    first = view.denial_from(APEX)
    if first is None:
        return None
    if first.rtype == NSEC:
        return DenialParameters("nsec")
    assert first.rtype == NSEC3
    return DenialParameters("nsec3", opt_out=bool(first.rdata[3] & FLAG_OPT_OUT))


def in_force(spec: ZoneSpec, view: ZoneView, keyset: Keyset) -> ZoneSpec:
    """Return the specification for the next version."""
    held = denial_of(view) if spec.hold_denial or keyset.held else None
    if held is None or held == spec.denial_parameters:
        return spec
    token = denial_token(held, spec.denial_parameters)
    if not spec.hold_denial and (token not in keyset.held or token in keyset.approved):
        return spec
    return msgspec.structs.replace(spec, denial=held.kind, opt_out=held.opt_out)


def denial_token(old: DenialParameters, new: DenialParameters) -> str:
    """Return the name of a change as a step that may wait for approval."""
    return f"{DENIAL}{words(old)} to {words(new)}"


def words(parameters: DenialParameters) -> str:
    """Return "nsec", "nsec3" or "nsec3 opt-out"."""
    return parameters.kind + (" opt-out" if parameters.opt_out else "")
