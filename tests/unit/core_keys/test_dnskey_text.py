"""DNSKEY RRs as people bring them."""

import pytest

from dnssecd.core.keys.dnskey_text import BadDnskey, dnskeys_of_text

KEY = "AwEAAQ=="


@pytest.mark.parametrize(
    ("text", "owners"),
    [
        (f"example. 3600 IN DNSKEY 257 3 13 {KEY} ; KSK", ["example."]),
        (
            "; <<>> DiG\nexample.\t60 IN DNSKEY 256 3 13 Aw EA AQ==\nexample. 60 IN RRSIG DNSKEY 13 1 60\n",
            ["example."],
        ),
        ("example. IN DNSKEY 257 3 13 (\n  AwEA ; half\n  AQ== )\n", ["example."]),
        (f"257 3 13 {KEY}\n256 3 13 {KEY}", ["", ""]),
        (f"@ DNSKEY 256 3 13 {KEY}", ["@"]),
        (f"example. IN DNSKEY 256 3 ECDSAP256SHA256 {KEY}", ["example."]),
    ],
)
def test_forms(text: str, owners: list[str]) -> None:
    found = dnskeys_of_text(text)
    assert [one.owner for one in found] == owners
    assert {one.rdata[3:] for one in found} == {b"\x0d\x03\x01\x00\x01"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example. A 192.0.2.1",
        "example. DNSKEY 257 3 13",
        "x DNSKEY 257 3 13 *",
        "x DNSKEY 70000 3 13 AQ==",
    ],
)
def test_faults(text: str) -> None:
    with pytest.raises(BadDnskey):
        dnskeys_of_text(text)
