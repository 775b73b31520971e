"""The configuration contract: defaults, and every error at once with file, line, what and remedy."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dnssecd.config import Address, ConfigError, ConfigErrors, KeyTemplate, Pkcs11Keystore, load, parse
from dnssecd.config.load import control_socket_of
from dnssecd.config.model import Config, Policy, UpdateLimits
from dnssecd.control_place import quick_control_socket

MINIMAL = """
[server]
[keystore.local]
[policy.default]
[zone."example.com."]
file = "example.com.zone"
"""
SECRET = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0"
DAY = 86_400


def read(text: str, file: str = "/etc/dnssecd/config.toml") -> Config:
    return parse(text, Path(file))


def errors(text: str) -> list[ConfigError]:
    with pytest.raises(ConfigErrors) as caught:
        read(text)
    for error in caught.value.errors:
        assert error.what, error
        assert error.remedy, error
    return list(caught.value.errors)


def one(text: str) -> ConfigError:
    found = errors(text)
    assert len(found) == 1, found
    return found[0]


def with_policy(keys: str) -> str:
    return MINIMAL.replace("[policy.default]", "[policy.default]\n" + keys)


def with_zone(keys: str, more: str = "") -> str:
    return MINIMAL + keys + "\n" + more


def with_peers(keys: str) -> str:
    return with_zone(
        keys,
        f'[tsig."transfer."]\nsecret = "{SECRET}"\n'
        '[secondary.ns1]\naddress = "192.0.2.53:53"\ntsig = "transfer."\n'
        '[primary.up]\naddress = "192.0.2.10"\n',
    )


def test_defaults_are_those_of_the_contract() -> None:
    config = read(MINIMAL)
    assert config.server.listen == (Address("127.0.0.1", 5300), Address("::1", 5300))
    assert config.server.resolver == ()
    assert config.server.state_dir == Path("/var/lib/dnssecd")
    assert config.server.control_socket == Path("/run/dnssecd/control.sock")
    assert config.metrics.listen == Address("127.0.0.1", 9533)
    assert (config.log.format, config.log.level) == ("auto", "info")
    assert config.signer.socket is None
    policy = config.policy_of("example.com.")
    assert policy.ksk == KeyTemplate(13, None, "local")
    assert policy.zsk == KeyTemplate(13, 90 * DAY, "local")
    assert policy.csk is None
    assert (policy.share_keys, policy.zonemd, policy.rfc5011, policy.standby_ksk) == (False,) * 4
    assert (policy.dnskey_ttl, policy.denial, policy.nsec3_opt_out) == (3600, "nsec3", False)
    assert (policy.signature_validity, policy.signature_inception) == (30 * DAY, -3600)
    assert (policy.signature_refresh, policy.signature_jitter) == (None, DAY // 2)
    assert (policy.serial, policy.cds, policy.manual, policy.freeze) == ("increment", "auto", frozenset(), ())
    delays = (policy.propagation_delay, policy.parent_propagation_delay, policy.parent_ds_ttl)
    assert delays == (300, 3600, DAY)
    zone = config.zones["example.com."]
    assert (zone.source, zone.file) == ("file", "/etc/dnssecd/example.com.zone")
    assert zone.max_change == 0.3
    assert zone.allow_query.allows("127.0.0.7", None)
    assert zone.allow_query.allows("::1", None)
    assert not zone.allow_query.allows("192.0.2.1", None)
    assert not zone.allow_transfer.allows("127.0.0.1", None)


def test_names_are_lower_case_with_final_dot() -> None:
    config = read(MINIMAL.replace("example.com.", "EXAMPLE.Com", 1))
    assert list(config.zones) == ["example.com."]
    assert list(read(MINIMAL.replace('"example.com."', '"."')).zones) == ["."]


def test_all_errors_at_once_in_file_order() -> None:
    text = """[server]
