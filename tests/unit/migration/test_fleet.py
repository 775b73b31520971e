"""Configurations of other signers become ours; what has no counterpart is named with file and line."""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dnssecd.cli.migrate_config import _read
from dnssecd.config import Config, parse
from dnssecd.migration.fleet import bind, knot, opendnssec, powerdns
from dnssecd.migration.fleet.model import BadConfig, Fleet
from dnssecd.migration.fleet.render import render
from dnssecd.store import powerdns as pdns_database
from dnssecd.store.errors import StoreError

KNOT = """# a signer
server:
    rundir: "/run/knot"
    listen: [ 127.0.0.1@53, ::1@53 ]
log:
  - target: stderr
    any: info
key:
  - id: transfer.example.
    algorithm: hmac-sha256
    secret: "aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gMTI="
  - id: update
    algorithm: hmac-sha512
    secret: aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gMTI=
remote:
  - id: ns1
    address: [ 192.0.2.1, 2001:db8::1@5353 ]
    key: transfer.example.
  - id: hidden
    address: 192.0.2.9@54
acl:
  - id: transfers
    key: transfer.example.
    action: transfer
  - id: updates
    address: 192.0.2.0/24
    key: update
    action: [ update, notify ]
  - id: bad
    address: 192.0.2.66
    deny: on
submission:
  - id: s
    check-interval: 1h
    parent: ns1
policy:
  - id: house
    algorithm: ecdsap256sha256
    ksk-lifetime: 0
    zsk-lifetime: 90d
    dnskey-ttl: 1h
    rrsig-lifetime: 14d
    rrsig-refresh: 7d
    nsec3: on
    nsec3-iterations: 0
    nsec3-salt-length: 0
    ksk-submission: s
  - id: one
    single-type-signing: on
    algorithm: ed25519
template:
  - id: default
    storage: /var/lib/knot/zones
    file: "%s.zone"
    notify: ns1
    acl: transfers
    semantic-checks: on
  - id: signed
    storage: /srv/zones
    dnssec-signing: on
    dnssec-policy: house
    notify: [ ns1 ]
    acl: [ transfers, bad ]
    serial-policy: unixtime
zone:
  - domain: example.com
    template: signed
  - domain: Example.ORG.
    template: signed
    acl: [ transfers, updates ]
    file: org.zone
    zonemd-generate: zonemd-sha384
  - domain: bump.example
    dnssec-signing: on
    dnssec-policy: one
    master: hidden
    module: mod-stats
  - domain: plain.example
"""

NAMED = """/* a signer */
options { directory "/var/cache/bind"; allow-transfer { none; }; notify explicit; listen-on port 53 { any; }; };
key "transfer." { algorithm hmac-sha256; secret "aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gMTI="; };
acl friends { 192.0.2.0/24; !192.0.2.66; key transfer.; };
primaries seconds port 5353 { 192.0.2.1 key transfer.; 2001:db8::1; };
dnssec-policy "house" {
    keys { ksk lifetime unlimited algorithm ecdsap256sha256; zsk lifetime P90D algorithm ecdsap256sha256; };
    dnskey-ttl 3600; max-zone-ttl 1d; parent-ds-ttl PT1H; zone-propagation-delay 5m; signatures-validity 14d;
    signatures-refresh 5d;
    nsec3param iterations 0 optout yes salt-length 0;  # RFC 9276
};
include "zones.conf";
"""

ZONES = """zone "example.com" IN { type primary; file "example.com.zone"; dnssec-policy house; inline-signing yes;
    allow-transfer { friends; }; also-notify { seconds; }; };
zone "dyn.example" { type master; file "dyn.zone"; dnssec-policy default; allow-update { key transfer.; };
    max-records 100; };
zone "bump.example" { type secondary; primaries { 192.0.2.9; }; file "b"; dnssec-policy house; };
zone "plain.example" { type primary; file "p"; };
view "internal" { zone "x" { type primary; file "x"; }; };
"""

ZONE_A = "zone a { type primary; dnssec-policy default; allow-transfer { a; }; };"
SAMPLES = Path(__file__).with_name("samples")


