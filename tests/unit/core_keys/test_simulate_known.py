"""A forecast knows spare keys, backups, ceremonies and other signers, and says where it cannot know."""

import pytest

from dnssecd.core.dns.rrtypes import DNSKEY
from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.evidence import KeyBackup, SignerSight, SpareKey
from dnssecd.core.keys.foreign_keys import add_foreign, remove_foreign
from dnssecd.core.keys.keyset import Keyset, dnskey_rdata, key_tag
from dnssecd.core.keys.keystate import Rec, RecordState, Role, State
from dnssecd.core.keys.lost_plan import lost_plan
from dnssecd.core.keys.recovery import recovery_plan
from dnssecd.core.keys.shape import shape_of
from dnssecd.core.keys.signed_ahead import AheadSet, SignedAhead
from dnssecd.core.keys.simulate import Assumptions, Simulation, simulate
from dnssecd.core.keys.summary import Hands, list_acts, summarize
from dnssecd.core.keys.types import KeySpec, RolloverPolicy
from dnssecd.replacing import replace

from .bench import DAY, Bench, policy, running

THERE = RecordState(State.OMNIPRESENT, 1, first_in=1, step_in=1)
THEIR_ZSK = dnskey_rdata(256, 13, b"their zsk".ljust(64, b"."))
THEIR_KSK = dnskey_rdata(257, 13, b"their ksk".ljust(64, b"."))


@pytest.fixture
def bench() -> Bench:
    return running()


def rolling(bench: Bench, role: Role = Role.ZSK) -> Keyset:
    return commands.roll_over(bench.keyset, role)


def ahead_of(
    bench: Bench, keyset: Keyset, rules: RolloverPolicy | None = None, **known: object
) -> Simulation:
    assume = Assumptions(resign=DAY, **known)  # type: ignore[arg-type]
    return simulate(keyset, rules or bench.policy, assume, bench.now, bench.now + 60 * DAY)


def names(simulation: Simulation) -> list[str]:
    return [event.event for event in simulation.events]


def spare(number: int = 1) -> SpareKey:
    public = f"spare {number}".encode().ljust(64, b".")
    return SpareKey(f"spare{number}", Role.ZSK, 13, 0, "local", public, number)


def tag_of(one: SpareKey) -> int:
    return key_tag(dnskey_rdata(256, one.algorithm, one.public_key))


# Spare keys


def test_a_spare_key_is_used_under_its_own_tag(bench: Bench) -> None:
    found = ahead_of(bench, rolling(bench), spares=(spare(2), spare(1)))
    used = [event for event in found.events if event.event == "use spare key"]
    assert [(event.role, event.key_tag, event.stand_in) for event in used] == [("zsk", tag_of(spare(1)), 0)]
    assert "generate" not in names(found)


def test_where_keys_are_given_the_forecast_ends_with_the_spare_keys(bench: Bench) -> None:
    given = replace(bench.policy, given=True)
    assert not ahead_of(bench, rolling(bench), given, spares=(spare(),)).waits
    (wait,) = ahead_of(bench, rolling(bench), given).waits
    assert wait.at == bench.now
    assert "add a zsk of algorithm 13" in wait.detail


def test_the_plan_for_a_lost_key_counts_on_a_spare_key(bench: Bench) -> None:
    zsk = next(key for key in bench.keyset.keys if key.role is Role.ZSK)
    given = replace(bench.policy, given=True)
    without = lost_plan(bench.keyset, given, Assumptions(), bench.now, zsk.ref, None)
    assert without.over_at is None
    assume = Assumptions(spares=(spare(),))
    found = lost_plan(bench.keyset, given, assume, bench.now, zsk.ref, None)
    assert found.over_at is not None
    assert any(f"takes key tag {tag_of(spare())}, a spare key" in step.text for step in found.steps)


# Backups


def test_a_backup_that_is_required_is_an_act_of_a_person(bench: Bench) -> None:
    required = replace(bench.policy, require_backup=True)
    found = ahead_of(bench, rolling(bench), required)
    assert names(found).count("confirm backup") == 1
    assert names(found).index("confirm backup") < names(found).index("publish dnskey")
    (act,) = list_acts(found.events, Hands.AUTOMATIC)
    assert act.text == "confirm a backup: ZSK new-1"
    assert "you act once" in summarize(found.events, Hands.AUTOMATIC)
    assert "remove" in names(found), "the rollover ends"


def test_a_key_with_a_confirmed_backup_waits_for_none(bench: Bench) -> None:
    required = replace(bench.policy, require_backup=True)
    saved = KeyBackup(spare().key_id, 1, "file")
    found = ahead_of(bench, rolling(bench), required, spares=(spare(),), backups=(saved,))
    assert "confirm backup" not in names(found)
    other = ahead_of(bench, rolling(bench), required, spares=(spare(),))
    assert names(other).count("confirm backup") == 1


def test_zones_whose_keys_have_backups_alike_share_a_forecast(bench: Bench) -> None:
    required = replace(bench.policy, require_backup=True)

    def kind(rules: RolloverPolicy, *saved: str) -> object:
        assume = Assumptions(backups=tuple(KeyBackup(key, 1, "file") for key in saved))
        return shape_of(bench.keyset, rules, assume, bench.now).kind

    first, second = (key.key_id for key in bench.keyset.keys)
    assert kind(required, first) == kind(required, first, "another zone's")
    assert kind(required, first) != kind(required, second)
    assert kind(bench.policy, first) == kind(bench.policy, second)


