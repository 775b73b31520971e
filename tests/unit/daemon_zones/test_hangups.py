"""SIGHUP: many signals are few reloads, and the service manager gets its answer in any case."""

from __future__ import annotations

import asyncio

import pytest

from dnssecd.control.command import Refused
from dnssecd.control.messages.config import ConfigReloaded
from dnssecd.daemon import hangups
from dnssecd.daemon.hangups import Hangups


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the service manager gets."""
    said: list[str] = []
    monkeypatch.setattr(hangups, "notify", lambda *words: said.append(words[0]))
    return said


class Reloads:
    """Reloads that end when they may, with an error if there is one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.noted, self.error = 0, 0, error
        self.may_end = asyncio.Event()

    async def reload(self) -> ConfigReloaded:
        self.begun += 1
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return ConfigReloaded(changed=False, added=[], removed=[], zones_changed=[], changes=[], warnings=[])

    async def note(self, result: ConfigReloaded) -> None:
        self.noted += 1


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_storm_of_signals_is_two_reloads(told: list[str]) -> None:
    reloads = Reloads()
    signals = Hangups(reloads.reload, reloads.note)
    for _ in range(1000):
        signals.heard()
        await asyncio.sleep(0)
    assert reloads.begun == 1
    reloads.may_end.set()
    await settle()
    assert (reloads.begun, reloads.noted) == (2, 2), "the file may have changed after it was read"
    assert told == ["RELOADING=1", "READY=1"] * 2
    signals.heard()
    await settle()
    assert reloads.begun == 3


@pytest.mark.parametrize("error", [Refused("no", "yes"), OSError(28, "No space left on device")])
async def test_a_reload_that_fails_is_answered_and_the_next_one_runs(
    told: list[str], error: Exception
) -> None:
    reloads = Reloads(error)
    signals = Hangups(reloads.reload, reloads.note)
    reloads.may_end.set()
    for _ in range(2):
        signals.heard()
        await settle()
    assert (reloads.begun, reloads.noted) == (2, 0)
    assert told == ["RELOADING=1", "READY=1"] * 2


async def test_a_stop_ends_a_reload(told: list[str]) -> None:
    reloads = Reloads()
    signals = Hangups(reloads.reload, reloads.note)
    await signals.close()
    signals.heard()
    await settle()
    await signals.close()
    assert told == ["RELOADING=1", "READY=1"]
    assert not reloads.noted
