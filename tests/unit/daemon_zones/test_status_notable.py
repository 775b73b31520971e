"""``status`` of many zones: those with something to see are listed on request, the verdict is on all."""

from pathlib import Path
from typing import Any

from dnssecd.control.command import Call
from dnssecd.control.messages.status import ShowStatus
from dnssecd.control.messages.zones import ZoneStatus
from dnssecd.control.peer import Caller
from dnssecd.daemon.commands.status import NOTED_MAX
from dnssecd.pipeline.jobs.outcome import Problem
from tests.unit.daemon_page.test_page_data import Data
from tests.unit.daemon_rollover.rig import Rig


async def test_zones_without_a_note_are_counted_and_not_listed(tmp_path: Path, signer: str) -> None:
    rig = Rig(tmp_path, signer)
    await rig.plan()
    status = Data(rig, {rig.name: rig.zone}).status

    async def zones(*, notable: bool) -> list[ZoneStatus]:
        call: Call[Any] = Call("status", {}, Caller(1, 0, 0, frozenset({"viewer"})), _nothing)
        call.request = ShowStatus(notable=notable)
        answer = await status.show(call)
        assert answer.verdict.zones == 1
        return answer.zones

    async def listed(*, notable: bool) -> list[str]:
        return [zone.zone for zone in await zones(notable=notable)]

    async def steps(*, notable: bool) -> list[str]:
        return [zone.next_step for zone in await zones(notable=notable)]

    assert await listed(notable=False) == [rig.name]
    assert await listed(notable=True) == []
    rig.events.raise_event("input-error", rig.name, "line 3")
    assert await listed(notable=True) == [rig.name]
    assert await steps(notable=True) == await steps(notable=False) != [""]
    rig.events.resolve("input-error", rig.name)
    rig.zone.frozen = True
    assert await listed(notable=True) == [rig.name]
    await rig.close()


async def test_of_zones_with_only_a_note_some_are_listed_and_all_are_counted(
    tmp_path: Path, signer: str
) -> None:
    rig = Rig(tmp_path, signer)
    await rig.plan()
    rig.zone.warnings = (Problem("refresh-halved", "a note", ""),)
    status = Data(rig, {f"{number}.{rig.name}": rig.zone for number in range(NOTED_MAX + 2)}).status
    call: Call[Any] = Call("status", {}, Caller(1, 0, 0, frozenset({"viewer"})), _nothing)
    call.request = ShowStatus(notable=True)
    answer = await status.show(call)
    await rig.close()
    assert (len(answer.zones), answer.verdict.zones_noted) == (NOTED_MAX, NOTED_MAX + 2)


async def _nothing(message: object) -> None:
    """No progress is shown."""