# Other signers


def with_other_signer(bench: Bench) -> Keyset:
    keyset = bench.keyset
    for rdata in (THEIR_ZSK, THEIR_KSK):
        keyset = add_foreign(keyset, rdata, "other", bench.now)
        key = keyset.keys[-1].with_record(Rec.DNSKEY, THERE)
        keyset = keyset.with_key(key.with_record(Rec.DS, THERE) if key.role is Role.KSK else key)
    return keyset


def seen(keyset: Keyset, **fields: object) -> SignerSight:
    """Return their server as it was seen: with their keys and our ZSK."""
    zsks = [key.rdata for key in keyset.keys if key.role is Role.ZSK and not key.foreign]
    served = tuple((rdata, 1) for rdata in (THEIR_ZSK, THEIR_KSK, *zsks))
    return replace(SignerSight("their server", "other", served, 3600, 1), **fields)  # type: ignore[arg-type]


def test_a_new_zsk_signs_when_the_other_signer_has_it(bench: Bench) -> None:
    keyset = commands.roll_over(with_other_signer(bench), Role.ZSK)
    found = ahead_of(bench, keyset, signers=(seen(keyset),), signer_ns=(("other", ("ns.other.",)),))
    assert names(found).count("bring dnskey") == 1
    brought = next(event for event in found.events if event.event == "bring dnskey")
    signs = next(event for event in found.events if event.event == "sign zone")
    assert signs.at >= brought.at + DAY
    assert not found.waits
    assert (
        list_acts(found.events, Hands.AUTOMATIC)[0].text
        == "bring the other signers the new DNSKEY: ZSK new-1"
    )


@pytest.mark.parametrize("known", [
    {"signers": ()},
    {"signers": (SignerSight("their server", "other"),)},
    {"signer_delay": None},
], ids=["no server is configured", "their server never answered", "they never follow"])  # fmt: skip
def test_a_forecast_ends_where_other_signers_are_not_known(bench: Bench, known: dict[str, object]) -> None:
    keyset = commands.roll_over(with_other_signer(bench), Role.ZSK)
    found = ahead_of(bench, keyset, **({"signers": (seen(keyset),)} | known))
    assert "sign zone" not in names(found)
    (wait,) = found.waits
    assert "other signers' DNSKEY RRsets" in wait.detail


def test_a_signer_that_leaves_does_so_when_its_ns_are_gone(bench: Bench) -> None:
    keyset = remove_foreign(with_other_signer(bench), bench.now, signer="other")
    known: dict[str, object] = {"signers": (seen(keyset),), "signer_ns": (("other", ("ns.other.",)),)}
    theirs, ours = ("ns.other.",), ("ns1.",)
    for zone, parent in ((theirs, theirs), (theirs, ours), (ours, theirs)):
        found = ahead_of(bench, keyset, ns=zone, parent_ns=(parent, 3600), **known)
        assert "withdraw dnskey" not in names(found)
        assert any("still serves the zone" in wait.detail for wait in found.waits)
    gone = ahead_of(bench, keyset, ns=ours, parent_ns=(ours, 3600), **known)
    assert names(gone).count("withdraw dnskey") == 2
    assert not gone.waits


def test_the_plan_after_a_compromise_says_what_to_bring_the_other_signers(bench: Bench) -> None:
    keyset = with_other_signer(bench)
    zsk = next(key for key in keyset.keys if key.role is Role.ZSK and not key.foreign)
    assume = Assumptions(signers=(seen(keyset),), signer_ns=(("other", ("ns.other.",)),))
    found = recovery_plan(keyset, bench.policy, assume, bench.now, zsk.ref)
    assert found.safe_at is not None
    assert any(
        step.who == "people" and "other signers publish the new zsk" in step.text for step in found.steps
    )


# Ceremonies


def test_a_step_that_no_ceremony_signed_yet_is_an_act_of_a_person(bench: Bench) -> None:
    vault = frozenset({"vault"})
    keyset = bench.keyset
    for key in keyset.keys:
        if key.role is Role.KSK:
            keyset = keyset.with_key(replace(key, keystore="vault"))
    specs = (KeySpec(Role.KSK, 13, "vault"), KeySpec(Role.ZSK, 13, "local"))
    offline = policy(specs)
    zsk_rolls = commands.roll_over(keyset, Role.ZSK)
    shown = tuple(sorted(key.rdata for key in keyset.keys))
    supply = SignedAhead(vault, (AheadSet(DNSKEY, 3600, shown, ()),))
    found = ahead_of(bench, zsk_rolls, offline, ahead=supply)
    assert names(found).count("hold ceremony") == 1
    assert names(found).index("hold ceremony") < names(found).index("publish dnskey")
    assert "remove" in names(found), "the rollover ends"
    assert [act.what for act in list_acts(found.events, Hands.AUTOMATIC)] == ["hold a ceremony"]
    assert "hold ceremony" not in names(ahead_of(bench, keyset, offline, ahead=supply))
