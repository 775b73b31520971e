"""The file that `dnssecd init` writes is a correct configuration; what it prints for secondaries is complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd.config import Address, Secret, TsigKey, parse
from dnssecd.config.first_config import FirstConfig, FirstSecondary, FirstZone, render_config, toml
from dnssecd.config.secondary_text import SERVERS, SecondarySide, file_name, render_secondary

HOME = Path("/etc/dnssecd")
NS1 = FirstSecondary("ns1", Address("192.0.2.53", 53), HOME / "tsig/ns1.secret")
NS2 = FirstSecondary("NS2.example", Address("2001:db8::53", 53), HOME / "tsig/NS2.example.secret")
FIRST = FirstConfig(
    listen=(Address("192.0.2.1", 53), Address("2001:db8::1", 53)),
    zones=(FirstZone("example.com.", "zones/example.com.zone"), FirstZone("2.0.192.in-addr.arpa.", "/z/two")),
    secondaries=(NS1, NS2),
    keys=Path("/var/lib/dnssecd-signer/keys"),
    signer=Path("/run/dnssecd-signer/signer.sock"),
    passphrase=Path("/run/credentials/dnssecd-signer.service/passphrase"),
)
KEY = TsigKey("ns1-transfer.", "hmac-sha256", Secret(b"secret of the tests, 32 octets!!"))


def test_it_is_a_configuration() -> None:
    config = parse(render_config(FIRST), HOME / "config.toml", read_secrets=False)
    assert config.server.listen == FIRST.listen
    assert config.signer.socket == FIRST.signer
    assert set(config.zones) == {"example.com.", "2.0.192.in-addr.arpa."}
    assert config.zones["example.com."].file == str(HOME / "zones/example.com.zone")
    assert config.zones["example.com."].secondaries == ("ns1", "NS2.example")
    assert config.secondaries["NS2.example"].tsig == "ns2.example-transfer."
    assert not config.zones["example.com."].parent.none


@pytest.mark.parametrize(
    ("parent", "none", "servers"), [((), True, 0), ((Address("192.0.2.9", 53),), False, 1)]
)
def test_parents(parent: tuple[Address, ...], none: bool, servers: int) -> None:
    first = FirstConfig(FIRST.listen, FIRST.zones, (), FIRST.keys, parent=parent)
    config = parse(render_config(first), HOME / "config.toml")
    assert config.zones["example.com."].parent.none == none
    assert len(config.zones["example.com."].parent.servers) == servers


def test_texts_are_quoted() -> None:
    assert toml('a"b\\c\n\x7f') == '"a\\"b\\\\c\\n\\u007f"'
    first = FirstConfig(FIRST.listen, (FirstZone("example.com.", 'odd "name\\'),), (), Path("/keys/ü"))
    config = parse(render_config(first), HOME / "config.toml")
    assert config.zones["example.com."].file == str(HOME / 'odd "name\\')


@pytest.mark.parametrize("kind", SERVERS)
def test_each_server_gets_key_primary_and_zones(kind: str) -> None:
    side = SecondarySide(
        "ns1", Address("192.0.2.1", 5300), KEY, ["example.com.", "0/25.2.0.192.in-addr.arpa."]
    )
    text = render_secondary(kind, side)
    for part in (
        "ns1-transfer.",
        "c2VjcmV0IG9mIHRoZSB0ZXN0cywgMzIgb2N0ZXRzISE=",
        "192.0.2.1",
        "5300",
        "0/25.2.",
    ):
        assert part in text, part
    unsigned = render_secondary(kind, SecondarySide("ns1", Address("192.0.2.1", 53), None, ["example.com."]))
    assert "secret" not in unsigned
    assert "transfer." not in unsigned


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        ("example.com.", "example.com"),
        (".", "root"),
        ("0/25.2.0.192.in-addr.arpa.", "0_25.2.0.192.in-addr.arpa"),
        ("..\\/x.", "__x"),
    ],
)
def test_file_names(zone: str, name: str) -> None:
    assert file_name(zone) == name
