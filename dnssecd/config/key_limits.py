"""What protects keys from one person and from the daemon: limits of ``[policy.*]``, groups of ``[roles]``."""

from __future__ import annotations

from collections.abc import Iterable

from dnssecd.config.model import Policy, RolesConfig, SignerConfig
from dnssecd.config.reader import Section
from dnssecd.config.timing import Timing
from dnssecd.durations import format_duration
from dnssecd.keyservice_protocol import TAG_RANGE_MIN, TAGS
from dnssecd.keyservice_settings import KeyLimits

DAY = 86_400
_VALIDITY_MAX_DEFAULT = 60 * DAY
_DESTROY_AFTER_DEFAULT = 30 * DAY
_DURATION_MAX = 2**31 - 1  # RRSIG times are serial numbers (RFC 4034 §3.1.5)


def read_key_limits(section: Section, timing: Timing) -> KeyLimits:
    """Return what the key service is to permit with the keys of a ``[policy.*]`` table."""
    return KeyLimits(
        validity_s_max=_validity_max(section, timing.validity - timing.inception),
        destroy_after_s=section.duration("destroy_after", _DESTROY_AFTER_DEFAULT, high=_DURATION_MAX),
        two_person=section.flag("two_person"),
    )


def _validity_max(section: Section, needed: int) -> int:
    """Return the ceiling: by default 60d, or what the policy's own signatures need if that is longer."""
    default = max(_VALIDITY_MAX_DEFAULT, needed)
    ceiling = section.duration("validity_max", default, low=1, high=_DURATION_MAX)
    if ceiling < needed:
        section.error(
            "validity_max",
            f"the key service would refuse every signature of this policy: they are valid for "
            f"{format_duration(needed)} (signature_validity, and back to signature_inception)",
            f'write validity_max = "{format_duration(needed)}" or more, or make signature_validity shorter',
        )
        return needed
    return ceiling


def read_tag_range(section: Section) -> tuple[int, int]:
    """Return the range of the tags of keys that are made; with the REVOKE bit they have a tag of it, too."""
    if not section.has("tag_range"):
        return TAGS
    value = section.raw("tag_range")
    remedy = "write tag_range = [0, 32767]"
    numbers = isinstance(value, list) and all(type(number) is int for number in value)
    if not isinstance(value, list) or not numbers or len(value) != 2:
        section.error("tag_range", "it is not a pair of key tags", remedy)
        return TAGS
    low, high = value
    if not TAGS[0] <= low <= high <= TAGS[1]:
        section.error("tag_range", f"[{low}, {high}] is no range of key tags (0 to 65535)", remedy)
        return TAGS
    if high - low + 1 < TAG_RANGE_MIN:
        what = f"the range has {high - low + 1} tags: keys would be made in vain too often"
        section.error("tag_range", what, f"give each signer {TAG_RANGE_MIN} tags or more")
        return TAGS
    return low, high


def read_roles(section: Section) -> RolesConfig:
    """Return the Unix groups of ``[roles]``."""
    roles = RolesConfig(
        viewer=section.text("viewer") or None,
        operator=section.text("operator") or None,
        key_officer=section.text("key_officer") or None,
    )
    section.finish()
    return roles


def check_two_person(
    root: Section, policies: Iterable[Policy], signer: SignerConfig, roles: RolesConfig
) -> None:
    """Report policies that ask for a second person where no second person can be told from the first."""
    for policy in policies:
        if not policy.two_person:
            continue
        where = ("policy", policy.name, "two_person")
        if signer.socket is None:
            root.problems.error(
                where,
                "the daemon's own key service has the daemon's user: it cannot tell a second person from the daemon",
                'run the key service by itself: [signer] socket = "/run/dnssecd-signer/signer.sock"',
            )
        if roles.key_officer is None:
            root.problems.error(
                where,
                "no user may give consent",
                'name the Unix group of those who may: [roles] key_officer = "dnssecd-officers"',
            )
