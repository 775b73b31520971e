"""Listings of ods-enforcer: samples/make-opendnssec makes them anew with the real programs (tested with 2.1.12)."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.migration.foreign import ForeignError, ForeignKey, Private
from dnssecd.migration.opendnssec import OdsKey, foreign_key, in_use, read_list

SAMPLES = Path(__file__).with_name("samples") / "opendnssec"
OMNI, R, U, H = State.OMNIPRESENT, State.RUMOURED, State.UNRETENTIVE, State.HIDDEN
LIFE = "z.example;KSK;active;2027-11-24 07:47:04;256;13;0a;SoftHSM;1234"
STATES = "z.example;KSK;omnipresent;omnipresent;omnipresent;NA;1;1;0a"


def text(form: str) -> str:
    return "".join((SAMPLES / f"{listing}.{form}").read_text() for listing in ("verbose", "debug"))


def sample(zone: str, form: str = "parsable") -> list[OdsKey]:
    return read_list(text(form), form, text_to_wire(f"{zone}.example."))


def moved(zone: str) -> list[ForeignKey]:
    return [
        foreign_key(key, text_to_wire(f"{zone}.example."), b"public", "keys") for key in in_use(sample(zone))
    ]


def states(key: ForeignKey) -> dict[Rec, State]:
    assert all(stated.since is None for stated in key.states.values())
    return {rec: stated.state for rec, stated in key.states.items()}


@pytest.mark.parametrize("zone", ["pair", "csk", "rsa", "slow"])
def test_tables_and_parsable_lists_say_the_same(zone: str) -> None:
    def content(form: str) -> list[tuple[object, ...]]:
        return [
            (
                key.cka_id,
                key.role,
                key.life,
                key.bits,
                key.algorithm,
                key.repository,
                key.tag,
                dict(key.states),
            )
            for key in sample(zone, form)
        ]

    assert content("table") == content("parsable")
    swapped = "".join(reversed(text("parsable").splitlines(keepends=True)))
    again = read_list(swapped, "swapped", text_to_wire(f"{zone}.example."))
    assert {(key.cka_id, key.tag) for key in again} == {(key.cka_id, key.tag) for key in sample(zone)}


def test_a_rollover_of_both_keys() -> None:
    keys = {(key.role, key.goal): key for key in moved("pair")}
    assert states(keys[Role.KSK, Goal.ABSENT]) == {Rec.DS: U, Rec.DNSKEY: OMNI, Rec.KRRSIG: OMNI}
    assert states(keys[Role.KSK, Goal.PRESENT]) == {Rec.DS: R, Rec.DNSKEY: OMNI, Rec.KRRSIG: OMNI}
    assert states(keys[Role.ZSK, Goal.ABSENT]) == {Rec.DNSKEY: OMNI, Rec.ZRRSIG: U}
    assert states(keys[Role.ZSK, Goal.PRESENT]) == {Rec.DNSKEY: OMNI, Rec.ZRRSIG: R}
    (ksk,) = [key for key in sample("pair") if (key.role, key.life) == (Role.KSK, "ready")]
    assert keys[Role.KSK, Goal.PRESENT].private == Private(cka_id=ksk.cka_id)
    assert (keys[Role.KSK, Goal.PRESENT].flags, keys[Role.ZSK, Goal.PRESENT].flags) == (257, 256)


def test_a_csk_that_waits_for_its_ds_stays() -> None:
    (csk,) = moved("csk")
    assert (csk.role, csk.goal) == (Role.CSK, Goal.PRESENT)
    assert states(csk) == {Rec.DS: R, Rec.DNSKEY: OMNI, Rec.KRRSIG: OMNI, Rec.ZRRSIG: OMNI}


def test_other_keys() -> None:
    assert {(key.algorithm, key.bits) for key in moved("rsa")} == {(8, 2048)}
    fresh = {key.role: states(key) for key in moved("slow")}
    assert fresh == {
        Role.KSK: {Rec.DS: H, Rec.DNSKEY: R, Rec.KRRSIG: R},
        Role.ZSK: {Rec.DNSKEY: R, Rec.ZRRSIG: R},
    }


def test_keys_that_no_cache_can_have_are_not_imported() -> None:
    hidden = STATES.replace("omnipresent", "hidden")
    lines = f"{LIFE.replace('active', 'generate')}\n{hidden}\n"
    assert in_use(read_list(lines, "k", text_to_wire("z.example."))) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no key of z.example. is listed; create the list with: ods-enforcer"),
        (LIFE.replace("z.", "y.") + "\n" + STATES.replace("z.", "y."), "no key of z.example. is listed"),
        (LIFE, "k:1: no states of key 0a: add ods-enforcer key list -d"),
        (STATES, "k:1: no algorithm of key 0a: add ods-enforcer key list -v"),
        (f"{LIFE}\n{LIFE}\n{STATES}", "k:2: key 0a is listed twice"),
        (f"{LIFE}\n{STATES}\n{STATES}", "k:3: key 0a is listed twice"),
        (f"{LIFE}\n{STATES.replace('KSK', 'CSK').replace('NA', 'hidden')}", "k:2: .*another role"),
        (f"\n{LIFE};1", "k:2: not a line"),
        ("Unable to connect to engine.", "k:1: not a line"),
        (LIFE.replace("KSK", "PSK"), "k:1: 'PSK' is not KSK"),
        (LIFE.replace(";0a;", ";nothex;"), "'nothex' is not a CKA_ID"),
        (LIFE.replace(";0a;", ";;"), "is not a CKA_ID"),
        (LIFE.replace(";1234", ";-1"), "k:1: .*HSM"),
        (LIFE.replace(";13;", ";7;"), "algorithm 7: SHA-1"),
        (LIFE.replace(";13;", ";99;"), "'99' is not known"),
        (LIFE.replace(";256;", ";many;"), "'many' is not a key size"),
        (f"{LIFE}\n{STATES.replace('omnipresent', 'certain', 1)}", "k:2: 'certain' is not a state of a ds"),
        (f"{LIFE}\n{STATES.replace('NA', 'rumoured')}", "k:2: a KSK has no zrrsig"),
    ],
)
def test_malformed_listings(content: str, message: str) -> None:
    with pytest.raises(ForeignError, match=message):
        read_list(content, "k", text_to_wire("z.example."))


def test_the_short_listing_is_not_enough() -> None:
    with pytest.raises(ForeignError, match="does not identify the keys"):
        read_list((SAMPLES / "short.table").read_text(), "short", text_to_wire("pair.example."))


def test_a_cut_file_is_an_error_or_says_less() -> None:
    for form in ("table", "parsable"):
        for end in range(0, len(text(form)), 11):
            try:
                read_list(text(form)[:end], form, text_to_wire("pair.example."))
            except ForeignError:
                continue
