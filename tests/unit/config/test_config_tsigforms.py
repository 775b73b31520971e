"""TSIG secrets as tsig-keygen, keymgr, NSD and dig write them."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

import pytest

from dnssecd.config import ConfigErrors, parse
from dnssecd.config.tsigforms import WrittenKey, written_key
from dnssecd.config.values import Bad

SECRET = "xJDRnjO3Yjowq8srdkG/hLci9redvRx6JSF/kC+9FFU="
NAMED = f'key "k1" {{\n\talgorithm hmac-sha256;\n\tsecret "{SECRET}";\n}};\n'
KEYMGR = f"# hmac-sha256:k1:{SECRET}\nkey:\n  - id: k1\n    algorithm: hmac-sha256\n    secret: {SECRET}\n"
NSD = f'key:\n\tname: "K1."\n\talgorithm: hmac-sha256\n\tsecret: "{SECRET}"\n'
ALL = WrittenKey("k1", "hmac-sha256", SECRET)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (NAMED, ALL),
        (NAMED.replace("\n\t", " "), ALL),
        (f"# a note with a secret: inside\n{NAMED}", ALL),
        (KEYMGR, ALL),
        (NSD, ALL),
        (f"hmac-sha256:k1:{SECRET}\n", ALL),
        (f"k1:{SECRET}", WrittenKey("k1", "", SECRET)),
        (f"{SECRET}\n", WrittenKey("", "", f"{SECRET}\n")),
        ("not base64!", WrittenKey("", "", "not base64!")),
    ],
)
def test_forms(text: str, wanted: WrittenKey) -> None:
    assert written_key(text) == wanted


def test_several_keys_are_refused_without_showing_them() -> None:
    with pytest.raises(Bad) as raised:
        written_key(NAMED + NAMED.replace("k1", "k2"))
    assert SECRET not in str(raised.value) + raised.value.what + raised.value.remedy


CONFIG = """
[server]
[keystore.local]
[policy.default]
[tsig."{name}"]
algorithm = "{algorithm}"
secret_file = "{file}"
[zone."example.com."]
file = "example.com.zone"
"""


@pytest.mark.parametrize(
    ("name", "algorithm", "fault"),
    [
        ("k1.", "hmac-sha256", ""),
        ("K1", "hmac-sha256", ""),
        ("other.", "hmac-sha256", "contains the key k1, not other."),
        ("k1.", "hmac-sha512", "is for hmac-sha256, the key is configured for hmac-sha512"),
    ],
)
@pytest.mark.parametrize("text", [NAMED, KEYMGR])
def test_a_file_of_another_tool_in_the_configuration(
    tmp_path: Path, text: str, name: str, algorithm: str, fault: str
) -> None:
    file = tmp_path / "secret"
    file.write_text(text)
    file.chmod(0o600)
    config = CONFIG.format(name=name, algorithm=algorithm, file=file)
    if not fault:
        (key,) = parse(config, tmp_path / "config.toml").tsig.values()
        assert key.secret.value == b64decode(SECRET)
        return
    with pytest.raises(ConfigErrors) as caught:
        parse(config, tmp_path / "config.toml")
    assert fault in str(caught.value)
    assert SECRET not in str(caught.value)
