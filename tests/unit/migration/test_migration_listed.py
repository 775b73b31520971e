"""Listings brought together with public and private keys."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from dnssecd.cli.common import Bad, Cli
from dnssecd.cli.foreignlists import take_in_listed
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys.keyset import dnskey_rdata, key_tag
from dnssecd.migration import listed
from dnssecd.migration.foreign import ForeignError, Private
from dnssecd.signer import algorithms, private_formats

SAMPLES = Path(__file__).with_name("samples")
NOW = 1795500000
ROLLOVER, PAIR = text_to_wire("rollover.example."), text_to_wire("pair.example.")
NOBODY = Cli(None, "/nonexistent", False)


def knot(more: str = "", keys: str = "/keys/", name: str = "rollover.brief") -> list[listed.Listed]:
    return listed.read("knot", (SAMPLES / "knot" / name).read_text() + more, "list", ROLLOVER, keys, NOW)


def public(path: Path, algorithm: int) -> bytes:
    private = private_formats.load(path.read_bytes(), algorithm)
    return algorithms.dnskey_rdata(0, algorithm, private.public_key())[4:]


def record(
    one: listed.Listed, public_key: bytes, form: str = "{owner} 60 IN DNSKEY {flags} 3 {kind} {key}\n"
) -> str:
    return form.format(
        owner="Rollover.Example.",
        flags=one.key.flags,
        kind=one.key.algorithm,
        key=base64.b64encode(public_key).decode(),
    )


def test_private_keys_say_what_the_public_ones_are() -> None:
    keys = knot(keys=str(SAMPLES / "knot" / "keys"))
    assert len(keys) == 5
    for one in keys:
        assert one.key.private is not None
        assert one.key.public_key == b""
        key = one.completed(public(Path(one.key.private.path), one.key.algorithm))
        assert key.tag == one.tag
        with pytest.raises(ForeignError, match=r"list:[1-6]: the listed key has key tag"):
            one.completed(b"another")


@pytest.mark.parametrize(
    "form",
    [
        "{owner} 60 IN DNSKEY {flags} 3 {kind} {key}\n",
        "{owner}\t1\tIN\tDNSKEY\t{flags} 3 {kind} {key} ;{{id = 33841 (ksk), size = 256b}}\n",
        "{owner} DNSKEY {flags} 3 {kind} {key}",
        "rollover.example IN DNSKEY {flags} 3 {kind} {key}\n",
        "{owner} 60 IN DNSKEY {flags} 3 {kind} ( {key} ) ; KSK; alg = X ; key id = 1\n",
    ],
)
def test_dnskey_records_may_stand_among_the_lines(form: str) -> None:
    one = knot(keys=str(SAMPLES / "knot" / "keys"))[0]
    assert one.key.private is not None
    public_key = public(Path(one.key.private.path), 13)
    keys = knot(more="\n" + record(one, public_key, form), keys="")
    assert keys[0].key.public_key == public_key
    assert keys[0].key.private == Private(cka_id=Path(one.key.private.path).stem)
    assert [key.key.public_key for key in keys[1:]] == [b""] * 4


def test_records_of_others_are_no_public_keys() -> None:
    one = knot(keys=str(SAMPLES / "knot" / "keys"))[0]
    assert one.key.private is not None
    public_key = public(Path(one.key.private.path), 13)
    for text in (
        record(one, public_key).replace("Rollover", "other"),
        record(one, public_key).replace(" 257 ", " 256 "),
        record(one, public_key)[:-20] + "\n",
        record(one, b"something else"),
    ):
        assert knot(more=text)[0].key.public_key == b""


def test_two_records_with_one_tag() -> None:
    """The checksum of a key tag is a sum: exchanging two pairs of octets keeps it."""
    one = knot(keys=str(SAMPLES / "knot" / "keys"))[0]
    assert one.key.private is not None
    public_key = public(Path(one.key.private.path), 13)
    twin = public_key[2:4] + public_key[:2] + public_key[4:]
    assert key_tag(dnskey_rdata(257, 13, twin)) == one.tag
    with pytest.raises(ForeignError, match="2 DNSKEY records have key tag"):
        knot(more=record(one, public_key) + record(one, twin))


def test_where_private_keys_of_powerdns_are() -> None:
    shown, answers = ((SAMPLES / "powerdns" / f"pair.{form}").read_text() for form in ("show", "json"))
    for one in listed.read("powerdns", shown, "list", PAIR, "exported", NOW):
        assert one.key.private is not None
        assert one.private == b""
        ident = one.key.private.path.removeprefix("exported/").removesuffix(".private")
        public_key = public(SAMPLES / "powerdns" / "keys" / f"{ident}.private", one.key.algorithm)
        assert one.completed(public_key).tag == one.tag
        assert one.key.public_key in (b"", public_key)
    with pytest.raises(ForeignError, match=r"list:\d+: the private key of key \d is not in the list"):
        listed.read("powerdns", shown, "list", PAIR, "", NOW)
    for one in listed.read("powerdns", answers, "list", PAIR, "", NOW):
        assert one.private
        assert one.key.private == Private()
        assert "PrivateKey" not in repr(one)


def test_opendnssec_has_no_directory_of_keys() -> None:
    text = "".join((SAMPLES / "opendnssec" / f"{name}.parsable").read_text() for name in ("verbose", "debug"))
    assert len(listed.read("opendnssec", text, "list", PAIR, "", NOW)) == 4
    with pytest.raises(ForeignError, match="not in a directory"):
        listed.read("opendnssec", text, "list", PAIR, "/keys", NOW)


def test_a_zone_without_a_key_in_use() -> None:
    text = "ab ksk=yes zsk=yes tag=1 algorithm=13 size=256 publish=0 active=0"
    with pytest.raises(ForeignError, match="no listed key is published"):
        listed.read("knot", text, "list", ROLLOVER, "", NOW)


@pytest.mark.parametrize(
    ("system", "content", "message"),
    [
        ("nsd", b"", "nsd is not a supported signer"),
        ("knot", None, "No such file"),
        ("knot", b"\xff\xfe\x00", "not a line of keymgr"),
        ("knot", b"0a 1 KSK ED25519 publish=1 ready=2 active=3\n", "in a token"),
        ("knot", b" " * (16 * 1024 * 1024 + 1), "larger than 16 MiB"),
    ],
)
def test_the_command_says_what_is_wrong(
    tmp_path: Path, system: str, content: bytes | None, message: str
) -> None:
    file = tmp_path / "list"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Bad, match=message):
        take_in_listed(NOBODY, "rollover.example.", system, [file], None, None)


def test_a_private_key_that_is_another(tmp_path: Path) -> None:
    """Or is none: nothing is quoted of it."""
    (tmp_path / "list").write_text("0a 1 ZSK ECDSAP256SHA256 publish=1 active=3\n")
    some = min((SAMPLES / "knot" / "keys").glob("*.pem")).read_bytes()
    for content, message in (
        (some, "its private key has key tag|not one of algorithm"),
        (b"SECRET", "not a readable"),
    ):
        (tmp_path / "0a.pem").write_bytes(content)
        with pytest.raises(Bad, match=message) as caught:
            take_in_listed(NOBODY, "rollover.example.", "knot", [tmp_path / "list"], tmp_path, None)
        assert "SECRET" not in str(caught.value)
    with pytest.raises(Bad, match="one file"):
        take_in_listed(NOBODY, "rollover.example.", "knot", [tmp_path] * 2, tmp_path, None)
