"""Keys as PowerDNS lists them: samples/make-powerdns makes them anew with the real programs (tested with 4.7.3)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.migration.foreign import ForeignError, ForeignKey, Private
from dnssecd.migration.powerdns import PdnsKey, foreign_key, in_use, label_in_token, read_list

SAMPLES = Path(__file__).with_name("samples") / "powerdns"
R, U, H = State.RUMOURED, State.UNRETENTIVE, State.HIDDEN
SHOWN = "ID = 1 (CSK), flags = 257, tag = 30694, algo = 13, bits = 256	  Active	 Published  ( ECDSAP256SHA256 ) "
ENTRY = {
    "type": "Cryptokey", "id": 1, "keytype": "csk", "active": True, "published": True, "flags": 257, "bits": 256,
    "dnskey": "257 3 13 " + "A" * 86 + "==",
}  # fmt: skip


def sample(name: str, zone: str) -> list[PdnsKey]:
    return read_list((SAMPLES / name).read_text(), name, text_to_wire(f"{zone}.example."))


def moved(name: str, zone: str) -> dict[int, ForeignKey]:
    return {
        key.ident: foreign_key(key, text_to_wire(f"{zone}.example."), key.rdata[4:], name, Private())
        for key in in_use(sample(name, zone))
    }


def states(key: ForeignKey) -> dict[Rec, State]:
    return {rec: stated.state for rec, stated in key.states.items()}


@pytest.mark.parametrize("name", ["pair.show", "pair.json", "all.list"])
def test_active_and_published_are_all_that_is_known(name: str) -> None:
    keys = moved(name, "pair")
    assert {ident: key.role for ident, key in keys.items()} == {
        3: Role.KSK,
        4: Role.ZSK,
        5: Role.ZSK,
        6: Role.CSK,
    }
    assert {ident: key.algorithm for ident, key in keys.items()} == {3: 8, 4: 8, 5: 8, 6: 15}
    assert states(keys[3]) == {Rec.DNSKEY: R, Rec.KRRSIG: R, Rec.DS: R}
    assert states(keys[4]) == {Rec.DNSKEY: R, Rec.ZRRSIG: R}
    assert states(keys[5]) == {Rec.DNSKEY: R, Rec.ZRRSIG: U}
    assert states(keys[6]) == {Rec.DNSKEY: H, Rec.ZRRSIG: R, Rec.KRRSIG: R, Rec.DS: H}
    assert [key.goal for _, key in sorted(keys.items())] == [
        Goal.PRESENT,
        Goal.PRESENT,
        Goal.ABSENT,
        Goal.PRESENT,
    ]


@pytest.mark.parametrize("name", ["csk.show", "csk.json", "all.list"])
def test_a_csk_and_a_key_that_is_nowhere(name: str) -> None:
    keys = moved(name, "csk")
    assert set(keys) == {1}
    assert states(keys[1]) == {Rec.DNSKEY: R, Rec.KRRSIG: R, Rec.ZRRSIG: R, Rec.DS: R}
    (listed,) = in_use(sample(name, "csk"))
    assert listed.rdata == b"" or keys[1].tag == listed.tag


def test_the_api_gives_public_and_private_keys() -> None:
    for key in sample("pair.json", "pair"):
        assert key.private.startswith(b"Private-key-format: v1.2\n")
        assert key.private == (SAMPLES / "keys" / f"{key.ident}.private").read_bytes().rstrip(b"\n") + b"\n"
        assert "Private" not in repr(key)
    lines = (SAMPLES / "pair.json").read_text().splitlines()
    whole = json.dumps([json.loads(line) for line in lines[1:]])
    assert {key.ident for key in read_list(whole, "one list", b"")} == {3, 4, 5, 6}
    assert all(not key.private for key in read_list(lines[0], "without", b""))


def test_a_csk_without_sep_flag_cannot_move() -> None:
    with pytest.raises(ForeignError, match=r"odd.show:5: key 7 .*flags 256"):
        moved("odd.show", "odd")


def test_keys_in_a_token() -> None:
    exported = (
        b"Private-key-format: v1.2\nAlgorithm: 13\nEngine: softhsm\nSlot: 1\nPIN: 1234\nLabel: ksk one\n"
    )
    assert label_in_token(exported) == "ksk one"
    assert label_in_token(b"Private-key-format: v1.2\nLabel: x\n") == ""


def entry(**changes: object) -> str:
    return json.dumps({**ENTRY, **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no key of"),
        ("[]", "no key of"),
        ('[{"active": true', "p:1: not JSON, or truncated"),
        ("[" * 100_000, "not JSON"),
        ('{"error": "Method Not Allowed"}', "p:1: not a cryptokey of the API: Method Not Allowed"),
        ("[1]", "not a cryptokey"),
        (entry(keytype="psk"), "p:1: a field of the cryptokey is missing or unknown"),
        (entry(active="yes"), "must be true or false"),
        (entry(dnskey="257 3"), "not a DNSKEY"),
        (entry(dnskey="257 3 13 !!!!"), "not a DNSKEY"),
        (entry(dnskey="257 3 300 AAAA"), "not a DNSKEY"),
        (entry(dnskey="99999 3 13 AAAA"), "not a DNSKEY"),
        (entry(dnskey="257 3 5 AAAA"), "algorithm 5: SHA-1"),
        (entry() + "\n" + entry(active=False), "p:2: key 1 is listed twice with different data"),
        (entry() + "\n{", "p:2: not JSON"),
        (SHOWN + "\n" + SHOWN, "p:2: key 1 is listed twice"),
        ("\n" + SHOWN.replace("CSK", "PSK"), "p:2: not a key as pdnsutil show-zone"),
        (
            SHOWN + "\nCSK DNSKEY = other.example. IN DNSKEY 257 3 13 AAAA ; ( X )",
            "p:2: a DNSKEY of other.example.",
        ),
        ("CSK DNSKEY = z.example. IN DNSKEY 257 3 13 AAAA ; ( X )", "p:1: a DNSKEY of"),
        ("-" * 30 + "\nz.example CSK Act Pub 256", "p:2: not a key as pdnsutil list-keys"),
    ],
)
def test_malformed_listings(text: str, message: str) -> None:
    with pytest.raises(ForeignError, match=message):
        read_list(text, "p", text_to_wire("z.example."))


def test_zones_that_powerdns_does_not_sign() -> None:
    with pytest.raises(ForeignError, match="does not sign"):
        sample("presigned.show", "presigned")
    for name, zone in (("plain.show", "plain"), ("error.json", "pair")):
        with pytest.raises(ForeignError, match="no key of"):
            sample(name, zone)


def test_a_cut_file_is_an_error_or_says_less() -> None:
    for name in ("pair.show", "pair.json", "all.list"):
        text = (SAMPLES / name).read_text()
        for end in range(0, len(text), 61):
            try:
                read_list(text[:end], name, text_to_wire("pair.example."))
            except ForeignError:
                continue
