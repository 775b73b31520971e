"""Commands about keys over time: what they ask the daemon, what they print, how they end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dnssecd.cli.app import build
from dnssecd.control import client

Z = "example.com."
EVENT = {
    "at": 0,
    "zone": Z,
    "role": "zsk",
    "key_tag": 7,
    "event": "generate",
    "detail": "its lifetime ends",
}
WAIT = {
    "step": "zsk 7 DNSKEY settle",
    "gate": "time",
    "rule": "dnskey-settles",
    "until": 86_400,
    "missing": [],
    "next_look": None,
}
ANSWERS: dict[str, Any] = {
    "key.rollover": {"zone": Z, "message": f"{Z}: asked for", "waiting": [WAIT], "summary": ""},
    "key.retire": {"zone": Z, "message": "retires", "waiting": [], "summary": ""},
    "key.revoke": {"zone": Z, "message": "is revoked", "waiting": [], "summary": ""},
    "key.approve": {"zone": Z, "message": "approved: zsk:x", "waiting": [], "summary": ""},
    "key.compromised": {
        "zone": Z,
        "key_tag": 7,
        "safe_at": 0,
        "text": "Recovery plan\n",
        "costs": [],
        "steps": [],
    },
    "explain": {"zone": Z, "text": "all is \x1b[31mwell", "waiting": [], "next_wake": None},
    "schedule": {
        "wakes": [{"at": 0, "what": "parent", "subject": Z}],
        "load": [
            {
                "keystore": "local",
                "days": [{"day": 0, "signatures": 12}],
                "earliest_expiration": 86_400,
                "runway_seconds": 86_400,
            }
        ],
    },
    "plan": {
        "zones": [
            {
                "zone": Z,
                "notes": ["denial: nsec3 becomes nsec"],
                "events": [EVENT],
                "days": 120,
                "summary": "Done about then.",
            }
        ],
        "added": [],
        "removed": ["gone.example."],
    },
    "simulate": {
        "zone": Z,
        "start": 0,
        "stop": 1,
        "notes": ["the zone is frozen"],
        "events": [EVENT, EVENT | {"key_tag": 4711, "stand_in": 2, "event": "dnskey omnipresent"}],
        "svg": "<svg/>",
    },
    "clock.confirm": {"changed": True, "doubt": "it jumped", "message": "signing goes on"},
    "ds.check": {
        "zone": Z,
        "ok": False,
        "wanted": [7],
        "servers": [
            {
                "server": "192.0.2.1:53",
                "ok": False,
                "ds": [7, 9],
                "foreign": [9],
                "ttl": 60,
                "at": 0,
                "failure": "",
                "next_look": None,
            }
        ],
    },
    "ds.confirm": {"zone": Z, "key_tag": 7, "present": True, "message": "confirmed"},
}

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def asked() -> list[tuple[str, dict[str, Any]]]:
    return []


@pytest.fixture
def run(
    asked: list[tuple[str, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    def call(path: str, command: str, args: dict[str, Any] | None = None, **_: object) -> Any:
        asked.append((command, args or {}))
        return json.loads(json.dumps(ANSWERS[command]))

    monkeypatch.setattr(client, "call", call)

    def run(*words: str) -> tuple[int, str]:
        try:
            code = build()([*words, "--socket", "/s"], standalone_mode=False) or 0
        except Exception as error:
            code = getattr(error, "exit_code", None)
            if code is None:
                raise
        captured = capsys.readouterr()
        return int(code), captured.out + captured.err

    return run


@pytest.mark.parametrize(
    ("words", "args", "shown"),
    [
        (
            "key rollover example.com --role zsk",
            {"zone": Z, "role": "zsk"},
            "held by time (dnskey-settles), until 1970-01-02 00:00:00Z\nfor the reasons and the servers",
        ),
        ("key retire example.com --key-tag 7", {"zone": Z, "key_tag": 7}, "retires"),
        ("key revoke example.com --key-tag 7", {"zone": Z, "key_tag": 7}, "is revoked"),
        ("key approve example.com", {"zone": Z, "step": None}, "approved"),
        ("key approve example.com --step zsk:x", {"zone": Z, "step": "zsk:x"}, "approved"),
        ("key compromised example.com --key-tag 7", {"zone": Z, "key_tag": 7}, "Recovery plan"),
        ("explain example.com", {"zone": Z, "rules": False}, "all is \\x1b[31mwell"),
        ("explain example.com --rules", {"zone": Z, "rules": True}, "all is \\x1b[31mwell"),
        ("schedule", {"load": False}, "check the parent"),
        ("schedule --load", {"load": True}, "12"),
        ("plan", {}, "nsec3 becomes nsec"),
        ("clock confirm", {}, "signing goes on"),
        ("ds confirm example.com --key-tag 7", {"zone": Z, "key_tag": 7}, "confirmed"),
    ],
)
def test_commands(
    run: Run, asked: list[tuple[str, dict[str, Any]]], words: str, args: dict[str, Any], shown: str
) -> None:
    code, out = run(*words.split())
    assert code == 0, out
    assert asked[-1][1] == args
    assert shown in out
    code, out = run(*words.split(), "--json")
    assert code == 0
    assert json.loads(out) == ANSWERS[asked[-1][0]]


def test_ds_check_fails_if_a_server_has_another_ds_set(run: Run) -> None:
    code, out = run("ds", "check", "example.com")
    assert code == 1
    assert "192.0.2.1:53" in out
    assert "not correct" in out


def test_simulate_draws(run: Run, asked: list[tuple[str, dict[str, Any]]], tmp_path: Path) -> None:
    picture = tmp_path / "keys.svg"
    words = f"simulate example.com --days 30 --ds-delay never --outage parent:1d:2d --svg {picture}"
    code, out = run(*words.split())
    assert code == 0
    assert "its lifetime ends" in out
    assert picture.read_text() == "<svg/>"
    assert asked[-1][1] == {
        "zone": Z,
        "days": 30,
        "ds_delay": None,
        "ds_never": True,
        "outages": ["parent:1d:2d"],
        "svg": True,
    }
    assert out.startswith("note: the zone is frozen\n")
    assert re.search("zsk new-2 +DNSKEY in all caches +its lifetime ends\n", out)
    assert "4711" not in out, "nobody is to look for a tag that is made up"
    assert "not known yet" in out
    code, out = run(*words.split(), "--json")
    assert set(json.loads(out)["events"][0]) == {"at", "zone", "role", "key_tag", "event", "detail"}
    assert json.loads(out)["events"][1]["key_tag"] == 4711


def test_a_picture_that_cannot_be_written_is_reported(run: Run, tmp_path: Path) -> None:
    code, out = run(*f"simulate example.com --days 30 --svg {tmp_path}".split())
    assert code == 1
    assert f"{tmp_path} cannot be written" in out
    assert "to do: " in out
    code, out = run(*f"simulate example.com --days 30 --svg {tmp_path} --json".split())
    assert code == 1
    assert set(json.loads(out)["error"]) == {"what", "remedy"}


def test_a_plan_without_steps_says_nothing_of_steps(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = {"zone": Z, "notes": ["denial: nsec3 becomes nsec"], "events": [], "days": 120}
    monkeypatch.setitem(ANSWERS, "plan", {"zones": [zone], "added": [], "removed": []})
    assert run("plan") == (0, "example.com.\n  denial: nsec3 becomes nsec\n")
    monkeypatch.setitem(ANSWERS, "plan", {"zones": [], "added": [], "removed": []})
    assert run("plan") == (0, "keys and signatures do not change\n")


COMMANDS = (
    "key rollover example.com --role zsk",
    "key retire example.com --key-tag 7",
    "key revoke example.com --key-tag 7",
    "key compromised example.com --key-tag 7",
    "key approve example.com",
    "explain example.com",
    "schedule --load",
    "plan",
    "simulate example.com --days 3",
)


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (client.Failed("no key with tag 7", "dnssecd key list example.com."), 1),
        (client.Failed('"foo" is no role', "give ksk, zsk or csk", 2), 2),
        (client.Unreachable("no daemon answers at /s", "start it"), 3),
    ],
)
def test_how_commands_fail(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    error: client.Failed | client.Unreachable,
    code: int,
) -> None:
    """What happened and what to do, on standard error or as JSON; the exit code tells whose fault it is."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(client, "call", fail)
    assert run(*words.split()) == (code, f"dnssecd: {error.what}\n  to do: {error.remedy}\n")
    got, out = run(*words.split(), "--json")
    assert got == code
    assert json.loads(out) == {"error": {"what": error.what, "remedy": error.remedy}}


@pytest.mark.parametrize(
    "words",
    [
        "key rollover example.com",
        "key retire example.com",
        "key retire example.com --key-tag 70000",
        "simulate example.com",
        "simulate example.com --days 0",
        "simulate example.com --days 3 --ds-delay soon",
    ],
)
def test_usage_errors(run: Run, asked: list[tuple[str, dict[str, Any]]], words: str) -> None:
    code, _ = run(*words.split())
    assert code == 2
    assert not asked