listem = ["127.0.0.1:5300"]
[keystore.local]
type = "sofware"
[policy.default]
keystore = "hsm"
signature_validity = 30
zsk = { algorithm = "rsasha1", lifetime = "90" }
[zone."example.com."]
polic = "default"
file = "x"
secondaries = ["ns1"]
"""
    found = errors(text)
    assert [(e.line, e.where) for e in found] == [
        (2, "server.listem"),
        (4, "keystore.local.type"),
        (6, "policy.default.keystore"),
        (7, "policy.default.signature_validity"),
        (8, "policy.default.zsk.algorithm"),
        (8, "policy.default.zsk.lifetime"),
        (10, 'zone."example.com.".polic'),
        (12, 'zone."example.com.".secondaries[0]'),
    ]
    assert 'did you mean "listen"?' in found[0].remedy
    assert 'did you mean "software"?' in found[1].remedy
    assert "SHA-1" in found[4].what
    assert "[secondary.ns1]" in found[7].remedy
    assert str(found[0]).startswith("/etc/dnssecd/config.toml:2: server.listem: ")


@pytest.mark.parametrize("table", ["server", "keystore.local", "policy.default", 'zone."example.com."'])
def test_needed_tables(table: str) -> None:
    text = MINIMAL.replace(f"[{table}]\n", "")
    if "zone" in table:
        text = text.replace('file = "example.com.zone"\n', "")
    wheres = [e.where for e in errors(text)]
    assert table.split(".")[0] in wheres


@pytest.mark.parametrize(
    ("keys", "remedy"),
    [
        ("dnskey_ttl = 3600", 'dnskey_ttl = "1h" if you mean seconds'),
        ("signature_validity = 90", 'signature_validity = "1m30s" if you mean seconds'),
        ("dnskey_ttl = true", 'dnskey_ttl = "1h"'),
        ('signature_validity = "30"', 'signature_validity = "30d"'),
    ],
)
def test_the_remedy_of_a_duration_is_what_can_be_written_there(keys: str, remedy: str) -> None:
    assert remedy in one(with_policy(keys)).remedy


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ("dnskey_ttl = 3600", "3600 has no unit"),
        ('dnskey_ttl = "3600"', "not a duration"),
        ('zonemd = "yes"', "must be true or false"),
        ("manual = 'zsk'", "must be a list"),
        ("manual = ['zks']", '"zks" is not a step'),
        ("manual = ['zsk', 'zsk']", "twice"),
        ("ksk = 'x'", "must be a table"),
        ("denial = 'nsec4'", "is not allowed"),
        ("denial = 'nsec'\nnsec3_opt_out = true", "NSEC has no opt-out"),
        ("csk = {}\nzsk = {}", "replaces KSK and ZSK"),
        ("ksk = { algorithm = 'ed25519' }\nzsk = { algorithm = 'rsasha256' }", "differ in algorithm"),
        ("ksk = { algorithm = 'ed25519', bits = 2048 }", "size of ed25519 keys is fixed"),
        ("ksk = { algorithm = 'rsasha256', bits = 1024 }", "out of range"),
        ("ksk = { algorithm = 'dsa' }", "refused"),
        ("ksk = { algorithm = 5 }", "refused: SHA-1"),
        ("ksk = { algorithm = 7 }", "refused: SHA-1"),
        ("ksk = { algorithm = 'nsec3rsasha1' }", "refused: SHA-1"),
        ("ksk = { algorithm = 'ecdsa' }", "is not an algorithm"),
        ("ksk = { algorithm = true }", "must be text"),
        ("signature_refresh = '30d'", "renewed 30d before they expire"),
        ("signature_refresh = 'never'", "not a duration"),
        ("signature_refresh = '20d'\nsignature_jitter = '10d'", "jitter of 10d"),
        ("signature_inception = '1h'", "in the future"),
        ("signature_validity = '100y'", "out of range"),
        ("signature_validity = '0s'", "out of range"),
        ("dnskey_ttl = '20d'", "can outlive its signature"),
        ("zsk = { lifetime = '1h' }", "retired before its successor"),
        ("ksk = { lifetime = '1d' }", "retired before its successor"),
        ("ksk = { lifetime = '-1d' }", "not a lifetime"),
        ("freeze = ['christmas']", "not a span of days"),
        ("freeze = ['13-01/01-05']", "a date that does not exist"),
        ("freeze = ['2027-01-05/2026-12-20']", "ends before it starts"),
        ("propagation_delay = '-5m'", "out of range"),
    ],
)
def test_policy_errors(keys: str, what: str) -> None:
    error = one(with_policy(keys))
    assert what in error.what
    assert error.where.startswith("policy.default")
    assert error.line >= 5


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ("source = 'primaries'\nprimaries = ['up']", "cannot have a file"),
        ("primaries = ['up']", 'source is "file"'),
        ("secondaries = ['ns2']", 'no secondary "ns2"'),
        ("policy = 'strict'", 'no policy "strict"'),
        ("allow_transfer = ['trasfer.']", 'no TSIG key "trasfer."'),
        ("allow_transfer = ['192.0.2.1/24']", "not a network"),
        ("allow_query = ['300.1.1.1']", "not a network"),
        ("parent = 'nobody'", "is not allowed"),
        ("parent = { servers = ['ns.example.net:53'] }", "not an IP address"),
        ("parent = { server = ['192.0.2.1'] }", "not a known key"),
        ("parent = { hook = '\"open' }", "cannot be parsed"),
        ("max_change = '130%'", "not a percentage"),
        ("max_change = 30", "must be text"),
        ("check_servers = ['192.0.2.1:99999']", "out of range"),
        ("check_servers = ['192.0.2.1:0']", "out of range"),
        ("other_signers = { b = { ns = ['ns.b.'] } }", "no server of the signer"),
        ("other_signers = { b = { servers = ['ns.b.'] } }", "not an IP address"),
        ("other_signers = { b = { servers = ['192.0.2.1'], nss = [] } }", "not a known key"),
        ("other_signers = { b = { servers = ['192.0.2.1'], ns = ['a..b'] } }", "is not a DNS name"),
        ("allow_update = [{ tsig = 'transfer.', names = ['*'], types = ['TXT'] }]", "whole of a file zone"),
        (
            "allow_update = [{ tsig = 'transfer.', names = ['a.example.com.'], types = ['ANY'] }]",
            "every type of a file zone",
        ),
        (
            "allow_update = [{ tsig = 'transfer.', names = ['a.example.org.'], types = ['A'] }]",
            "is not in the zone",
        ),
        ("update_records_max = 0", "out of range"),
        ("update_types_max = true", "whole number"),
        ("update_strict = 'no'", "true or false"),
        (
            "allow_update = [{ tsig = 'transfer.', names = ['example.com.'], types = ['TXTT'] }]",
            "not an RR type",
        ),
        (
            "allow_update = [{ tsig = 'transfer.', names = ['example.com.'], types = ['RRSIG'] }]",
            "the signer makes RRSIG records",
        ),
        ("allow_update = [{ tsig = 'nobody.', names = ['example.com.'], types = ['A'] }]", "no TSIG key"),
        ("allow_update = [{ tsig = 'transfer.', names = ['example.com.'] }]", "is missing"),
        ("allow_update = ['transfer.']", "must be a table"),
    ],
)
def test_zone_errors(keys: str, what: str) -> None:
    error = one(with_peers(keys))
    assert what in error.what
    assert error.where.startswith('zone."example.com."')
    assert error.line >= 5


@pytest.mark.parametrize(
    ("name", "what", "remedy"),
    [
        ("www", "no final dot", 'write "www.example.com."'),
        ("_acme-challenge", "no final dot", 'write "_acme-challenge.example.com."'),
        ("*.www.Example.com", "no final dot", 'write "*.www.example.com."'),
        ("_acme-challenge.*.example.com.", "not patterns", 'write "*.example.com."'),
        ("_acme-challenge.*.", "not patterns", 'write "*.example.com."'),
        ("*.*.sub.example.com.", "not patterns", 'write "*.sub.example.com."'),
        ("www*.example.com.", "not patterns", 'write "*.example.com."'),
        (r"\042.sub.example.com.", "a wildcard only", 'write "*.sub.example.com."'),
    ],
)
def test_a_grant_of_a_wrong_name_shows_what_to_write(name: str, what: str, remedy: str) -> None:
    error = one(with_peers(f"allow_update = [{{ tsig = 'transfer.', names = ['{name}'], types = ['TXT'] }}]"))
    assert what in error.what
    assert remedy in error.remedy


def test_bounds_on_updates() -> None:
    assert read(with_peers("")).zones["example.com."].update_limits == UpdateLimits(100, 49, 1000, True)
    keys = "update_records_max = 500\nupdate_types_max = 60\nupdate_names_max = 9\nupdate_strict = false"
    assert read(with_peers(keys)).zones["example.com."].update_limits == UpdateLimits(500, 60, 9, False)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ('[tsig."k."]\nsecret = "not base64!"', "not base64"),
        ('[tsig."k."]\nsecret = ""', "empty"),
        ('[tsig."k."]', "secret is missing"),
        (f'[tsig."k."]\nsecret = "{SECRET}"\nsecret_file = "x"', "both secret and secret_file"),
        ('[tsig."k."]\nsecret_file = "/nonexistent/secret"', "cannot be read"),
        ('[tsig."k."]\nsecret_file = "/etc"', "cannot be read"),
        (f'[tsig."k."]\nalgorithm = "hmac-md5"\nsecret = "{SECRET}"', "hmac-md5 is refused"),
        (f'[tsig."k."]\nalgorithm = "hmac-md5.sig-alg.reg.int."\nsecret = "{SECRET}"', "hmac-md5 is refused"),
        (f'[tsig."k."]\nalgorithm = "hmac-sha257"\nsecret = "{SECRET}"', "not a TSIG algorithm"),
        (f'[tsig."K."]\nsecret = "{SECRET}"\n[tsig.k]\nsecret = "{SECRET}"', "twice"),
        ("[secondary.ns1]", "is missing"),
        ('[secondary.ns1]\naddress = "ns1.example.net:53"', "not an IP address"),
        ('[secondary."a b"]\naddress = "192.0.2.1"', "characters other than"),
        ('[zone."EXAMPLE.com"]\nfile = "x"', "configured twice"),
        ('[zone."exa..mple."]\nfile = "x"', "not a DNS name"),
        ('[zone."bücher.example."]\nfile = "x"', "not in ASCII form"),
        ('[keystore.hsm]\ntype = "pkcs11"\nmodule = "m"\npin_file = "p"', "no token is named"),
        (
            '[keystore.hsm]\ntype = "pkcs11"\nmodule = "m"\nslot = 1\ntoken_label = "x"\npin_file = "p"',
            "more than once",
        ),
        ('[keystore.other]\ndirectory = "/var/lib/dnssecd/keys"', "shares the directory"),
        ('[alerts.mail]\nfrom = "a@b"', "is missing"),
        ('[alerts.mail]\nfrom = "a@b"\nto = []', "list of recipients is empty"),
        ('[alerts.mail]\nfrom = "a@b\\nBcc: x@y"\nto = ["c@d"]', "not a mail address"),
        ('[alerts.mail]\nfrom = "a@b"\nto = ["c@d"]\nuser = "x"', "password_file is missing"),
        ('[alerts.webhook]\nurl = "ftp://x/"', "not an http(s) address"),
        ('[alerts.command]\nrun = ""', "command is empty"),
        ("[alerts.sms]", "not a known key"),
        ('[metrics]\nlisten = "localhost:9533"', "not an IP address"),
        ("[sevrer]", "not a known key"),
        (f'[signer]\nsocket = "/{"x" * 120}"', "too long for a Unix socket"),
        ("zone = 1", ""),
    ],
)
def test_other_errors(more: str, what: str) -> None:
    found = errors(MINIMAL + "\n" + more)
    assert any(what in error.what for error in found), found
    assert len(found) <= 2


def test_the_message_never_shows_a_secret() -> None:
    error = one(MINIMAL + '[tsig."k."]\nsecret = "c2VjcmV0!!"')
    assert "c2Vj" not in str(error)
    config = read(with_peers(""))
    assert SECRET not in repr(config)
    assert b"secret secret".decode() not in repr(config)


def test_zone_name_too_long_for_nsec3() -> None:
    def text(policy: str, length: int) -> str:
        labels = ["a" * 63, "b" * 63, "c" * 63]
        labels.append("d" * (length - 1 - 3 * 64 - 1))
        return with_policy(policy).replace('"example.com."', '"' + ".".join(labels) + '."')

    read(text("denial = 'nsec3'", 222))
    error = one(text("denial = 'nsec3'", 223))
    assert "223 bytes" in error.what
    read(text("denial = 'nsec'", 223))


def test_defaults_that_do_not_fit_are_lowered_with_a_warning() -> None:
    config = read(with_policy('signature_validity = "1h"'))
    policy = config.policies["default"]
    assert policy.dnskey_ttl < 1800
    assert policy.signature_jitter < 1800
    assert {w.where for w in config.warnings} >= {
        "policy.default.dnskey_ttl",
        "policy.default.signature_jitter",
    }


def test_references_and_grants() -> None:
    config = read(
        with_peers(
            "secondaries = ['ns1']\nallow_transfer = ['TRANSFER', '2001:db8::/32']\n"
            "allow_update = [{ tsig = 'transfer', names = ['*.Sub.Example.com.', 'self'], types = ['txt'] }]\n"
            "parent = { push = 'up', hook = './hook --quiet' }"
        )
    )
    zone = config.zones["example.com."]
    assert zone.check_servers == config.secondaries_of("example.com.")
    assert zone.allow_transfer.allows("192.0.2.99", "transfer.")
    assert zone.allow_transfer.allows("2001:db8::7", None)
    assert not zone.allow_transfer.allows("192.0.2.99", "other.")
    assert zone.allow_update[0].names == ("*.sub.example.com.", "self")
    assert zone.allow_update[0].types == ("TXT",)
    assert zone.parent.push is not None
    assert zone.parent.push.address == Address("192.0.2.10", 53)
    assert zone.parent.hook == ("/etc/dnssecd/hook", "--quiet")


def test_mapped_addresses_match_ipv4_networks() -> None:
    assert read(MINIMAL).zones["example.com."].allow_query.allows("::ffff:127.0.0.1", None)


def test_whole_zone_grants_are_for_dynamic_zones() -> None:
    text = with_peers(
        "allow_update = [{ tsig = 'transfer.', names = ['*'], types = ['ANY'] }]\nsource = 'dynamic'"
    )
    assert read(text).zones["example.com."].allow_update[0].names == ("*",)


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        (b"[server\n", 1, "is not TOML"),
        (b"[server]\nlisten = [\n", 3, "is not TOML"),
        (b"[server]\n[server]\n", 2, "is not TOML"),
        (b"[server]\nx = '\xff'\n", 2, "is not UTF-8"),
        (b"x = " + b"[" * 5000, 0, "nested too deeply"),
    ],
)
def test_files_that_are_no_toml(tmp_path: Path, content: bytes, line: int, what: str) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigErrors) as caught:
        load(file)
    (error,) = caught.value.errors
    assert (error.line, what in error.what) == (line, True), error


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="cannot be read"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigErrors, match="cannot be read"):
        load(tmp_path)


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "transfer.secret").write_text(SECRET[:20] + "\n" + SECRET[20:] + "\n")
    (tmp_path / "conf").mkdir()
    file = tmp_path / "conf" / "d.toml"
    file.write_text(MINIMAL + '[tsig."t."]\nsecret_file = "../transfer.secret"\n')
    monkeypatch.chdir(tmp_path)
    config = load("conf/d.toml")
    assert config.tsig["t."].secret.value == b"secret secret secret secret"
    assert config.zones["example.com."].file == str(tmp_path / "conf" / "example.com.zone")
    (tmp_path / "transfer.secret").unlink()
    assert load(file, read_secrets=False).tsig["t."].secret.value == b""
    with pytest.raises(ConfigErrors, match="cannot be read"):
        load(file)


def test_secrets_that_all_users_may_read_are_reported(tmp_path: Path) -> None:
    file, secret = tmp_path / "d.toml", tmp_path / "transfer.secret"
    secret.write_text(SECRET)
    file.write_text(MINIMAL + f'[tsig."t."]\nsecret_file = "{secret}"\n[tsig."u."]\nsecret = "{SECRET}"\n')

    def told(file_mode: int, secret_mode: int) -> set[str]:
        file.chmod(file_mode)
        secret.chmod(secret_mode)
        return {
            warning.where for warning in load(file).warnings if "all users of this machine" in warning.what
        }

    assert told(0o640, 0o440) == set()
    assert told(0o640, 0o644) == {'tsig."t.".secret_file'}
    assert told(0o644, 0o400) == {'tsig."u.".secret'}
    assert load(file, read_secrets=False).tsig["t."].secret.value == b""


def test_control_socket_of_a_wrong_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[server]\ncontrol_socket = "c.sock"\nnonsense = 1\n')
    assert control_socket_of(file) == tmp_path / "c.sock"
    assert quick_control_socket(file) == tmp_path / "c.sock"
    file.write_text("server = 3\n")
    assert control_socket_of(file) == Path("/run/dnssecd/control.sock")
    assert quick_control_socket(file) is None


@pytest.mark.parametrize(
    "text",
    [
        '[server]\ncontrol_socket = "c.sock"\n',
        "[zone.x]\n[ server ]\ncontrol_socket = 'c.sock'\n[zone.y]\ncontrol_socket = 'd.sock'\n",
        "server.control_socket = 'c.sock'\n",
        "server = { control_socket = 'c.sock' }\n",
        "note = '''\n[server]\ncontrol_socket = \"d.sock\"\n'''\n[\"server\"]\ncontrol_socket = 'c.sock'\n",
        "\ufeff[server]\ncontrol_socket = 'c.sock'\n",
    ],
)
def test_the_quick_look_for_the_control_socket_never_finds_another(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text)
    assert control_socket_of(file) == tmp_path / "c.sock"
    assert quick_control_socket(file) in (None, tmp_path / "c.sock")


def test_the_quick_look_takes_a_file_with_thousands_of_zones(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    zones = "".join(
        f'[zone."z{number:05}.example."]\nfile = "/srv/z{number:05}"\n' for number in range(30_000)
    )
    file.write_text(f'[server]\ncontrol_socket = "c.sock"\n{zones}')
    assert file.stat().st_size > 1 << 20
    assert quick_control_socket(file) == tmp_path / "c.sock"


def test_a_command_finds_the_daemon_without_loading_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[server]\ncontrol_socket = 'c.sock'\n")
    text = (
        f"import sys; from dnssecd.cli.common import Cli; assert Cli({str(file)!r}, None, False).socket; "
        "print([name for name in sys.modules if name.startswith(('dnssecd.config', 'pydantic'))])"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


EXAMPLE = Path(__file__).parents[3] / "config.example.toml"


def test_a_key_store_for_each_role() -> None:
    stores = "[keystore.vault]\ndirectory = '/vault'\n[keystore.online]\ndirectory = '/online'\n"

    def policy(text: str) -> Policy:
        return read(with_policy(text).replace("[policy.default]", stores + "[policy.default]")).policies[
            "default"
        ]

    mixed = policy('keystore = "online"\nksk = { keystore = "vault" }')
    assert [mixed.keystore_of(role) for role in ("ksk", "zsk", "csk")] == ["vault", "online", "online"]
    assert mixed.keystores == ("vault", "online")
    both = policy('ksk = { keystore = "vault" }\nzsk = { keystore = "online", lifetime = "30d" }')
    assert (both.keystore_of("ksk"), both.keystore_of("zsk")) == ("vault", "online")
    single = policy('csk = { keystore = "vault", algorithm = "ed25519" }')
    assert (single.keystores, single.keystore) == (("vault",), "vault")
    assert policy("").keystores == ("local",)


def test_a_key_store_of_a_role_that_is_not_there() -> None:
    error = one(with_policy('ksk = { keystore = "lokal" }'))
    assert error.where == "policy.default.ksk.keystore"
    assert 'there is no key store "lokal"' in error.what
    assert "local" in error.remedy


def test_the_example_loads() -> None:
    config = parse(EXAMPLE.read_text(), EXAMPLE)
    bare = read(MINIMAL)
    assert config.policies == bare.policies, "the example shows the defaults"
    assert config.server == bare.server
    assert config.keystores == bare.keystores


def test_the_example_loads_with_everything_switched_on() -> None:
    lines = EXAMPLE.read_text().split("\n")
    text = "\n".join(line[1:] if re.match("#[^ ]", line) else line for line in lines)
    config = parse(text, EXAMPLE, read_secrets=False)
    assert isinstance(config.keystores["hsm"], Pkcs11Keystore)
    assert config.policies["single"].csk == KeyTemplate(15, 365 * DAY, "local")
    assert config.zones["example.com."].parent.hook
    assert config.zones["example.net."].parent.none
    assert config.alerts.mail is not None
    assert config.alerts.mail.heartbeat == "daily"
    assert config.alerts.command == ("/usr/local/bin/page-operator",)


def test_ten_thousand_zones_load_quickly() -> None:
    import time

    text = MINIMAL + "".join(f'[zone."z{n}.example."]\nfile = "z/{n}.zone"\n' for n in range(10_000))
    began = time.monotonic()
    assert len(read(text).zones) == 10_001
    assert time.monotonic() - began < 10


def test_a_file_name_that_no_file_can_have_is_a_file_that_is_not_there() -> None:
    text = MINIMAL.replace("example.com.zone", "/tmp/" + "x" * 300)
    (warning,) = (one for one in read(text).warnings if "does not exist (yet)" in one.what)
    assert "the zone waits for it" in warning.remedy


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ('source = "dynamic"', 'source is "dynamic"'),
        ('allow_update = [{ tsig = "t.", names = ["a.example."], types = ["A"] }]', "as it is"),
        ('other_signers = { s = { servers = ["192.0.2.1"] } }', "as it is"),
    ],
)
def test_a_zone_that_comes_signed_takes_no_changes_here(more: str, what: str) -> None:
    text = """
[server]
[keystore.local]
[policy.default]
[tsig."t."]
algorithm = "hmac-sha256"
secret = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="
[zone."example."]
file = "f"
signing = "verify-only"
"""
    config = parse(text, Path("/etc/c.toml"), read_secrets=False)
    assert config.zones["example."].signing == "verify-only"
    with pytest.raises(ConfigErrors) as caught:
        parse(text + more, Path("/etc/c.toml"), read_secrets=False)
    assert any(what in str(error) for error in caught.value.errors)
