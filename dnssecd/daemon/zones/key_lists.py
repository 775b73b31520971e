"""The keys of zones that wait for their first versions, from the key service: those of many zones in one trip."""

import asyncio

from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_protocol import ALSO_MAX, KeyInfo

#: Zones in one request. One request at a time: all of a first start at once would wait longer for answers than the
#: deadline of a call, fail together, and be tried again together.
ZONES_MAX = min(64, ALSO_MAX)


class KeyLists:
    """Belongs to the event loop. Zones that ask while a request is under way are in the next one."""

    def __init__(self, signer: AsyncSignerClient) -> None:
        self._signer = signer
        self._waiting: dict[bytes, list[asyncio.Future[list[KeyInfo]]]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def keys(self, zone: bytes) -> list[KeyInfo]:
        """Return the keys bound to a zone; raise SignerError."""
        place: asyncio.Future[list[KeyInfo]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(zone, []).append(place)
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return await place

    async def _ask(self) -> None:
        try:
            await asyncio.sleep(0)  # the others that are started in this turn
            while self._waiting:
                zones = list(self._waiting)[:ZONES_MAX]
                places = [self._waiting.pop(zone) for zone in zones]
                try:
                    found = await self._signer.keys_of_zones(zones)
                except BaseException as error:
                    _fail(places, error)
                    if not isinstance(error, Exception):
                        raise
                else:
                    for waiting, keys in zip(places, found, strict=True):
                        for place in waiting:
                            if not place.done():
                                place.set_result(keys)
        finally:
            self._asking = None
            if self._waiting:  # it was cancelled: the daemon ends
                _fail(list(self._waiting.values()), asyncio.CancelledError())
                self._waiting.clear()


def _fail(places: list[list[asyncio.Future[list[KeyInfo]]]], error: BaseException) -> None:
    for place in (place for waiting in places for place in waiting if not place.done()):
        if isinstance(error, asyncio.CancelledError):
            place.cancel()
        else:
            place.set_exception(error)
