"""``[cluster]``: what is read, and what is refused with a remedy."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from dnssecd.cluster import settings
from dnssecd.config import Config, ConfigErrors, parse
from dnssecd.config.model import Address
from dnssecd.config.signer_settings import signer_settings
from dnssecd.keyservice_settings import SealingSettings

BASE = """
[server]
[keystore.local]
[policy.default]
[policy.other]
[tsig."t."]
secret = "c2VjcmV0IHNlY3JldCBzZWNyZXQ="
[secondary.ns1]
address = "192.0.2.1:53"
[zone."a.example."]
source = "dynamic"
secondaries = ["ns1"]
[zone."b.example."]
policy = "other"
source = "dynamic"
[cluster]
node = "a"
database = "postgresql://dnssecd@127.0.0.1/dnssecd"
[cluster.nodes.a]
address = ["192.0.2.1:53"]
[cluster.nodes.b]
address = ["192.0.2.2:53"]
sealing_key = "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI="
"""

TOKEN = """[keystore.t]
type = "pkcs11"
module = "/m"
pin_file = "/p"
token_label = "t"
"""
KEY_B = "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI="


def read(text: str) -> Config:
    return parse(text, Path("/etc/dnssecd/config.toml"))


def error(old: str, new: str) -> str:
    assert old in BASE
    with pytest.raises(ConfigErrors) as caught:
        read(BASE.replace(old, new))
    assert len(caught.value.errors) == 1
    return str(caught.value.errors[0])


def test_read() -> None:
    cluster = read(BASE + "[zone.\"c.example.\"]\nsource = 'dynamic'\n").cluster
    assert cluster is not None
    assert (cluster.node, cluster.take_over_after, cluster.require_synchronous) == ("a", 10, True)
    assert cluster.nodes["b"].address == (Address("192.0.2.2", 53),)
    assert cluster.nodes["b"].sealing_key == KEY_B


def test_absent() -> None:
    assert read(BASE.partition("[cluster]")[0]).cluster is None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('node = "a"\n', "", ':16: cluster.node: is missing; write node = "a"'),
        ('node = "a"', 'node = "aa"', 'there is no node "aa"; add [cluster.nodes.aa]; did you mean "a"?'),
        ("postgresql://dnssecd@127.0.0.1/dnssecd", "mysql://x/y", "is not the URI of a PostgreSQL database"),
        ("dnssecd@", "dnssecd:secret@", "the password stands in the URI"),
        ('/dnssecd"', '/dnssecd?password=secret"', "the password stands in the URI"),
        ('node = "a"', 'node = "a"\nsslmode = "verify"', "did you mean"),
        ('node = "a"', 'node = "a"\ntake_over_after = "1s"', '"1s" is out of range; choose from 6s to 3600s'),
        ('address = ["192.0.2.2:53"]', "address = []", "address: is missing or empty"),
        ('node = "a"', 'node = "a"\nhost = "db"', "host: is not a known key"),
        (
            f'sealing_key = "{KEY_B}"',
            'sealing_key = "no key"',
            "sealing_key: is not base64; write what `dnssecd node key`",
        ),
        (f'sealing_key = "{KEY_B}"', 'sealing_key = "a2V5"', "sealing_key: has 3 octets, not 32"),
        (
            'address = ["192.0.2.1:53"]\n',
            f'address = ["192.0.2.1:53"]\nsealing_key = "{KEY_B}"\n',
            "cluster.nodes.b.sealing_key: is also the key of node a",
        ),
        ("[keystore.local]", f'{TOKEN}sharing = "sealed"', '"sealed" is for key stores of type "software"'),
        ("[keystore.local]", f'{TOKEN}sharing = "x"', 'write sharing = "token" or sharing = "own"'),
        *(
            (
                "[keystore.local]",
                f'{TOKEN}passphrase_file = "/x"\n{line}',
                "keystore.t.passphrase_file: encrypts the sealing key of a node",
            )
            for line in ("", 'sharing = "token"')
        ),
        *(
            (
                "[keystore.local]\n[policy.default]",
                f"{store}[policy.default]\n{line}",
                f"policy.default.{line.split()[0]}: it does not go with keys of each node's own",
            )
            for store in (
                '[keystore.local]\nsharing = "own"\n',
                f'{TOKEN}sharing = "own"\n'.replace("keystore.t", "keystore.local"),
            )
            for line in (
                "standby_ksk = true",
                "share_keys = true",
                "rfc5011 = true",
                'foreign_keys = "input"',
            )
        ),
        (
            "[keystore.local]\n[policy.default]",
            '[keystore.local]\nsharing = "own"\n[keystore.more]\ndirectory = "more"\n'
            '[policy.default]\nzsk = { keystore = "more" }',
            'policy.default: its keys are in more and in a key store with sharing = "own"',
        ),
        (
            "[keystore.local]\n[policy.default]",
            f'{TOKEN}sharing = "own"\n[keystore.local]\nsharing = "sealed"\n'
            '[policy.default]\nkeystore = "local"\nksk = { keystore = "t" }\n[policy.unused]\nkeystore = "local"',
            'policy.default: its keys are in local and in a key store with sharing = "own"; '
            "name key stores of one kind for all roles",
        ),
        (
            "[keystore.local]",
            '[zone."a.example.".other_signers.x]\nservers = ["192.0.2.9"]\nns = ["ns.x."]\n'
            '[keystore.local]\nsharing = "own"',
            "other_signers: they do not go with keys of each node's own",
        ),
        *(
            (
                "[policy.other]",
                f'[policy.other]\nshare_keys = true\n{line}\n{TOKEN}sharing = "token"',
                'policy.other.share_keys: it does not go with a token that all nodes reach (sharing = "token"); '
                "remove share_keys, so that each zone has keys of its own",
            )
            for line in ('keystore = "t"', 'keystore = "local"\nzsk = { keystore = "t" }')
        ),
        (
            "[keystore.local]",
            '[keystore.local]\nsharing = "token"',
            '"token" is for key stores of type "pkcs11"',
        ),
        ("[keystore.local]", '[keystore.local]\nsharing = "x"', '"x" is unknown; write sharing = "sealed"'),
        (
            "[keystore.local]",
            '[keystore.local]\nsharing = "sealed"\nremovable = true',
            "keys on a removable medium are not there when another node needs them",
        ),
    ],
)
def test_errors(old: str, new: str, expected: str) -> None:
    found = error(old, new)
    assert expected in found
    assert "secret@" not in found


@pytest.mark.parametrize("sharing", ['sharing = "sealed"', ""])
def test_zones_can_share_keys_in_files(sharing: str) -> None:
    shared = f"[keystore.local]\n{sharing}\n[policy.shared]\nshare_keys = true"
    assert read(BASE.replace("[keystore.local]", shared)).policies["shared"].share_keys


def test_a_database_that_is_not_proven_is_a_warning() -> None:
    remote = BASE.replace("127.0.0.1/", "db1.example,db2.example/")
    assert "does not prove that it is the database" in str(read(remote).warnings[-1])
    for proven in ('"\nsslmode = "verify-full"', '?sslmode=verify-full"'):
        assert read(remote.replace('/dnssecd"', f"/dnssecd{proven}")).warnings == read(BASE).warnings


def test_the_difference_between_nodes_is_named() -> None:
    ours = read(BASE)
    there = read(
        BASE.replace('node = "a"', 'node = "b"')
        .replace("[policy.other]", "[policy.other]\ndenial = 'nsec'")
        .replace("c2VjcmV0IHNlY3JldCBzZWNyZXQ=", "b3RoZXIgc2VjcmV0IG90aGVyIHNlY3JldA==")
        + "[zone.\"c.example.\"]\nsource = 'dynamic'\n"
    )
    mine, theirs = settings.settings_of(ours), settings.decode(settings.encode(settings.settings_of(there)))
    assert "c2VjcmV0" not in str(mine)
    assert list(settings.differences(mine, theirs, "b")) == [
        ("policy.other", "[policy.other] denial: nsec3 here, nsec on node b"),
        ('zone."c.example."', 'only node b has [zone."c.example."]'),
    ]
    assert settings.digest(mine) != settings.digest(theirs)
    assert "policy.other" in settings.sections_of_zone(ours, "b.example.")
    assert "policy.other" not in settings.sections_of_zone(ours, "a.example.")
    elsewhere = parse(BASE, Path("/opt/b/config.toml"))
    assert settings.digest(settings.settings_of(elsewhere)) == settings.digest(mine)


@pytest.mark.parametrize(
    ("given", "other"),
    [
        (
            "published = ['/usr/bin/tell', '--token=hunter2']",
            "published = ['/usr/bin/tell', '--token=hunter3']",
        ),
        ("published = 'https://example.net/hunter2'", "published = 'https://example.net/hunter3'"),
        ("parent = { hook = ['/bin/push', 'hunter2'] }", "parent = { hook = ['/bin/push', 'hunter3'] }"),
    ],
)
def test_commands_and_urls_stay_on_their_node(given: str, other: str) -> None:
    zone = '[zone."c.example."]\nsource = "dynamic"\n'
    ours, theirs = (settings.settings_of(read(BASE + zone + text)) for text in (given, other))
    same = settings.settings_of(read(BASE + zone + given))
    assert "hunter" not in str(ours)
    assert settings.digest(ours) == settings.digest(same)
    ((_, text),) = settings.differences(ours, theirs, "b")
    assert "not shown" in text
    assert "hunter" not in text


@pytest.mark.parametrize(
    "octets", [b"no zlib", zlib.compress(b"[" * 100_000), zlib.compress(b"1"), zlib.compress(b"\xff")]
)
def test_damaged_settings(octets: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        settings.decode(octets)


def test_the_url_of_anchors_is_compared_and_their_directory_is_not() -> None:
    anchors = '[anchors]\ndirectory = "/srv/a"\nurl = "https://www.example.net/anchors"\n'
    ours = settings.settings_of(read(BASE + anchors))
    there = settings.settings_of(read(BASE + anchors.replace("/srv/a", "/srv/b")))
    assert settings.digest(ours) == settings.digest(there)
    for other in ("", anchors.replace("www.", "www2.")):
        ((section, _),) = settings.differences(ours, settings.settings_of(read(BASE + other)), "b")
        assert section == "anchors"


def test_sealed_keys() -> None:
    config = read(BASE.replace("[keystore.local]", '[keystore.local]\nsharing = "sealed"'))
    assert config.sealed_keystores == {"local"}
    assert config.shared_keystores == set()
    (warning,) = (str(each) for each in config.warnings if "sealing_key" in str(each))
    assert "cluster.nodes.a: has no sealing_key: it gets no keys of key store local" in warning
    made = signer_settings(config, socket=Path("/s"), state_dir=Path("/d"))
    assert made.limits.sealing == SealingSettings(node="a", keys={"b": KEY_B})
    assert made.keystores[0].sealed


def test_own_keys() -> None:
    config = read(BASE.replace("[keystore.local]", '[keystore.local]\nsharing = "own"'))
    assert config.own_keystores == {"local"}
    assert config.shared_keystores == config.sealed_keystores == set()
    (warning,) = (str(each) for each in config.warnings if "sealing_key" in str(each))
    assert "cluster.nodes.a: has no sealing_key: no other node knows its keys of key store local" in warning
    (store,) = signer_settings(config, socket=Path("/s"), state_dir=Path("/d")).keystores
    assert (store.own, store.sealed) == (True, False)


def test_own_tokens() -> None:
    own = TOKEN.replace("keystore.t", "keystore.local") + 'sharing = "own"'
    config = read(BASE.replace("[keystore.local]", own))
    assert config.own_keystores == {"local"}
    assert config.shared_keystores == config.sealed_keystores == set()
    (warning,) = (str(each) for each in config.warnings if "sealing_key" in str(each))
    assert "cluster.nodes.a: has no sealing_key: no other node knows its keys of key store local" in warning
    (store,) = signer_settings(config, socket=Path("/s"), state_dir=Path("/d")).keystores
    assert (store.own, store.type, store.passphrase_file) == (True, "pkcs11", "")
    config = read(BASE.replace("[keystore.local]", f'{own}\npassphrase_file = "secret"'))
    (store,) = signer_settings(config, socket=Path("/s"), state_dir=Path("/d")).keystores
    assert store.passphrase_file == "/etc/dnssecd/secret"


def test_a_key_may_be_in_a_token_and_another_in_a_file_if_each_node_has_both_for_itself() -> None:
    stores = f'[keystore.local]\nsharing = "own"\n{TOKEN}sharing = "own"\n'
    policy = '[policy.default]\nkeystore = "local"\nksk = { keystore = "t" }\n'
    text = BASE.replace("[keystore.local]\n[policy.default]\n", stores + policy)
    config = read(text.replace("[policy.other]", '[policy.other]\nkeystore = "local"'))
    assert config.own_keystores == {"local", "t"}


def test_the_tokens_of_each_nodes_own_are_not_compared() -> None:
    """The nodes may have tokens of different vendors; a token that all reach must be the same."""

    def settings_with(sharing: str, more: str, token: str = TOKEN) -> settings.Settings:
        table = token.replace("keystore.t", "keystore.local")
        return settings.settings_of(read(BASE.replace("[keystore.local]", f"{table}{more}\n{sharing}")))

    other = TOKEN.replace("/m", "/vendor/other.so").replace('"t"', '"u"')
    more = 'validated = "FIPS 140-3 certificate 1"\nquirks = ["text-ids"]'
    own = settings_with('sharing = "own"', "")
    there = settings_with('sharing = "own"\npassphrase_file = "/x"', more, other)
    assert settings.digest(own) == settings.digest(there)
    shared = [settings_with('sharing = "token"', text, token) for text, token in (("", TOKEN), (more, other))]
    assert settings.digest(shared[0]) != settings.digest(shared[1])
    files = settings.settings_of(read(BASE.replace("[keystore.local]", '[keystore.local]\nsharing = "own"')))
    found = [text for _, text in settings.differences(own, files, "b")]
    assert "[keystore.local] type: pkcs11 here, nothing on node b" in found


def test_how_many_nodes_must_hold_a_key() -> None:
    config = read(BASE.replace("[policy.other]", "[policy.other]\nheld_by_min = 3"))
    assert [config.holders_min(config.policies[name]) for name in ("default", "other")] == [2, 2], (
        "there are two"
    )
    alone = read(BASE.partition("[cluster]")[0])
    assert alone.holders_min(alone.policies["default"]) == 1
    assert not signer_settings(alone, socket=Path("/s"), state_dir=Path("/d")).keystores[0].sealed
