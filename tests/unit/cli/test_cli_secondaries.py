"""`dnssecd node secondaries`: what it prints for each program; tests/integration gives some of it to the programs."""

from __future__ import annotations

import pytest

from dnssecd.cluster.secondaries import FORMS, Primaries
from dnssecd.config.model import Address

TWO = Primaries(
    "example.com.", [Address("192.0.2.1", 53), Address("2001:db8::1", 5300)], "transfer.", "hmac-sha256"
)


@pytest.mark.parametrize("program", FORMS)
def test_all_nodes_and_the_key_are_in_it(program: str) -> None:
    text = FORMS[program](TWO)
    for part in ("192.0.2.1", "2001:db8::1", "5300", "transfer", "example.com"):
        assert part in text
    assert "transfer" not in FORMS[program](TWO._replace(tsig=""))


def test_named() -> None:
    assert FORMS["named"](TWO) == (
        'zone "example.com" {\n'
        "  type secondary;\n"
        '  file "example.com.zone";\n'
        "  primaries {\n"
        '    192.0.2.1 key "transfer";\n'
        '    2001:db8::1 port 5300 key "transfer";\n'
        "  };\n"
        "  allow-notify { 192.0.2.1; 2001:db8::1; };\n"
        "};"
    )