def put(home: Path, **files: str) -> Path:
    """Write files; return the first."""
    paths = [home / name.replace("_", ".") for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        path.write_text(text)
    return paths[0]


def accepted(fleet: Fleet, home: Path) -> Config:
    """The configuration as it is read: an error in it would be raised."""
    return parse(render(fleet, "a test", "127.0.0.1:53"), home / "config.toml")


def notes(fleet: Fleet, home: Path) -> list[str]:
    return [f"{note.where.removeprefix(str(home) + '/')}: {note.what}" for note in fleet.notes]


def test_knot(tmp_path: Path) -> None:
    fleet = knot.read_config(put(tmp_path, knot_conf=KNOT), _read)
    config = accepted(fleet, tmp_path)
    com, org, bump = (config.zones[name] for name in ("example.com.", "example.org.", "bump.example."))
    assert list(config.zones) == ["example.com.", "example.org.", "bump.example."]
    assert (com.source, str(com.file), com.policy) == ("file", "/srv/zones/example.com.zone", "house")
    assert com.secondaries == ("ns1", "ns1-2")
    assert com.allow_transfer.tsig == {"transfer.example."}
    assert (org.source, org.allow_update[0].tsig, org.allow_update[0].names) == ("dynamic", "update.", ("*",))
    assert (bump.source, bump.primaries, config.policies["one"].csk) == (
        "primaries", ("hidden",), config.policy_of("bump.example.").csk
    )  # fmt: skip
    house = config.policies["house"]
    assert house.zsk is not None
    assert (house.zsk.lifetime, house.dnskey_ttl, house.signature_validity, house.signature_refresh) == (
        90 * 86_400, 3600, 14 * 86_400, 7 * 86_400
    )  # fmt: skip
    assert (house.denial, house.serial) == ("nsec3", "unixtime")
    second = config.secondaries["ns1-2"]
    assert (str(second.address), second.tsig) == ("[2001:db8::1]:5353", "transfer.example.")
    assert config.tsig["update."].algorithm == "hmac-sha512"
    assert notes(fleet, tmp_path) == [
        "knot.conf:47: policy: ksk-submission s has no counterpart",
        "knot.conf:29: acl bad denies: dnssecd has no denying rules",
        "knot.conf:25: acl updates wants a key and an address: here the key is enough",
        "knot.conf:68: zonemd differs between zones of policy house: make a policy of their own for some",
        "knot.conf:77: zone bump.example: module mod-stats has no counterpart",
        "knot.conf:78: plain.example is not signed there; it is left out",
        "knot.conf:3: section server: check if dnssecd needs its counterpart",
        "knot.conf:33: section submission: check if dnssecd needs its counterpart",
    ]


def test_bind(tmp_path: Path) -> None:
    fleet = bind.read_config(put(tmp_path, named_conf=NAMED, zones_conf=ZONES), _read)
    config = accepted(fleet, tmp_path)
    com, dyn, bump = (config.zones[name] for name in ("example.com.", "dyn.example.", "bump.example."))
    assert (com.source, str(com.file)) == ("file", "/var/cache/bind/example.com.zone")
    assert [str(config.secondaries[name].address) for name in com.secondaries] == [
        "192.0.2.1:5353", "[2001:db8::1]:5353"
    ]  # fmt: skip
    assert com.allow_transfer.tsig == {"transfer."}
    assert list(map(str, com.allow_transfer.networks)) == ["192.0.2.0/24"]
    assert (dyn.source, dyn.policy, dyn.allow_update[0].tsig) == ("dynamic", "default", "transfer.")
    assert bump.source == "primaries"
    house = config.policies["house"]
    assert house.zsk is not None
    assert (house.zsk.lifetime, house.dnskey_ttl, house.parent_ds_ttl, house.propagation_delay) == (
        90 * 86_400, 3600, 3600, 300
    )  # fmt: skip
    assert (house.denial, house.nsec3_opt_out) == ("nsec3", True)
    assert notes(fleet, tmp_path) == [
        "zones.conf:7: view internal: its zones are left out: dnssecd has no views",
        "named.conf:4: !192.0.2.66: dnssecd has no denying rules",
        "zones.conf:4: zone dyn.example: max-records 100 has no counterpart",
        "zones.conf:6: plain.example (primary) is not signed by a dnssec-policy; it is left out",
    ]


CONF = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration><RepositoryList><Repository name="Soft HSM"><Module>/usr/lib/softhsm/libsofthsm2.so</Module>
<TokenLabel>dns</TokenLabel><PIN>1234</PIN></Repository></RepositoryList>
<Common><PolicyFile>kasp.xml</PolicyFile><ZoneListFile>zonelist.xml</ZoneListFile></Common></Configuration>
"""
KASP = """<KASP><Policy name="house"><Signatures><Refresh>P3D</Refresh><Validity><Default>P14D</Default></Validity>
<Jitter>PT12H</Jitter><InceptionOffset>PT3600S</InceptionOffset></Signatures>
<Denial><NSEC3><OptOut/><Hash><Iterations>5</Iterations><Salt length="8"/></Hash></NSEC3></Denial>
<Keys><TTL>PT3600S</TTL><KSK><Algorithm length="2048">8</Algorithm><Lifetime>P1Y</Lifetime>
<Repository>Soft HSM</Repository>
</KSK><ZSK><Algorithm length="2048">8</Algorithm><Lifetime>P90D</Lifetime><Repository>Soft HSM</Repository></ZSK></Keys>
<Zone><PropagationDelay>PT5M</PropagationDelay><SOA><Serial>datecounter</Serial></SOA></Zone>
<Parent><PropagationDelay>PT1H</PropagationDelay><DS><TTL>PT1H</TTL></DS></Parent></Policy></KASP>
"""
ZONELIST = """<ZoneList><Zone name="example.com"><Policy>house</Policy><Adapters>
<Input><Adapter type="File">/var/opendnssec/unsigned/example.com</Adapter></Input>
<Output><Adapter type="DNS">addns.xml</Adapter></Output></Adapters></Zone>
<Zone name="in.example"><Policy>house</Policy><Adapters><Input><Adapter type="DNS">addns.xml</Adapter></Input>
<Output><Adapter type="File">/var/opendnssec/signed/in.example</Adapter></Output></Adapters></Zone></ZoneList>
"""
ADDNS = """<Adapter><DNS><TSIG><Name>transfer</Name><Algorithm>hmac-sha256</Algorithm>
<Secret>aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gMTI=</Secret></TSIG>
<Inbound><RequestTransfer><Remote><Address>192.0.2.9</Address><Port>53</Port><Key>transfer</Key></Remote></RequestTransfer>
</Inbound><Outbound><ProvideTransfer><Peer><Prefix>192.0.2.1/32</Prefix><Key>transfer</Key></Peer></ProvideTransfer>
<Notify><Remote><Address>192.0.2.1</Address></Remote></Notify></Outbound></DNS></Adapter>
"""


def ods(home: Path, **changed: str) -> Fleet:
    files = {"conf_xml": CONF, "kasp_xml": KASP, "zonelist_xml": ZONELIST, "addns_xml": ADDNS} | changed
    put(home, **files)
    return opendnssec.read_config(home, _read)


def test_opendnssec(tmp_path: Path) -> None:
    fleet = ods(tmp_path)
    config = accepted(fleet, tmp_path)
    com, other = config.zones["example.com."], config.zones["in.example."]
    assert (com.source, str(com.file), com.secondaries) == (
        "file", "/var/opendnssec/unsigned/example.com", ("192-0-2-1",)
    )  # fmt: skip
    assert com.allow_transfer.tsig == {"transfer."}
    assert (other.source, config.primaries[other.primaries[0]].tsig) == ("primaries", "transfer.")
    house = config.policies["house"]
    assert house.ksk is not None
    assert (house.ksk.algorithm, house.ksk.bits, house.ksk.lifetime, house.ksk.keystore) == (
        8, 2048, 31_536_000, "Soft-HSM"
    )  # fmt: skip
    assert (house.serial, house.signature_inception, house.nsec3_opt_out) == ("date", -3600, True)
    assert "1234" not in render(fleet, "x")
    assert [note.partition(": ")[2][:40] for note in notes(fleet, tmp_path)] == [
        "the PIN of Soft-HSM is not copied: write",
        "NSEC3 has iterations or a salt: set both",
        "in.example is written to /var/opendnssec",
    ]


SHOWN = """This is a Master zone
Last SOA serial number we notified: 0 != 1 (serial in the database)
Metadata items:
\tTSIG-ALLOW-AXFR\ttransfer
\tALSO-NOTIFY\t192.0.2.1:5353, [2001:db8::1]:53
\tLUA-AXFR-SCRIPT\t/x.lua
Zone has hashed NSEC3 semantics, configuration: 1 0 0 -
keys:
ID = 1 (CSK), flags = 257, tag = 1, algo = 13, bits = 256\t  Active\t Published  ( ECDSAP256SHA256 )
CSK DNSKEY = example.com. IN DNSKEY 257 3 13 AAAA; ( ECDSAP256SHA256 )
This is a Native zone
Metadata items:
Zone is not actively secured
"""
TSIG = "transfer. hmac-sha256. aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gMTI=\n"


def test_powerdns(tmp_path: Path) -> None:
    put(tmp_path, shown=SHOWN, keys=TSIG)
    fleet = powerdns.read_config([tmp_path / "shown", tmp_path / "keys"], _read)
    config = accepted(fleet, tmp_path)
    zone = config.zones["example.com."]
    assert (zone.source, zone.secondaries, zone.allow_transfer.tsig) == (
        "dynamic", ("192-0-2-1", "2001-db8-1"), {"transfer."}
    )  # fmt: skip
    assert config.policies["default"].csk is not None
    assert config.policies["default"].denial == "nsec3"
    assert notes(fleet, tmp_path) == [
        "shown:6: example.com.: metadata LUA-AXFR-SCRIPT has no counterpart",
        "shown:11: a zone without active keys is left out: it is not signed",
    ]
    with pytest.raises(BadConfig, match=r"the TSIG key transfer\. is not listed"):
        powerdns.read_config([tmp_path / "shown"], _read)


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("powerdns/*.show")), ids=lambda path: str(path.stem))
def test_what_pdnsutil_really_prints(sample: Path, tmp_path: Path) -> None:
    fleet = powerdns.read_config([sample], _read)
    assert fleet.zones or fleet.notes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "zone:\n  - domain: a b\n    dnssec-signing: on\n    template: x\n",
            "knot.conf:2: there is no template 'x'",
        ),
        ("key:\n  - id: a..b\n", "knot.conf:2: 'a..b' is not the name of a zone"),
        (
            "zone:\n  - domain: a\n    dnssec-signing: on\n    notify: n\n",
            "knot.conf:2: there is no remote 'n'",
        ),
        ("x y\n", "knot.conf:1: not a line of knot.conf"),
        ('key:\n  - id: "a\n', "knot.conf:2: a quote is not closed"),
        ("policy:\n  - id: p\n    dnskey-ttl: soon\n", "knot.conf:2: 'soon' is not a time"),
        ("include: knot.conf\n", "too many included files"),
        ("include: none.conf\n", "none.conf: No such file or directory"),
    ],
)
def test_mistakes_in_knot_conf_have_a_place(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadConfig) as caught:
        knot.read_config(put(tmp_path, knot_conf=text), _read)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("zone x {", "named.conf:1: the file ends within a statement"),
        ("a }", "named.conf:1: '}' is not expected here"),
        ('\nkey "x', "named.conf:2: a quote or comment is not closed"),
        ("/* x", "named.conf:1: a quote or comment is not closed"),
        ("zone a { type primary; dnssec-policy p; };", "named.conf:1: there is no dnssec-policy 'p'"),
        (
            "dnssec-policy p { keys { csk lifetime 1d algorithm rsasha1; }; };",
            "algorithm 'rsasha1' cannot be used",
        ),
        (
            "acl a { b; }; acl b { a; };\n" + ZONE_A,
            "refer to",
        ),
        ("x " + "{ " * 100, "'{' is not expected here"),
        ('include "named.conf";', "too many included files"),
    ],
)
def test_mistakes_in_named_conf_have_a_place(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadConfig) as caught:
        bind.read_config(put(tmp_path, named_conf=text), _read)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kasp_xml": "<KASP><Policy>"}, "kasp.xml:1: not XML"),
        (
            {"conf_xml": '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'},
            "conf.xml:1: document types and entities",
        ),
        (
            {"conf_xml": '<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>'},
            "document types and entities are refused",
        ),
        ({"conf_xml": "<a>" * 200}, "nested too deeply"),
        ({"conf_xml": "<Configuration/>"}, "it has no repository"),
        ({"kasp_xml": KASP.replace(">8<", ">5<")}, "kasp.xml:4: algorithm '5' cannot be used"),
        ({"kasp_xml": KASP.replace("PT5M", "soon")}, "kasp.xml:7: 'soon' is not a time"),
        ({"zonelist_xml": ZONELIST.replace(">house<", ">x<")}, "zonelist.xml:1: there is no policy 'x'"),
        (
            {"zonelist_xml": ZONELIST.replace("in.example", "example.com")},
            "the zone example.com. is there twice",
        ),
    ],
)
def test_mistakes_in_opendnssecs_files_have_a_place(
    changed: dict[str, str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(BadConfig) as caught:
        ods(tmp_path, **changed)
    assert said in str(caught.value)


def test_secrets_are_not_in_messages(tmp_path: Path) -> None:
    fleet = knot.read_config(put(tmp_path, knot_conf=KNOT), _read)
    assert "aGVsbG8" not in repr(fleet)


#: What gsqlite3 has of three zones: one with a CSK, one with a pair of RSA keys, one without keys.
DATABASE = """
CREATE TABLE domains (id INTEGER PRIMARY KEY, name VARCHAR(255), master VARCHAR(128), type VARCHAR(8));
CREATE TABLE domainmetadata (id INTEGER PRIMARY KEY, domain_id INT, kind VARCHAR(32), content TEXT);
CREATE TABLE cryptokeys (id INTEGER PRIMARY KEY, domain_id INT, flags INT, active BOOL, published BOOL, content TEXT);
CREATE TABLE tsigkeys (id INTEGER PRIMARY KEY, name VARCHAR(255), algorithm VARCHAR(50), secret VARCHAR(255));
INSERT INTO domains VALUES (1, 'example.com', NULL, 'MASTER'), (2, 'rsa.test', NULL, 'NATIVE'), (3, 'plain.test', '', 'NATIVE');
INSERT INTO domainmetadata VALUES (1, 1, 'TSIG-ALLOW-AXFR', 'transfer'), (2, 1, 'ALSO-NOTIFY', '192.0.2.1:5353'),
  (3, 1, 'NSEC3PARAM', '1 0 0 -'), (4, 1, 'LUA-AXFR-SCRIPT', '/x.lua'), (5, 2, 'NSEC3PARAM', '1 1 5 ab'),
  (6, 2, 'NSEC3NARROW', '1');
INSERT INTO cryptokeys VALUES
  (1, 1, 257, 1, 1, 'Private-key-format: v1.2' || char(10) || 'Algorithm: 13 (ECDSAP256SHA256)' || char(10) || 'PrivateKey: c2VjcmV0'),
  (2, 2, 257, 1, 1, 'Private-key-format: v1.2' || char(10) || 'Algorithm: 8 (RSASHA256)' || char(10) || 'Modulus: MODULUS' || char(10) || 'PrivateExponent: c2VjcmV0'),
  (3, 2, 256, 1, 1, 'Private-key-format: v1.2' || char(10) || 'Algorithm: 8 (RSASHA256)' || char(10) || 'Modulus: MODULUS' || char(10) || 'PrivateExponent: c2VjcmV0'),
  (4, 3, 257, 0, 1, 'Private-key-format: v1.2' || char(10) || 'Algorithm: 13 (ECDSAP256SHA256)' || char(10));
INSERT INTO tsigkeys VALUES (1, 'transfer', 'hmac-sha256', 'aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gMTI=');
"""  # noqa: E501


def test_the_database_of_powerdns(tmp_path: Path) -> None:
    """As it is on disk, and no file appears beside it; no private key is read."""
    path = tmp_path / "pdns.sqlite3"
    with closing(sqlite3.connect(path)) as made:
        made.executescript(DATABASE.replace("MODULUS", base64.b64encode(bytes([0, *[255] * 256])).decode()))
    path.chmod(0o400)
    assert pdns_database.is_database(path)
    rows = pdns_database.read(path)
    assert "c2VjcmV0" not in repr(rows)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    fleet = powerdns.read_config([path], _read, {path: rows})
    config = accepted(fleet, tmp_path)
    zone, other = config.zones["example.com."], config.zones["rsa.test."]
    assert (zone.secondaries, zone.allow_transfer.tsig) == (("192-0-2-1",), {"transfer."})
    assert config.policies[zone.policy].csk is not None
    assert config.policies[zone.policy].denial == "nsec3"
    pair = config.policies[other.policy]
    assert (pair.ksk.bits, pair.zsk.bits, pair.csk) == (2048, 2048, None)
    assert [note.what for note in fleet.notes] == [
        "example.com: metadata LUA-AXFR-SCRIPT has no counterpart",
        "plain.test: a zone without active keys is left out: it is not signed",
        "rsa.test: NSEC3 is narrow or has iterations or a salt: pdnsutil set-nsec3 first",
    ]


def test_another_database_is_no_database_of_powerdns(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite3"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE x (y INT)")
        made.commit()
    with pytest.raises(StoreError, match="no such table: domains"):
        pdns_database.read(path)
    assert not pdns_database.is_database(tmp_path / "none")
