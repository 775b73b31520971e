"""The three lines of `dnssecd explain`: each fits a terminal of 80 columns for a usual zone."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.cli import explain
from dnssecd.core.keys.keyset import Keyset, new_key
from dnssecd.core.keys.keystate import Event, Rec, Role
from dnssecd.core.keys.types import Blocker, Gate
from dnssecd.core.parent.handover import Handover
from dnssecd.core.parent.security import Security, Word
from dnssecd.daemon.zones import outlook

ZONE = "example.com."
APEX = b"\x07example\x03com\0"
DUE = 1_796_040_060
NOW = DUE - 3_574
KEY = new_key("key1", Role.KSK, 13, bytes(64), "local", 1)


def served(**changed: Any) -> Any:
    """Return a zone that two of two servers have, with a KSK that settles until DUE."""
    settles = Blocker(
        ref=KEY.ref, tag=KEY.tag, rec=Rec.DNSKEY, event=Event.SETTLE,
        gate=Gate.TIME, rule="dnskey-settles", detail="", until=DUE,
    )  # fmt: skip
    plan = SimpleNamespace(blockers=[settles], keyset=Keyset(APEX, keys=(KEY,)))
    keys = SimpleNamespace(plan=plan, present_until=None, signed_until=None, trouble="")
    last = [SimpleNamespace(server=name, serial=serial) for name, serial in (("ns1", 1), ("ns2", 1))]
    known = SimpleNamespace(
        handover=Handover(ZONE, APEX, ()), parent=SimpleNamespace(alone=False, push=None, hook=""), ways={},
        reached=False,
    )  # fmt: skip
    zone = SimpleNamespace(
        name=ZONE, serial=1, spec=SimpleNamespace(verify_only=False, input_anchor=None), frozen=False, problems=[],
        blockers=[], keys=keys, ds=known, servers=SimpleNamespace(last=lambda: last),
        asked_servers=[SimpleNamespace(name="ns1"), SimpleNamespace(name="ns2")], cluster=None,
    )  # fmt: skip
    vars(zone).update(changed)
    return zone


SECURITIES = {
    "due": Security(Word.DS_DUE, "the parent has no DS yet", DUE),
    "secure": Security(Word.SECURE, "the parent has its DS"),
    "unknown": Security(Word.UNKNOWN, "the parent was not seen yet"),
    "bogus": Security(Word.BOGUS, "an RRSIG of ns2 has expired"),
}
SHOWN = {
    "due": [
        "Now:  serial 1 is served by 2 of 2 servers; the parent has no DS yet.",
        f"Next: All caches have the DNSKEY of KSK {KEY.tag} at 2026-11-30 12:01 UTC, in 59m.",
        f"You:  from 2026-11-30 12:01 UTC on, hand over the DS of key {KEY.tag}:",
        "      dnssecd ds show example.com.",
    ],
    "secure": ["Now:  serial 1 is served by 2 of 2 servers; secure: the parent has its DS."],
    "unknown": ["Now:  serial 1 is served by 2 of 2 servers; the parent was not seen yet."],
    "bogus": ["Now:  serial 1 is served by 2 of 2 servers; BOGUS: an RRSIG of ns2 has expired."],
}


@pytest.mark.parametrize("name", SECURITIES)
def test_three_lines_at_80_columns(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(outlook, "security", lambda zone: SECURITIES[name])
    later = SimpleNamespace(tags=[KEY.tag])
    monkeypatch.setattr(outlook, "tags", lambda changes: str(later.tags[0]))
    lines = outlook.plain_lines(cast(Any, served()), NOW)
    assert len(lines) == 3
    explain.print_lines("\n".join(lines), " " * 6)
    shown = capsys.readouterr().out.splitlines()
    assert shown[: len(SHOWN[name])] == SHOWN[name]
    if name != "due":
        assert shown[-1] == "You:  nothing to do."


def test_a_zone_whose_parent_was_not_asked_is_not_called_unpublished() -> None:
    assert outlook.security(served(ds=None)).detail == "the parent was not seen yet"
    assert outlook.security(served(serial=None)).detail == "it is not published yet"


def test_a_zone_that_no_other_node_can_take_over_waits_for_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook, "security", lambda zone: SECURITIES["secure"])
    for alone in (False, True):
        zone = served(cluster=SimpleNamespace(alone=alone))
        shown = outlook.plain_lines(cast(Any, zone), NOW)[-1]
        assert shown.endswith("no other node can take it over: dnssecd zone owner example.com.") is alone
