"""TLS and several TSIG keys in the configuration: what is taken, and what is refused with which remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from dnssecd.config import Address, parse
from dnssecd.config.audit.judge_zones import judge_encrypted
from dnssecd.config.audit.terms import Judgement, View
from dnssecd.config.diff import diff
from dnssecd.config.model import Config
from dnssecd.config.tls_model import PeerTls, TlsFiles
from tests.peers.certificates import Authority, self_signed
from tests.unit.config.test_config_load import MINIMAL, SECRET, errors, one, read

PIN = "A" * 43 + "="
HEAD = MINIMAL.replace(
    "[server]", '[server]\ntls = ["192.0.2.1:853"]\ntls_certificate = "c.pem"\ntls_key = "/k.pem"'
)
KEYS = f'[tsig."new."]\nsecret = "{SECRET}"\n[tsig."old."]\nsecret = "{SECRET}"\n'


def secondary(tls: str, more: str = "") -> str:
    return HEAD + f'[secondary.ns1]\naddress = "192.0.2.53"\n{more}\ntls = {tls}\n'


def unread(text: str) -> Config:
    """The configuration, without a look at the files of certificates."""
    return parse(text, Path("/etc/dnssecd/config.toml"), read_secrets=False)


def test_listener_and_files() -> None:
    server = unread(HEAD).server
    assert server.tls == (Address("192.0.2.1", 853),)
    assert server.tls_files == TlsFiles(Path("/etc/dnssecd/c.pem"), Path("/k.pem"))
    assert unread(MINIMAL).server.tls == ()


def test_peers() -> None:
    written = (
        f'{{ name = "NS1.Example.", pins = ["sha256/{PIN}"], ca = "ca.pem", mutual = true, queries = true }}'
    )
    found = unread(secondary(written)).secondaries["ns1"].tls
    assert found == PeerTls("ns1.example", Path("/etc/dnssecd/ca.pem"), (PIN,), 853, True, True)
    primary = HEAD + f'[primary.up]\naddress = "192.0.2.5"\ntls = {{ pins = ["{PIN}"], port = 8853 }}\n'
    assert unread(primary).primaries["up"].tls == PeerTls(pins=(PIN,), port=8853, queries=True)
    assert unread(secondary("{}")).secondaries["ns1"].tls == PeerTls()


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        (MINIMAL.replace("[server]", '[server]\ntls = ["192.0.2.1"]'), "server.tls", "needs a certificate"),
        (
            MINIMAL.replace("[server]", '[server]\ntls_key = "k"'),
            "server.tls_key",
            "tls_certificate is missing",
        ),
        (
            HEAD.replace("[server]", '[server]\nlisten = ["192.0.2.1:853"]'),
            "server.tls",
            "is also in listen",
        ),
        (
            secondary("{ mutual = true }"),
            "secondary.ns1.tls.mutual",
            "needs its authority and its name or pin",
        ),
        (secondary(f'{{ mutual = true, pins = ["{PIN}"] }}'), "secondary.ns1.tls.mutual", "authority"),
        (secondary("{ queries = true }"), "secondary.ns1.tls.queries", "cannot be checked"),
        (secondary('{ pins = ["abc"] }'), "secondary.ns1.tls.pins", "is not a pin"),
        (secondary('{ nam = "x" }'), "secondary.ns1.tls.nam", "is not a known key"),
        (secondary("true"), "secondary.ns1.tls", "must be a table"),
        (HEAD + '[primary.p]\naddress = "192.0.2.5"\ntls = {}\n', "primary.p.tls", "neither name nor pins"),
        (
            MINIMAL + '[secondary.ns1]\naddress = "192.0.2.53"\ntls = {}\n',
            "secondary.ns1.tls",
            "does not listen for TLS",
        ),
        (
            HEAD + KEYS + '[secondary.s]\naddress = "192.0.2.5"\ntsig = ["new.", "gone."]\n',
            "secondary.s.tsig",
            'no TSIG key "gone."',
        ),
    ],
)
def test_refused(text: str, where: str, what: str) -> None:
    error = one(text.replace('tls_certificate = "c.pem"', 'tls_certificate = "/dev/null"'))
    assert error.where == where
    assert what in error.what


def test_several_keys() -> None:
    peers = KEYS + '[secondary.s]\naddress = "192.0.2.5"\ntsig = ["new.", "old."]\n'
    found = read(MINIMAL + peers).secondaries["s"]
    assert (found.tsig, found.tsig_others, found.tsig_names) == ("new.", ("old.",), ("new.", "old."))
    many = MINIMAL + KEYS + '[secondary.s]\naddress = "192.0.2.5"\ntsig = ["new.", "old.", "a.", "b."]\n'
    assert "at most 3" in errors(many)[0].remedy


def test_a_way_around_tls_is_a_warning() -> None:
    text = secondary("{}", 'tsig = ["new.", "old."]') + KEYS
    zone = text.replace(
        'file = "example', 'secondaries = ["ns1"]\nallow_transfer = ["old."]\nfile = "example'
    )
    (warning,) = (w for w in unread(zone).warnings if "does not exist (yet)" not in w.what)
    assert warning.where == 'zone."example.com.".allow_transfer'
    assert "without TLS" in warning.what


def test_files_that_cannot_be_used_are_warnings(tmp_path: Path) -> None:
    """Not errors: the daemon must start, and serve without TLS, when a renewal went wrong."""
    good, other = self_signed(tmp_path, "one"), self_signed(tmp_path, "two")
    authority = Authority(tmp_path)

    def warned(certificate: Path, key: Path, ca: Path) -> list[str]:
        text = secondary(f'{{ ca = "{ca}" }}')
        text = text.replace('"c.pem"', f'"{certificate}"').replace('"/k.pem"', f'"{key}"')
        return [f"{w.where}: {w.what}" for w in read(text).warnings if "(yet)" not in w.what]

    assert warned(good.certificate, good.key, authority.path) == []
    (mismatch,) = warned(good.certificate, other.key, authority.path)
    assert mismatch.startswith("server.tls_certificate")
    assert "is not the key of" in mismatch
    (gone,) = warned(good.certificate, good.key, tmp_path / "gone.pem")
    assert gone.startswith("secondary.ns1.tls.ca")
    good.key.chmod(0o644)
    (told,) = warned(good.certificate, good.key, authority.path)
    assert "all users of this machine can read" in told


def test_the_audit_sees_which_transfers_use_tls() -> None:
    def judged(tls: str, more: str = "") -> Judgement:
        text = HEAD.replace('file = "ex', f'secondaries = ["ns1"]\n{more}\nfile = "ex')
        config = unread(text + KEYS + f'[secondary.ns1]\naddress = "192.0.2.53"\n{tls}\n')
        return judge_encrypted(View(config, tuple(config.zones.values()), cast(Any, None)))

    assert (judged("tls = {}").verdict, judged("tls = {}").seen) == ("met", "ns1: TLS")
    assert judged("").verdict == "not known"
    assert judged("tls = {}", 'allow_transfer = ["old."]').verdict == "not known"


def test_diff_names_the_keys_and_needs_a_restart_for_listeners_only() -> None:
    old, new = unread(secondary("{}")), unread(secondary(f'{{ pins = ["{PIN}"] }}').replace(":853", ":8853"))
    texts = [str(change) for change in diff(old, new).changes]
    assert any("server.tls" in text and "needs a restart" in text for text in texts)
    assert any("secondary.ns1.tls.pins" in text and "restart" not in text for text in texts)
