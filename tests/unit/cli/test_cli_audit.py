"""`dnssecd audit`: its text at 80 columns, its exit statuses, its JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dnssecd.cli.app import build
from dnssecd.control import client
from dnssecd.control.messages.audits import AuditReport, Requirement, RunAudit

GOLDEN = """\
NOT MET    keys-sealed
           No copy of a disk gives a private key away: keys are in tokens, or
           encrypted with the passphrase elsewhere.
           source: ISO/IEC 19790 §7.9
           seen:   key store local: the passphrase is beside the encrypted keys
           change: write passphrase_file in the key store, as a systemd
                   credential (docs/operations.md)

NOT KNOWN  keys-log
           Each change of a key is in an audit log.
           source: RFC 6841 §4.4
           seen:   the key service does not show its audit log
           change: keep the file, and see dnssecd key audit

MET        keys-trash
           A removed key can be restored.
           source: RFC 6841 §4.5
           seen:   policy default: destroy_after = "30d"; policy \\x1b[31mother:
                   destroy_after = "90d"

profile keys, 1 zone: 1 met, 1 not met, 1 not known
"""


def row(name: str, verdict: Any, text: str, source: str, seen: str, change: str) -> Requirement:
    return Requirement(id=name, verdict=verdict, text=text, source=source, seen=seen, change=change)


ROWS = [
    row(
        "keys-sealed",
        "not met",
        "No copy of a disk gives a private key away: keys are in tokens, or encrypted with the passphrase elsewhere.",
        "ISO/IEC 19790 §7.9",
        "key store local: the passphrase is beside the encrypted keys",
        "write passphrase_file in the key store, as a systemd credential (docs/operations.md)",
    ),
    row(
        "keys-log",
        "not known",
        "Each change of a key is in an audit log.",
        "RFC 6841 §4.4",
        "the key service does not show its audit log",
        "keep the file, and see dnssecd key audit",
    ),
    row(
        "keys-trash",
        "met",
        "A removed key can be restored.",
        "RFC 6841 §4.5",
        'policy default: destroy_after = "30d"; policy \x1b[31mother: destroy_after = "90d"',
        'write destroy_after = "30d"',
    ),
]


def give(
    monkeypatch: pytest.MonkeyPatch, rows: list[Requirement], *words: str
) -> tuple[Result, list[RunAudit]]:
    asked: list[RunAudit] = []

    def ask(socket: str, request: RunAudit) -> AuditReport:
        asked.append(request)
        ok = all(one.verdict == "met" for one in rows)
        return AuditReport(profile=request.profile, zones=["example.com."], ok=ok, requirements=rows)

    monkeypatch.setattr(client, "ask", ask)
    return CliRunner().invoke(build(), ["--socket", "/nowhere", "audit", *words]), asked


def test_golden_text(monkeypatch: pytest.MonkeyPatch) -> None:
    done, asked = give(monkeypatch, ROWS)
    assert done.output == GOLDEN
    assert max(map(len, done.output.splitlines())) <= 80
    assert (done.exit_code, asked) == (1, [RunAudit()])


def test_exit_0_if_all_are_met(monkeypatch: pytest.MonkeyPatch) -> None:
    done, asked = give(monkeypatch, ROWS[2:], "Example.COM", "--profile", "tld")
    assert done.exit_code == 0
    assert "change:" not in done.output
    assert asked == [RunAudit(profile="tld", zone="example.com.")]


def test_not_known_is_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    assert give(monkeypatch, ROWS[1:])[0].exit_code == 1


def test_json(monkeypatch: pytest.MonkeyPatch) -> None:
    done, _ = give(monkeypatch, ROWS, "--json")
    found = json.loads(done.output)
    assert (found["profile"], found["ok"], done.exit_code) == ("keys", False, 1)
    assert [one["verdict"] for one in found["requirements"]] == ["not met", "not known", "met"]
    assert set(found["requirements"][0]) == {"id", "text", "source", "verdict", "seen", "change"}


def test_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    done, asked = give(monkeypatch, ROWS, "--profile", "sp800-81r2")
    assert (done.exit_code, asked) == (2, [])
    assert "give one of: keys, sp800-81r3, rfc9276, tld" in done.output


def test_no_daemon() -> None:
    done = CliRunner().invoke(build(), ["--socket", "/nowhere", "audit"])
    assert done.exit_code == 3
