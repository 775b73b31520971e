"""Signature and TTL times of a policy, and the checks that need no zone.

Checks that depend on the zone (its largest TTL, its SOA expire) are made at every load, not here.
"""

from __future__ import annotations

from dataclasses import dataclass

from dnssecd.config.model import KeyTemplate
from dnssecd.config.reader import Section
from dnssecd.durations import format_duration

HOUR = 3_600
DAY = 86_400
_TTL_MAX = 2**31 - 1  # RFC 2181 §8
_VALIDITY_MAX = 2**31 - 1  # RRSIG times are serial numbers (RFC 4034 §3.1.5)


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of a policy in seconds. refresh: None for "auto"."""

    dnskey_ttl: int
    validity: int
    inception: int
    refresh: int | None
    jitter: int
    propagation_delay: int
    parent_propagation_delay: int
    parent_ds_ttl: int


def read_timing(section: Section) -> Timing:
    """Return the times of a ``[policy.*]`` table; a default that does not fit is lowered, with a warning."""
    validity = section.duration("signature_validity", 30 * DAY, low=1, high=_VALIDITY_MAX)
    refresh = _refresh(section, validity)
    longest = validity // 2 if refresh is None else refresh
    inception = section.duration("signature_inception", -HOUR, low=-_VALIDITY_MAX, high=_VALIDITY_MAX)
    if inception > 0:
        section.error(
            "signature_inception",
            "the inception would be in the future: validators would not accept new signatures",
            'write a time in the past, as in "-1h"',
        )
    return Timing(
        dnskey_ttl=_dnskey_ttl(section, longest),
        validity=validity,
        inception=inception,
        refresh=refresh,
        jitter=_jitter(section, validity - longest),
        propagation_delay=section.duration("propagation_delay", 300),
        parent_propagation_delay=section.duration("parent_propagation_delay", HOUR),
        parent_ds_ttl=section.duration("parent_ds_ttl", DAY, high=_TTL_MAX),
    )


def _refresh(section: Section, validity: int) -> int | None:
    if section.raw("signature_refresh") in (None, "auto"):
        return None
    refresh = section.duration("signature_refresh", validity // 2, low=1)
    if refresh >= validity:
        section.error(
            "signature_refresh",
            f"signatures would be renewed {format_duration(refresh)} before they expire, but their validity is "
            f"only {format_duration(validity)}: each would be due immediately",
            'make it shorter than signature_validity, or "auto"',
        )
        return validity // 2
    return refresh


def _dnskey_ttl(section: Section, refresh: int) -> int:
    """Return the DNSKEY TTL, default 1h. It must be shorter than the refresh: caches must not outlive a signature."""
    ttl = section.duration("dnskey_ttl", HOUR, high=_TTL_MAX)
    if ttl < refresh:
        return ttl
    if section.has("dnskey_ttl"):
        section.error(
            "dnskey_ttl",
            f"a DNSKEY RRset cached for {format_duration(ttl)} can outlive its signature, which is renewed "
            f"{format_duration(refresh)} before it expires",
            "make it shorter than the refresh, or signature_validity longer",
        )
        return ttl
    lowered = refresh // 2
    section.warn(
        "dnskey_ttl",
        f"the default of 1h is not shorter than the refresh; {format_duration(lowered)} is used",
        "write dnskey_ttl, or make signature_validity longer",
    )
    return lowered


def _jitter(section: Section, room: int) -> int:
    """Return the jitter, default 12h. *room*: validity less refresh, the age of a signature when it is renewed."""
    jitter = section.duration("signature_jitter", 12 * HOUR)
    if jitter < room:
        return jitter
    if section.has("signature_jitter"):
        section.error(
            "signature_jitter",
            f"with a jitter of {format_duration(jitter)} some signatures are due for renewal as soon as they "
            f"are made: validity less refresh is {format_duration(room)}",
            f'make it shorter, at most "{format_duration(max(room // 2, 0))}"',
        )
        return 0
    lowered = room // 4
    section.warn(
        "signature_jitter",
        f"the default of 12h does not fit these signature times; {format_duration(lowered)} is used",
        "write signature_jitter, or make signature_validity longer",
    )
    return lowered


def check_lifetimes(
    section: Section,
    timing: Timing,
    *,
    ksk: KeyTemplate | None,
    zsk: KeyTemplate | None,
    csk: KeyTemplate | None,
) -> None:
    """Check that each key lives longer than the introduction of its successor takes."""
    # RFC 7583 §3.2.1: Ipub = Dprp + TTLkey; §3.3.1: the DS adds DprpP + TTLds.
    ipub = timing.propagation_delay + timing.dnskey_ttl
    with_ds = ipub + timing.parent_propagation_delay + timing.parent_ds_ttl
    for role, key, needed, parts in (
        ("zsk", zsk, ipub, "propagation_delay + dnskey_ttl"),
        ("ksk", ksk, with_ds, "propagation_delay + dnskey_ttl + parent_propagation_delay + parent_ds_ttl"),
        ("csk", csk, with_ds, "propagation_delay + dnskey_ttl + parent_propagation_delay + parent_ds_ttl"),
    ):
        if key is not None and key.lifetime is not None and key.lifetime <= needed:
            section.problems.error(
                section.at(role, "lifetime"),
                f"a key that lives {format_duration(key.lifetime)} is retired before its successor is usable, "
                f"after {format_duration(needed)} ({parts})",
                "make the lifetime longer, or those times shorter",
            )
