"""The command ``simulate.algorithm``: what another algorithm does to the size of a zone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from dnssecd.config.algorithms import ALGORITHMS, EXPERIMENTAL
from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.forecasts import AlgorithmSizes, SimulateAlgorithm, StageSizes
from dnssecd.core.signing.sizes import OCTETS, SizeForecast, Sizes, forecast_sizes
from dnssecd.daemon.commands.common import zone_of
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.server.reply import UDP_SIZE

#: A large zone is read as a whole.
TIMEOUT_S = 600.0


class SizeCommands:
    """The handler; one instance per daemon. Zones are measured one after the other."""

    def __init__(self, zones: Mapping[str, FrontZone]) -> None:
        self._zones = zones
        self._turn = asyncio.Lock()

    def commands(self) -> list[Command[Any]]:
        """Return the command."""
        return [Command(SimulateAlgorithm, self.simulate, timeout=TIMEOUT_S)]

    async def simulate(self, call: Call[SimulateAlgorithm]) -> AlgorithmSizes:
        """Answer ``simulate.algorithm``."""
        zone, algorithm = zone_of(self._zones, call.request.zone), call.request.algorithm
        if algorithm not in OCTETS:
            names = ", ".join((*ALGORITHMS, *EXPERIMENTAL))
            raise Refused(f"algorithm {algorithm} is not known", f"choose one of {names}", exit=2)
        if zone.serial is None:
            raise Refused(f"{zone.name} has no signed version to measure", "wait for its first publication")
        async with self._turn:
            found, stored = await asyncio.to_thread(_measure, zone, algorithm)
        if found.now.signatures == 0:
            raise Refused(f"{zone.name} is not signed", "ask for a zone whose policy signs")
        return AlgorithmSizes(
            zone=zone.name,
            algorithm=algorithm,
            experimental=algorithm in EXPERIMENTAL.values(),
            now=_describe(found.now, stored, found),
            during=_describe(found.during, stored, found),
            after=_describe(found.after, stored, found),
            udp_max=UDP_SIZE,
        )


def _measure(zone: FrontZone, algorithm: int) -> tuple[SizeForecast, int]:
    database = zone.database
    with database.snapshot() as snapshot:
        return forecast_sizes(snapshot, algorithm), database.log_sizes().database


def _describe(sizes: Sizes, stored: int, found: SizeForecast) -> StageSizes:
    """Return one stage. The database grows by what the transfer grows: signatures are most of both."""
    return StageSizes(
        dnskey=sizes.dnskey,
        soa=sizes.soa,
        address=sizes.address,
        nxdomain=sizes.nxdomain,
        update=sizes.update,
        transfer=sizes.transfer,
        signatures=sizes.signatures,
        store=max(0, stored + sizes.transfer - found.now.transfer),
    )
