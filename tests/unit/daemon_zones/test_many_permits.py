"""Many zones that want to be published at the same time ask the key service a few at a time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from dnssecd.daemon.zones.permits import ASKING_MAX, Permits
from dnssecd.keyservice_client.errors import SignerBusy


class SlowSigner:
    """Counts the calls that wait at the same time."""

    def __init__(self) -> None:
        self.waiting = self.most = self.asked = 0

    async def keys(self, zone: bytes) -> list[Any]:
        self.asked += 1
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0)
        self.waiting -= 1
        raise SignerBusy("not now", retry_in_s=1.0)


async def test_a_first_start_with_thousands_of_zones_does_not_flood_the_key_service() -> None:
    signer, tried = SlowSigner(), []
    outcomes = SimpleNamespace(retry=lambda zone, job: tried.append(zone))
    nothing = cast(Any, None)
    permits = Permits(
        nothing, nothing, cast(Any, outcomes), cast(Any, signer), nothing, nothing, nothing, nothing
    )
    zones = [cast(Any, SimpleNamespace(origin=b"\x01a\x00")) for _ in range(5 * ASKING_MAX)]
    found = await asyncio.gather(*(permits._permission(zone) for zone in zones))
    assert {permission.event for permission in found} == {"signing-failed"}
    assert signer.asked == len(tried) == len(zones)
    assert signer.most == ASKING_MAX
