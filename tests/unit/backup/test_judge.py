"""Decisions on restores: each refusal, the flag that lets it happen, and what it never lets happen."""

from __future__ import annotations

import pytest

from dnssecd.backup.judge import Decision, Options, Stored, decide
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.restore_limits import LiveServer
from dnssecd.daemon.zones.restored_zone import judge
from dnssecd.pipeline.version.state import Restored
from dnssecd.replacing import replace
from tests.unit.core_parent.keysets import NOW, fresh, in_place, key

Z = "example.com."
KEYS = fresh()
RDATAS = frozenset(each.rdata for each in KEYS.keys)


def live(serial: int | None, keys: frozenset[bytes] | None = RDATAS, failure: str = "") -> LiveServer:
    return LiveServer("ns1", serial, None if serial is None else keys, failure)


def decided(
    serial: int | None,
    present: int | None = None,
    *servers: LiveServer,
    keyset: Keyset | None = KEYS,
    here: Keyset | None = None,
    options: Options | None = None,
) -> Decision:
    return decide(Z, Stored(serial, keyset), Stored(present, here), servers, options or Options())


def codes(decision: Decision) -> list[str]:
    return [refusal.code for refusal in decision.refusals]


def test_a_zone_that_all_servers_have_is_served_unchanged() -> None:
    decision = decided(5, 5, live(5), here=KEYS)
    assert (decision.held, decision.floor, decision.refusals) == (False, None, ())


def test_a_zone_without_evidence_is_held() -> None:
    """No server to ask and nothing here: it may be older than what is public, which nobody can tell."""
    decision = decided(5)
    assert (decision.held, decision.floor, decision.refusals) == (True, None, ())
    assert decided(5, 4).held
    assert not decided(5, 5, here=KEYS).held, "nothing changes"
    assert decided(None, keyset=None).refusals == ()


@pytest.mark.parametrize("servers", [(live(4),), (live(None),), (live(None, None, "no answer in time"),)])
def test_a_zone_that_differs_between_servers_is_checked_again(servers: tuple[LiveServer, ...]) -> None:
    decision = decided(5, None, *servers)
    assert decision.held
    assert decision.refusals == ()


def test_a_serial_goes_back_only_by_going_above() -> None:
    for present, servers in ((7, ()), (None, (live(7),)), (5, (live(7),))):
        assert codes(decided(5, present, *servers)) == ["serial-backwards"]
        allowed = decided(5, present, *servers, options=Options(raise_serial=True))
        assert (allowed.refusals, allowed.held, allowed.floor) == ((), True, 7)
    assert codes(decided(5, None, live(5 + 2**31))) == ["serial-backwards"], "RFC 1982 cannot tell"
    assert codes(decided(1, None, live(2**32 - 1))) == [], "1 is after 4294967295"


def test_from_before_the_first_publication() -> None:
    assert codes(decided(None, 3, keyset=None)) == ["serial-backwards"]
    assert codes(decided(None, None, keyset=None)) == []


def test_older_key_states_need_the_option_and_no_server_with_other_keys() -> None:
    now = in_place()
    compromised = replace(KEYS, keys=(replace(KEYS.keys[0], compromised=True), *KEYS.keys[1:]))
    assert codes(decided(5, 5, live(5), here=compromised)) == ["keys-backwards"]
    assert codes(decided(5, 5, live(5), here=compromised, options=Options(older_keys=True))) == []
    assert "keys-backwards" in codes(decided(5, 5, live(5), here=now))


def test_keys_that_validators_do_not_have() -> None:
    others = frozenset({key(5).rdata})
    assert codes(decided(5, None, live(5, others))) == ["keys-not-live", "foreign-dnskey"]
    assert codes(decided(5, None, live(5, RDATAS | others))) == ["foreign-dnskey"]
    accepted = decided(5, None, live(5, others), options=Options(other_keys=True))
    assert (accepted.refusals, accepted.held) == ((), True)
    raised = decided(5, None, live(7, others), options=Options(raise_serial=True, older_keys=True))
    assert codes(raised) == ["keys-not-live", "foreign-dnskey"], "no other flag lets it happen"


def test_a_stand_by_wants_to_see_the_live_keys() -> None:
    standby = Options(standby=True)
    assert codes(decided(5, None, options=standby)) == ["nobody-live"]
    assert codes(decided(5, None, live(None), options=standby)) == ["nobody-live"]
    assert codes(decided(5, None, live(6, frozenset()), options=standby)) == ["nobody-live"]
    taken = decided(5, None, live(6), options=standby)
    assert (taken.refusals, taken.held, taken.floor) == ((), True, 6)
    assert taken.held
    assert decided(5, 5, live(5), options=standby).held, "a stand-by always goes above"


def restored(**more: bool) -> Restored:
    return Restored(at=NOW, who="root", source="b.tar", **more)


def test_the_daemon_judges_once_more_before_it_publishes() -> None:
    away = live(None, None, "no answer in time")
    found = judge(Z, KEYS, restored(), [live(5), away])
    assert found is not None
    assert found.event == "restored-waiting"
    assert "no answer in time" in found.cause
    assert judge(Z, KEYS, restored(), [live(5), away], unheard=True) is None
    assert judge(Z, KEYS, restored(), [live(5)]) is None
    assert judge(Z, KEYS, restored(), [live(None)]) is None
    assert judge(Z, KEYS, restored(), []) is None, "without servers it comes back by itself"
    assert judge(Z, KEYS, restored(standby=True), [live(None)]) is not None
    others = frozenset({key(5).rdata})
    not_live = judge(Z, KEYS, restored(standby=True), [live(5, others)], unheard=True)
    assert not_live is not None
    assert "keys that validators do not have" in not_live.cause
    foreign = judge(Z, KEYS, restored(), [live(5, RDATAS | others)], unheard=True)
    assert foreign is not None
    assert foreign.event == "foreign-dnskey"
    assert judge(Z, KEYS, restored(other_keys=True), [live(5, others)]) is None
