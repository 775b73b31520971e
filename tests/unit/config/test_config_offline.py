"""What a policy cannot want of an off-line key store is refused before the daemon starts."""

from pathlib import Path

import pytest

from dnssecd.config import ConfigErrors
from dnssecd.config.load import parse

TEXT = """
[server]
[keystore.local]
type = "software"
[keystore.vault]
type = "offline"
[policy.default]
keystore = "local"
ksk = {{ keystore = "vault" }}
{policy}
[zone."a.example."]
file = "a"
"""


def errors(text: str) -> str:
    with pytest.raises(ConfigErrors) as raised:
        parse(text, Path("/etc/dnssecd/config.toml"))
    return "\n".join(map(str, raised.value.errors))


def test_a_ksk_may_be_off_line() -> None:
    policy = parse(TEXT.format(policy=""), Path("/etc/dnssecd/config.toml")).policies["default"]
    assert (policy.keystore_of("ksk"), policy.keystore_of("zsk")) == ("vault", "local")


@pytest.mark.parametrize("key", ["standby_ksk", "rfc5011", "share_keys"])
def test_what_no_ceremony_signs_is_refused(key: str) -> None:
    text = errors(TEXT.format(policy=f"{key} = true"))
    assert key in text
    assert "does not go with an off-line KSK" in text


def test_keys_of_other_signers_are_refused() -> None:
    text = errors(TEXT.format(policy='foreign_keys = "input"'))
    assert "a ceremony signs no DNSKEY RRset with keys of other signers" in text


def test_a_zsk_cannot_be_off_line() -> None:
    text = errors(TEXT.format(policy='zsk = { keystore = "vault" }'))
    assert "a ZSK signs the zone's data, so it cannot be in the off-line key store" in text
