"""The keys of zones that wait for their first versions, from the key service: those of many zones in one trip."""

import asyncio

from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_protocol import ALSO_MAX, KeyInfo

#: Zones in one request. One request at a time: all of a first start at once would wait longer for answers than the
#: deadline of a call, fail together, and be tried again together.
ZONES_MAX = min(64, ALSO_MAX)


Place = tuple[bytes, asyncio.Future[list[KeyInfo]]]


class KeyLists:
    """Belongs to the event loop. Zones that ask while a request is under way are in the next one."""

    def __init__(self, signer: AsyncSignerClient) -> None:
        self._signer = signer
        self._waiting: list[Place] = []
        self._asking: asyncio.Task[None] | None = None

    async def keys(self, zone: bytes) -> list[KeyInfo]:
        """Return the keys bound to a zone; raise SignerError."""
        place: asyncio.Future[list[KeyInfo]] = asyncio.get_running_loop().create_future()
        self._waiting.append((zone, place))
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return await place

    async def _ask(self) -> None:
        try:
            await asyncio.sleep(0)  # the others that are started in this turn
            while self._waiting:
                places, self._waiting = self._waiting[:ZONES_MAX], self._waiting[ZONES_MAX:]
                await self._ask_for(places)
        finally:
            self._asking = None
            _fail(self._waiting, None)  # only if it was cancelled: the daemon ends
            self._waiting.clear()

    async def _ask_for(self, places: list[Place]) -> None:
        zones = list(dict.fromkeys(zone for zone, _ in places))
        try:
            found = dict(zip(zones, await self._signer.keys_of_zones(zones), strict=True))
        except asyncio.CancelledError:
            _fail(places, None)
            raise
        except Exception as error:  # each zone gets it, and tries again
            _fail(places, error)
            return
        for zone, place in places:
            if not place.done():
                place.set_result(found[zone])


def _fail(places: list[Place], error: Exception | None) -> None:
    for _, place in places:
        if not place.done():
            if error is None:
                place.cancel()
            else:
                place.set_exception(error)
