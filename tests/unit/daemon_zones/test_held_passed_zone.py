"""A passed zone whose restored version is refused has its input read; a zone that is signed here stays held."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.daemon.zones import permits as permits_module
from dnssecd.daemon.zones.first_publication import Permission
from dnssecd.daemon.zones.machine import State, state_of
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.permits import Permits
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.version.state import Restored

REFUSED = Problem("verification-failed", "the restored version of z. does not verify: rrsig-expired")


@pytest.mark.parametrize(
    ("verify_only", "event", "asked"),
    [(True, "verification-failed", ["load"]), (True, "store-failed", []), (False, "verification-failed", [])],
)
async def test_what_is_asked_for_when_its_restored_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, verify_only: bool, event: str, asked: list[str]
) -> None:
    nothing = cast(Any, None)

    class Runner:
        def job(self, *_: object, **__: object) -> None:
            pass

        async def run(self, *_: object) -> Outcome:
            return Outcome(
                zone="z.", result="failed", problems=(Problem(event, REFUSED.cause, REFUSED.remedy),)
            )

    async def may(*_: object) -> Permission:
        return Permission(True)

    monkeypatch.setattr(permits_module.job_events, "report", lambda *_, **__: None)
    monkeypatch.setattr(Permits, "_may_return", may)
    raised: list[str] = []
    events = SimpleNamespace(raise_event=lambda name, *_, **__: raised.append(name))
    outcomes, mailbox = SimpleNamespace(retry=lambda *_: None), Mailbox()
    wanted: list[str] = []
    mailbox.wanted.subscribe(lambda zone, kind: wanted.append(kind))
    permits = Permits(
        nothing,
        cast(Any, Runner()),
        cast(Any, outcomes),
        nothing,
        cast(Any, events),
        nothing,
        nothing,
        mailbox,
    )
    zone: Any = SimpleNamespace(
        name="z.", doubt=None, held=Restored(at=1, who="root", source="b.tar"), state=State.HELD, gone=False,
        serial=None, expired=False, check=lambda: None, spec=SimpleNamespace(verify_only=verify_only),
    )  # fmt: skip
    permission = await permits.permit(zone)
    assert not permission.allowed
    assert wanted == asked
    assert raised == ["restored-waiting"]
    assert zone.blockers == (REFUSED.cause,)
    assert zone.state is (State.WAITING if asked else State.HELD) is state_of(zone)
