"""Keys that several zones use (`share_keys`): which of them a zone is given.

A key that is shared has the name of those who share it in its idempotency text. Zones come to the same keys by all
taking the newest: a new zone at its start, the others when a rollover is due for each.
"""

from __future__ import annotations

from collections.abc import Callable

from dnssecd.keyservice_protocol import GenerateRequest
from dnssecd.signer import algorithms
from dnssecd.signer.errors import Unavailable
from dnssecd.signer.key_file import Description
from dnssecd.signer.keystore import Keystore
from dnssecd.signer.stores import Stores

_PREFIX = "shared by "


def mark(share: str, text: str) -> str:
    """Return the idempotency text of a key that those named `share` use."""
    return f"{_prefix(share)}{text}"


def is_shared(key: Description) -> bool:
    """Return whether the key was made for those who share keys under a name."""
    return key.idempotency.startswith(_PREFIX)


def find(
    stores: Stores,
    store: Keystore,
    request: GenerateRequest,
    bits: int,
    may_go_with: Callable[[Description, bytes], bool],
) -> Description | None:
    """Return the key in `store` that the zone of `request` is to share; None: one has to be made.

    It is the newest of its kind that does not go before a key the zone has. Unavailable when it cannot be used now:
    that is no reason to make another. `may_go_with` says whether the limits of a key's zones let it go to another.
    """
    prefix = _prefix(request.share)
    kind = (request.role, request.algorithm)
    mine = [key for key in store.registry.of_zone(request.zone) if (key.role, key.algorithm) == kind]
    taken = stores.tags(request.zone)
    since = max((key.created for key in mine if key.id in request.known), default=0)
    found = [
        key
        for key in store.registry.all()
        if key.idempotency.startswith(prefix)
        and (key.role, key.algorithm) == kind
        and (not bits or key.bits == bits)
        and key.id not in request.known
        and key.created >= since
        and (
            request.zone in key.zones
            or (taken.isdisjoint(algorithms.tags(key.dnskey)) and may_go_with(key, request.zone))
        )
    ]
    if not found:
        return None
    newest = max(found, key=lambda key: (request.zone in key.zones, key.created, key.id))
    state, detail = store.state(newest)
    if state != "available":
        raise Unavailable(f"the key that is shared, {newest.id}, cannot be used: {detail}")
    return newest


def _prefix(share: str) -> str:
    return f"{_PREFIX}{share}: "
