"""Listings of keymgr: samples/make-knot makes them anew with the real program (tested with 3.2.6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.migration.foreign import ForeignError, ForeignKey, Private
from dnssecd.migration.knot import KnotKey, foreign_key, in_use, read_list
from dnssecd.replacing import replace

SAMPLES = Path(__file__).with_name("samples") / "knot"
NOW = 1795500000
BRIEF = "46d922d5f3d2907f25be2c29d05cd1724e0142f2 50572 KSK ECDSAP256SHA256 publish=1 ready=2 active=3"
OMNI, R, U, H = State.OMNIPRESENT, State.RUMOURED, State.UNRETENTIVE, State.HIDDEN


def sample(name: str) -> list[KnotKey]:
    zone = text_to_wire(f"{name.partition('.')[0]}.example.")
    return read_list((SAMPLES / name).read_text(), name, zone)


def moved(name: str) -> list[ForeignKey]:
    keys = in_use(sample(name), NOW)
    zone = text_to_wire(f"{name.partition('.')[0]}.example.")
    return [foreign_key(key, keys, zone, b"public", name, NOW, Private(path="there")) for key in keys]


def states(key: ForeignKey) -> dict[Rec, tuple[State, int | None]]:
    return {rec: (stated.state, stated.since) for rec, stated in key.states.items()}


def found(keys: list[ForeignKey], role: Role, active: int | None) -> ForeignKey:
    (key,) = [key for key in keys if key.role is role and key.active == active]
    return key


@pytest.mark.parametrize("zone", ["rollover", "submission", "algorithm", "csk"])
def test_every_form_of_the_listing_says_the_same(zone: str) -> None:
    forms = [
        {key.key_id: replace(key, line=0, bits=0) for key in sample(path.name)}
        for path in sorted(SAMPLES.glob(f"{zone}.*"))
        if path.suffix != ".human"
    ]
    assert len(forms) >= 4
    assert all(form == forms[0] for form in forms)


def test_an_ordinary_rollover_in_its_middle() -> None:
    keys = moved("rollover.json")
    assert len(keys) == 5, "the removed key is left out"
    old = found(keys, Role.KSK, 1764000000)
    assert states(old) == {
        Rec.DNSKEY: (OMNI, 1763970000),
        Rec.KRRSIG: (OMNI, 1763970000),
        Rec.DS: (U, 1795490000),
    }
    assert (old.goal, old.created, old.algorithm, old.flags) == (Goal.ABSENT, 1763964000, 13, 257)
    new = found(keys, Role.KSK, 1795490000)
    assert states(new)[Rec.DS] == (OMNI, 1795490000)
    assert new.goal is Goal.PRESENT
    retired = found(keys, Role.ZSK, 1787730000)
    assert states(retired) == {Rec.DNSKEY: (OMNI, 1787730000), Rec.ZRRSIG: (U, 1795485000)}
    assert (retired.goal, retired.flags) == (Goal.ABSENT, 256)
    working = found(keys, Role.ZSK, 1795485000)
    assert states(working) == {Rec.DNSKEY: (OMNI, 1795485000), Rec.ZRRSIG: (R, 1795485000)}
    coming = found(keys, Role.ZSK, None)
    assert states(coming) == {Rec.DNSKEY: (R, 1795495000), Rec.ZRRSIG: (H, None)}
    assert coming.goal is Goal.PRESENT
    assert (coming.created, working.created) == (1795495000, 1795300000), (
        "the successor comes after the key in use"
    )


def test_a_ksk_waits_for_its_ds() -> None:
    keys = moved("submission.extended")
    by_publish = {key.publish: key for key in keys if key.role is Role.KSK}
    assert states(by_publish[1795400000])[Rec.DS] == (R, 1795480000)
    fresh = states(by_publish[1795490000])
    assert fresh == {Rec.DNSKEY: (R, 1795490000), Rec.KRRSIG: (R, 1795490000), Rec.DS: (H, None)}
    gone = states(by_publish[1763964000])
    assert gone == {Rec.DNSKEY: (U, 1795400000), Rec.KRRSIG: (U, 1795400000), Rec.DS: (U, 1795300000)}


def test_in_an_algorithm_rollover_keys_sign_that_are_not_published() -> None:
    keys = moved("algorithm.brief")
    (new,) = [key for key in keys if (key.role, key.algorithm) == (Role.ZSK, 13)]
    assert states(new) == {Rec.DNSKEY: (H, None), Rec.ZRRSIG: (R, 1795490000)}
    assert new.active == 1795490000
    (old,) = [key for key in keys if key.algorithm == 14]
    assert states(old) == {Rec.DNSKEY: (U, 1795490000), Rec.ZRRSIG: (OMNI, 1764000000)}
    assert old.goal is Goal.ABSENT
    assert {key.bits for key in keys if key.algorithm == 8} == {2048}


def test_a_csk_has_all_four_records() -> None:
    keys = [key for key in sample("csk.json") if key.zsk]
    (csk,) = (foreign_key(key, keys, b"", b"", "csk.json", NOW, Private()) for key in keys)
    assert csk.role is Role.CSK
    assert {rec: state for rec, (state, _) in states(csk).items()} == {
        Rec.DNSKEY: OMNI,
        Rec.KRRSIG: OMNI,
        Rec.ZRRSIG: R,
        Rec.DS: OMNI,
    }


def test_what_cannot_move_is_named() -> None:
    keys = sample("csk.extended")
    (revoked,) = [key for key in keys if not key.zsk]
    with pytest.raises(ForeignError, match=rf"csk.extended:{revoked.line}: .*revoked"):
        foreign_key(revoked, keys, b"", b"", "csk.extended", NOW, Private())
    with pytest.raises(ForeignError, match="public-only"):
        foreign_key(replace(revoked, timers={}, public_only=True), keys, b"", b"", "x", NOW, Private())


def test_later_versions_list_deleted_keys_and_more_fields() -> None:
    text = (SAMPLES / "csk.json").read_text()
    later = text.replace(
        '"public-only": false,',
        '"public-only": false,\n    "adt": false,\n    "missing": false,\n    "trash": false,',
    )
    zone = text_to_wire("csk.example.")
    assert len(read_list(later, "l", zone)) == 2
    assert len(read_list(later.replace('"trash": false', '"trash": true', 1), "l", zone)) == 1
    with pytest.raises(ForeignError, match=r"l:2: .*does not have the private key"):
        read_list(later.replace('"missing": false', '"missing": true', 1), "l", zone)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the list has no key"),
        ("[]", "the list has no key"),
        ('{"zone": 1}', "not a list"),
        ("[1]", "k:1: not a key"),
        ('[\n{"zone": "other.example."}]', "k:2: the key belongs to other.example."),
        ('[\n{"zone": "z.example.", "id": "ab"}]', "k:2: the key has no 'tag'"),
        ('[{"zone":', "k:1: not the JSON"),
        ("[" * 100_000, "not the JSON"),
        ("error: no such zone found", "k:1: not a line of keymgr list"),
        (BRIEF.replace("50572", "70000"), "k:1: '70000' is not a key tag"),
        (BRIEF.replace("KSK", "XSK"), "k:1: not a line"),
        (BRIEF.replace("46d9", "/etc/"), "is not a key id"),
        (BRIEF.replace("46d9", "../.."), "is not a key id"),
        (BRIEF.replace("ECDSAP256SHA256", "RSASHA1"), "SHA-1 .* then import"),
        (BRIEF.replace("ECDSAP256SHA256", "ROT13"), "'ROT13' is not known"),
        (BRIEF + "\n\n" + BRIEF, "k:3: .*listed twice"),
        (BRIEF.replace("publish=1", "publish=-3M1h"), "k:1: publish=-3M1h is relative"),
        (BRIEF.replace("publish=1", "publish=soon"), "k:1: publish: 'soon' is not a time"),
        (BRIEF.replace("publish=1", "publish=" + "9" * 40), "is not a time"),
        ("ab ksk=no zsk=no tag=1 algorithm=13 size=256 publish=1", "neither KSK nor ZSK"),
        ("ab ksk=maybe zsk=no tag=1 algorithm=13 size=256 publish=1", "neither yes nor no"),
    ],
)
def test_malformed_listings(text: str, message: str) -> None:
    with pytest.raises(ForeignError, match=message):
        read_list(text, "k", text_to_wire("z.example."))


def test_relative_times_are_refused() -> None:
    with pytest.raises(ForeignError, match=r"rollover.human:1: .* relative"):
        sample("rollover.human")


def test_a_cut_file_is_an_error_or_says_less() -> None:
    """Never anything but ForeignError, wherever the listing was cut off."""
    for name in ("rollover.json", "rollover.brief", "rollover.extended"):
        text = (SAMPLES / name).read_text()
        for end in range(0, len(text), 7):
            try:
                read_list(text[:end], name, text_to_wire("rollover.example."))
            except ForeignError:
                continue
