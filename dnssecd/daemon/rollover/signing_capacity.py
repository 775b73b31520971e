"""The zone sizes that a signing rate can sustain."""

from __future__ import annotations

from typing import Any

#: Signatures a name needs with NSEC3, by kind of zone: measured on zones of 100,000 names.
SIGNATURES_PER_NAME = {"hosts": 2.7, "delegations, half of them with DS": 1.5}

MILLION = 1_000_000
HOUR_S = 3600
#: With the default policy each signature is renewed after 15 of its 30 days at the latest.
RENEWED_EVERY_S = 15 * 86_400


def sustained(per_second: float) -> list[dict[str, Any]]:
    """Return, for each kind of zone, the time for a million names, the names per hour, the sustainable names.

    ``names_fresh``: the names whose signatures can be renewed in time if nothing else is signed.
    """
    return [
        {
            "zone": kind,
            "signatures_per_name": each,
            "million_names_s": round(MILLION * each / per_second, 1) if per_second else None,
            "names_in_an_hour": int(per_second * HOUR_S / each),
            "names_fresh": int(per_second * RENEWED_EVERY_S / each),
        }
        for kind, each in SIGNATURES_PER_NAME.items()
    ]
