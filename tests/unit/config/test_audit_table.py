"""The table of requirements: each can be met and not met, by configuration and by what is seen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from dnssecd.config.audit.table import PROFILES, judge_profile
from dnssecd.config.audit.terms import (
    Finding,
    Firing,
    Seen,
    UsedKey,
    Verdict,
    all_of,
    met,
    not_known,
    not_met,
)
from dnssecd.config.load import parse
from dnssecd.config.model import Config
from dnssecd.control.messages.audits import Profile
from dnssecd.keyservice_protocol import AuditReply, StatusReply, StoreStatus, TokenStatus
from dnssecd.replacing import replace

DAY = 86_400
NOW = 1_795_000_000.0  # November 2026
AFTER_2030 = 1_925_000_000.0
ZONE = "example.com."

SERVERS = """
[tsig."t."]
algorithm = "{mac}"
secret = "c2VjcmV0IHRoYXQgbm9ib2R5IGtub3dzIGluIHNwaXRl"
[secondary.ns1]
address = "192.0.2.1:53"
tsig = "t."
[secondary.ns2]
address = "192.0.2.2:53"
{second}
"""
BASE = """
[server]
[signer]
{signer}
[roles]
{roles}
[keystore.local]
{local}
[keystore.hsm]
type = "pkcs11"
module = "/usr/lib/module.so"
token_label = "dns"
pin_file = "/pin"
{hsm}
[keystore.vault]
type = "offline"
{vault}
{servers}
[policy.default]
{policy}
[zone."example.com."]
file = "/dev/null"
{zone}
{alerts}
"""
APART = {
    "signer": 'socket = "/run/s/s"\nuser = "997"',
    "roles": 'operator = "dns"\nkey_officer = "officers"',
}
IN_HSM = 'keystore = "hsm"'
SEALED = 'passphrase_file = "/run/credentials/p"'


def configuration(**parts: str) -> Config:
    whole = dict.fromkeys(
        ("signer", "roles", "local", "hsm", "vault", "servers", "policy", "zone", "alerts"), ""
    )
    whole["policy"] = 'keystore = "local"'
    return parse(BASE.format(**(whole | parts)), Path("/etc/dnssecd/config.toml"))


def seen(**more: Any) -> Seen:
    token = TokenStatus("hsm", "ok")
    status = StatusReply(
        0,
        pid=7,
        uptime_s=1.0,
        stores=(StoreStatus("hsm", "pkcs11", "available", tokens=(token,)),),
        warnings=(),
        counters={},
        audit_head="12:" + "ab" * 32,
    )
    quiet = Seen(NOW, 998, frozenset({997}), status, AuditReply(0, True, "", 12, ()), (), ())
    return replace(quiet, **more)


def event(name: str, subject: str = "x", zone: str = "") -> dict[str, Any]:
    return {"firing": (Firing(name, zone, subject, "the cause"),)}


def key(age_days: float | None, keystore: str = "local") -> dict[str, Any]:
    at = None if age_days is None else int(NOW - age_days * DAY)
    return {"keys": (UsedKey(ZONE, "zsk", 4711, keystore, at),)}


def bad_token() -> dict[str, Any]:
    status = seen().status
    assert status is not None
    down = StoreStatus("hsm", "pkcs11", "unavailable", tokens=(TokenStatus("hsm", "operator"),))
    return {"status": StatusReply(0, 7, 1.0, (down,), (), {}, "12:ab")}


def policy(text: str, **more: str) -> dict[str, str]:
    return {"policy": f'keystore = "local"\n{text}', **more}


def servers(mac: str = "hmac-sha256", second: str = 'tsig = "t."', zone: str = "") -> dict[str, str]:
    named = f'secondaries = ["ns1", "ns2"]\n{zone}'
    return {"servers": SERVERS.format(mac=mac, second=second), "zone": named}


MAIL = '[alerts.mail]\nfrom = "a@example.com"\nto = ["b@example.com"]\n'
HOOK = '[alerts.webhook]\nurl = "https://example.com/"\n'
GRANT = 'allow_update = [{ tsig = "t.", names = ["_acme-challenge.example.com."], types = ["TXT"] }]'
DECLARED = {"policy": IN_HSM, "hsm": 'validated = "FIPS 140-3 certificate 4711"'}

#: Requirement → (configuration, observations) with which it is met.
MET: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "keys-module": (DECLARED, {}),
    "keys-sealed": ({"local": SEALED}, {}),
    "keys-modes": ({}, {}),
    "keys-apart": (APART, {}),
    "keys-role-stores": ({"policy": 'keystore = "local"\nksk = { keystore = "hsm" }'}, {}),
    "keys-offline-ksk": (policy('ksk = { keystore = "vault" }'), {}),
    "keys-backup-required": (policy("require_backup = true"), {}),
    "keys-backup-age": ({}, key(90)),
    "keys-present": ({}, {}),
    "keys-standby": (policy("standby_ksk = true\nstandby_zsk = true"), {}),
    "keys-trash": (policy('destroy_after = "7d"'), {}),
    "keys-two-person": (policy("two_person = true") | APART, {}),
    "keys-ceiling": (policy('validity_max = "60d"') | APART, {}),
    "keys-roles": (APART, {}),
    "keys-log": ({}, {}),
    "keys-log-head": ({}, {"log_fault": "it went back", "log_fault_at": int(NOW - 366 * DAY)}),
    "keys-tokens": ({"policy": IN_HSM}, {}),
    "r3-algorithm": (policy('csk = { algorithm = "rsasha256" }'), {}),
    "r3-key-lifetime": (policy('ksk = { lifetime = "3y" }'), {}),
    "r3-validity": (policy('preset = "sp800-81r3"'), {}),
    "r3-denial": (policy('denial = "nsec"'), {}),
    "r3-zonemd": (policy("zonemd = true"), {}),
    "r3-module": (DECLARED, {}),
    "r3-keys-apart": (APART, {}),
    "r3-hidden": (servers(), {}),
    "r3-transfer-tsig": (servers(), {}),
    "r3-transfer-encrypted": ({}, {}),
    "r3-updates": (servers(zone=GRANT), {}),
    "r3-monitoring": ({"alerts": MAIL}, {}),
    "r3-log": ({}, {}),
    "9276-nsec": (policy('preset = "rfc9276"'), {}),
    "9276-iterations": ({}, {}),
    "9276-salt": ({}, {}),
    "9276-opt-out": ({}, {}),
    "tld-algorithm": (policy('csk = { algorithm = "ed25519" }'), {}),
    "tld-split": ({}, {}),
    "tld-module": (DECLARED, {}),
    "tld-backup": (policy('preset = "tld"'), {}),
    "tld-two-person": (policy("two_person = true") | APART, {}),
    "tld-manual-ksk": (policy('preset = "tld"'), {}),
    "tld-standby-zsk": (policy('preset = "tld"'), {}),
    "tld-validity": (policy('preset = "tld"'), {}),
    "tld-zonemd": (policy('preset = "tld"'), {}),
    "tld-servers": (servers(), {}),
    "tld-transfer-tsig": (servers(), {}),
    "tld-guard": ({}, {}),
    "tld-alerts": ({"alerts": MAIL + HOOK}, {}),
}
UNDECLARED = {"policy": IN_HSM}
#: Requirement → (configuration, observations) with which it is not met.
NOT_MET: dict[str, list[tuple[dict[str, str], dict[str, Any]]]] = {
    "keys-module": [({}, {})],
    "keys-sealed": [
        ({}, {}),
        ({"local": SEALED}, event("key-extractable")),
        ({"policy": IN_HSM, "hsm": 'sharing = "own"'}, {}),
    ],
    "keys-modes": [({}, event("keystore-mode-fixed"))],
    "keys-apart": [({}, {}), (APART, {"users": frozenset({998})})],
    "keys-role-stores": [({}, {}), (policy("csk = {}"), {})],
    "keys-offline-ksk": [({}, {}), (policy("csk = {}"), {})],
    "keys-backup-required": [({}, {})],
    "keys-backup-age": [({}, key(None)), ({}, key(91))],
    "keys-present": [({}, event("key-missing")), ({}, event("key-not-in-token", zone=ZONE))],
    "keys-standby": [(policy("standby_ksk = true"), {}), (policy("standby_zsk = true"), {})],
    "keys-trash": [(policy('destroy_after = "6d"'), {})],
    "keys-two-person": [({}, {})],
    "keys-ceiling": [(policy('validity_max = "61d"') | APART, {}), ({}, {})],
    "keys-roles": [({}, {}), (APART | {"roles": 'operator = "dns"\nkey_officer = "dns"'}, {})],
    "keys-log": [
        ({}, {"log": AuditReply(0, False, "entry 3", 12, ())}),
        ({}, event("audit-log-failed", "log")),
    ],
    "keys-log-head": [({}, {"log_fault": "it went back", "log_fault_at": int(NOW - 364 * DAY)})],
    "keys-tokens": [({"policy": IN_HSM}, bad_token()), ({"policy": IN_HSM}, event("token-unwell"))],
    "r3-algorithm": [(policy('csk = { algorithm = "rsasha256" }'), {"now": AFTER_2030})],
    "r3-key-lifetime": [({}, {}), (policy('csk = { lifetime = "4y" }'), {})],
    "r3-validity": [({}, {}), (policy('signature_validity = "4d"'), {})],
    "r3-denial": [],
    "r3-zonemd": [({}, {})],
    "r3-module": [({}, {})],
    "r3-keys-apart": [({}, {})],
    "r3-hidden": [({}, {}), (servers(zone='allow_query = ["0.0.0.0/0"]'), {})],
    "r3-transfer-tsig": [
        (servers(second=""), {}),
        (servers(mac="hmac-sha1"), {}),
        (servers(zone='allow_transfer = ["192.0.2.0/24"]'), {}),
    ],
    "r3-transfer-encrypted": [],
    "r3-updates": [(servers(mac="hmac-sha1", zone=GRANT), {})],
    "r3-monitoring": [({}, {})],
    "r3-log": [({}, {"log": AuditReply(0, False, "entry 3", 12, ())})],
    "9276-nsec": [],
    "9276-iterations": [],
    "9276-salt": [],
    "9276-opt-out": [],
    "tld-algorithm": [(policy('csk = { algorithm = "ed448" }'), {})],
    "tld-split": [(policy("csk = {}"), {})],
    "tld-module": [({}, {})],
    "tld-backup": [({}, {})],
    "tld-two-person": [({}, {})],
    "tld-manual-ksk": [(policy('manual = ["ksk"]'), {})],
    "tld-standby-zsk": [({}, {}), (policy("csk = {}"), {})],
    "tld-validity": [(policy('signature_validity = "13d"'), {})],
    "tld-zonemd": [({}, {})],
    "tld-servers": [({}, {})],
    "tld-transfer-tsig": [(servers(second=""), {})],
    "tld-guard": [({"zone": 'max_change = "31%"'}, {})],
    "tld-alerts": [({"alerts": MAIL}, {}), ({}, {})],
}
#: Requirement → (configuration, observations) with which dnssecd cannot know.
NOT_KNOWN: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    ("keys-module", UNDECLARED, {}),
    ("keys-sealed", {"local": SEALED}, {"status": None}),
    ("keys-modes", {}, {"status": None}),
    ("keys-apart", APART, {"status": None}),
    ("keys-apart", APART, {"users": None}),
    ("keys-backup-age", {}, {}),
    ("keys-backup-age", {}, key(1) | {"unread": (ZONE,)}),
    ("keys-present", {}, {"status": None}),
    ("keys-log", {}, {"log": None}),
    ("keys-log-head", {}, {"status": None}),
    ("keys-tokens", UNDECLARED, {"status": None}),
    ("r3-denial", {}, {}),
    ("r3-transfer-encrypted", servers(), {}),
    ("9276-nsec", {}, {}),
    ("9276-opt-out", policy("nsec3_opt_out = true"), {}),
]
#: What dnssecd does in any case, or what only the operator can know.
NEVER_NOT_MET = {
    "r3-denial",
    "r3-transfer-encrypted",
    "9276-nsec",
    "9276-iterations",
    "9276-salt",
    "9276-opt-out",
}
IDS = [row.id for rows in PROFILES.values() for row in rows]


def judged(name: str, config: dict[str, str], world: dict[str, Any]) -> Finding:
    profile = next(profile for profile, rows in PROFILES.items() if name in [row.id for row in rows])
    findings = judge_profile(profile, configuration(**config), (ZONE,), seen(**world))
    return next(finding for finding in findings if finding.requirement.id == name)


def test_the_sealing_key_of_a_node_with_tokens_of_its_own_is_judged_like_keys_in_files() -> None:
    own = 'sharing = "own"\npassphrase_file = "/run/credentials/x"'
    assert judged("keys-sealed", {"policy": IN_HSM, "hsm": own}, {}).judgement.verdict == "met"


def test_the_cases_cover_the_table() -> None:
    assert len(IDS) == len(set(IDS))
    assert list(MET) == list(NOT_MET) == IDS
    assert {name for name, cases in NOT_MET.items() if not cases} == NEVER_NOT_MET
    assert get_args(Profile) == tuple(PROFILES)


@pytest.mark.parametrize("name", IDS)
def test_each_requirement_is_met(name: str) -> None:
    finding = judged(name, *MET[name])
    assert finding.judgement.verdict == "met", finding.judgement.seen
    assert finding.judgement.seen


@pytest.mark.parametrize(
    ("name", "config", "world"), [(name, *case) for name, cases in NOT_MET.items() for case in cases]
)
def test_each_requirement_is_not_met(name: str, config: dict[str, str], world: dict[str, Any]) -> None:
    finding = judged(name, config, world)
    assert finding.judgement.verdict == "not met", finding.judgement.seen
    assert finding.judgement.seen
    assert finding.requirement.change


@pytest.mark.parametrize(("name", "config", "world"), NOT_KNOWN)
def test_what_cannot_be_seen_is_not_known(name: str, config: dict[str, str], world: dict[str, Any]) -> None:
    finding = judged(name, config, world)
    assert finding.judgement.verdict == "not known", finding.judgement.seen


def test_nothing_is_met_by_an_unsigned_zone() -> None:
    """A requirement on keys or signatures is not met because there are none."""
    config = configuration(**policy("signed = false"))
    findings = [finding for name in PROFILES for finding in judge_profile(name, config, (ZONE,), seen())]
    by_id = {finding.requirement.id: finding.judgement.verdict for finding in findings}
    for name in ("keys-module", "keys-backup-required", "r3-algorithm", "9276-iterations", "tld-split"):
        assert by_id[name] != "met", name


@pytest.mark.parametrize("name", ["keys-modes", "keys-present", "keys-tokens"])
def test_events_of_other_zones_do_not_count(name: str) -> None:
    config, _ = MET[name]
    names = {"keys-modes": "keystore-mode-fixed", "keys-present": "key-missing", "keys-tokens": "token-down"}
    assert judged(name, config, event(names[name], zone="other.example.")).judgement.verdict == "met"
    assert judged(name, config, event(names[name], zone=ZONE)).judgement.verdict == "not met"


def test_an_offline_ksk_needs_no_standby() -> None:
    """Its successor comes at a ceremony; the ZSK needs one."""
    offline = 'ksk = { keystore = "vault" }\nstandby_zsk = '
    assert judged("keys-standby", policy(f"{offline}true"), {}).judgement == met(
        "policy default: standby_zsk = true"
    )
    assert judged("keys-standby", policy(f"{offline}false"), {}).judgement.verdict == "not met"


def test_a_broken_log_is_one_fault() -> None:
    """The event of a log that went back concerns the head, not the chain."""
    assert judged("keys-log", {}, event("audit-log-failed", "head")).judgement.verdict == "met"


def test_presets_meet_their_profiles() -> None:
    """What a policy can do for a profile, its preset does."""
    by_policy = {
        "sp800-81r3": {"r3-key-lifetime", "r3-validity", "r3-denial", "r3-zonemd", "r3-algorithm"},
        "rfc9276": {"9276-nsec", "9276-iterations", "9276-salt", "9276-opt-out"},
        "tld": {"tld-backup", "tld-manual-ksk", "tld-standby-zsk", "tld-validity", "tld-zonemd", "tld-split"},
    }
    for name, wanted in by_policy.items():
        config = configuration(**policy(f'preset = "{name}"'))
        findings = judge_profile(name, config, (ZONE,), seen())
        assert {one.requirement.id for one in findings if one.judgement.verdict == "met"} >= wanted, name


def test_the_worst_part_decides() -> None:
    parts = [met("a"), not_known("b"), not_met("c"), not_met("d")]
    verdicts: list[Verdict] = [all_of(parts[:count], "").verdict for count in (1, 2, 3)]
    assert verdicts == ["met", "not known", "not met"]
    assert all_of(parts, "").seen == "c; d"
    assert all_of([not_met(str(number)) for number in range(9)], "").seen == "0; 1; 2; 3; 4; and 4 more"
    assert all_of([], "nothing") == met("nothing")


def test_texts_are_sentences_and_sources_are_named() -> None:
    for rows in PROFILES.values():
        for row in rows:
            assert re.fullmatch(r"[A-Z].*\.", row.text), row.id
            assert re.match(r"RFC \d+|ISO/IEC 19790|FIPS 140-3|SP 800-81r3|dnssecd", row.source), row.id
            assert row.change
            assert row.change[-1] not in ".!"
