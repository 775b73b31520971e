"""The commands against a control socket with canned answers: what they ask, print, and exit with."""

import asyncio
import json
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from dnssecd.cli.app import build
from dnssecd.control import messages
from dnssecd.control.command import Call, Command, CommandTable, Refused
from dnssecd.control.messages.base import Request, answer_type, read_request
from dnssecd.control.messages.catalogue import all_requests
from dnssecd.control.messages.zones import ZoneExported
from dnssecd.control.server import ControlServer

ALERT = {
    "name": "input-error", "zone": "example.com.", "subject": None, "severity": "error",
    "cause": "line 3: no such type \x1b[31m", "effect": "the last good version is served", "remedy": "correct it",
    "firing": True, "first_seen": 1000.0, "last_seen": 1001.0, "count": 2, "acked_by": None,
}  # fmt: skip
ZONE = {
    "zone": "example.com.", "state": "served", "serial": 7, "input_serial": 5, "runway_seconds": 2_000_000,
    "secondaries": [{"name": "ns1", "serial": 7, "seen_at": 1000.0}, {"name": "ns2", "serial": None, "seen_at": None}],
    "blockers": ["waits for ns2"], "alerts": [ALERT], "policy": "default", "source": "file", "warnings": [],
    "input_error": None, "primaries": [], "records": 12, "frozen": False,
}  # fmt: skip
KEY = {
    "zone": "example.com.", "role": "ksk", "algorithm": 13, "tag": 4711, "public_key": "257 3 13 AAAA",
    "goal": "present", "state": "active", "dnskey": "omnipresent",
    "zrrsig": None, "krrsig": "omnipresent", "ds": "rumoured",
    "keystore": "local", "label": "k1",
}  # fmt: skip
EXPORT = "example.com. 3600 IN SOA . . 7 1 1 1 1\n"


class Daemon:
    """Canned answers on a real control socket, in a thread with its own event loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.instead: dict[str, object] = {}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    def __enter__(self) -> "Daemon":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        answers: dict[str, object] = {
            "status": {
                "zones": [ZONE],
                "alerts": [ALERT],
                "signer": {"mode": "child", "state": "ok"},
                "version": "1",
                "pid": 1,
                "started_at": 1000.0,
                "clock_suspect": False,
                "clock": "",
                "delivery": [],
            },
            "zone.list": {"zones": [{**ZONE, "records": 12}]},
            "zone.show": {
                **ZONE,
                "keys": [KEY],
                "file": "/z",
                "last_published": 0.0,
                "denial": "nsec",
                "signatures": 9,
                "earliest_expiration": None,
                "next_wake": None,
                "stripped": 0,
            },
            "zone.reload": {
                "zone": "example.com.",
                "changed": True,
                "serial": 8,
                "signatures": 9,
                "message": "serial 8 is published",
            },
            "zone.history": {
                "entries": [{"at": 0, "who": "root", "what": "reload", "serial": 7, "detail": ""}]
            },
            "zone.wait": {"zone": "example.com.", "serial": 7, "secondaries": []},
            "key.list": {"keys": [KEY]},
            "explain": {"zone": "example.com.", "text": "all is well", "waiting": [], "next_wake": None},
            "ds.show": {
                "zone": "example.com.",
                "text": "example.com. IN DS 4711 13 2 AB",
                "ds": [],
                "dnskey": [],
                "cds": [],
                "at_parent": None,
            },
            "alerts.list": {"alerts": [ALERT]},
            "keystore.bench": {"lines": [], "sustains": []},
            "keystore.test": {"ok": True, "results": []},
            "alerts.ack": {"acknowledged": 0},
            "config.reload": {
                "changed": True,
                "changes": ["+ zone example.net."],
                "warnings": [],
                "added": [],
                "removed": [],
                "zones_changed": [],
            },
        }
        requests = all_requests()
        commands: list[Command[Any]] = [
            Command(requests[name], self._canned(answer_type(requests[name]), answer))
            for name, answer in answers.items()
        ]
        commands.append(Command(requests["zone.export"], self._export))
        commands.append(Command(requests["zone.freeze"], self._refuse))
        server = ControlServer(self.path, CommandTable(commands))
        await server.start()
        self._ready.set()
        await self._stop.wait()
        await server.stop()

    def _canned(self, kind: type[Any], answer: object) -> Callable[[Call[Any]], Any]:
        async def handler(call: Call[Any]) -> object:
            self.asked.append((call.command, call.args))
            await call.progress(1, 2, "half")
            return msgspec.convert(self.instead.get(call.command, answer), kind)

        return handler

    async def _export(self, call: Call[Any]) -> object:
        await call.chunk(EXPORT)
        return ZoneExported(zone="example.com.", serial=7, records=1)

    async def _refuse(self, call: Call[Any]) -> object:
        raise Refused("there is no zone x.", 'add [zone."x."]', detail=["first fault"])


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("d") / "c.sock") as daemon:
        yield daemon


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    monkeypatch.delenv("DNSSECD_CONFIG", raising=False)
    daemon.asked.clear()
    daemon.instead.clear()

    def run(*words: str, socket: bool = True) -> Result:
        arguments = [*words, "--socket", str(daemon.path)] if socket else list(words)
        try:
            code = build()(arguments, standalone_mode=False) or 0
        except SystemExit as exit:
            code = exit.code
        except Exception as error:
            if not hasattr(error, "exit_code"):
                raise
            code = error.exit_code
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return run


def test_status(run: Callable[..., Result], daemon: Daemon) -> None:
    result = run("status", "EXAMPLE.com")
    assert result.code == 0
    assert daemon.asked == [("status", {"zone": "example.com."})]
    assert "1 of 2 current" in result.out
    assert "23d 3h" in result.out
    assert "waits for ns2" in result.out
    assert "child process of the daemon" in result.out
    assert result.out.count("ERROR input-error") == 1, (
        "an alert of a zone and of the daemon's list is shown once"
    )
    assert "\x1b" not in result.out, "foreign text does not drive the terminal"
    answer = run("status", "--json").json
    assert {"zone", "serial", "input_serial", "runway_seconds", "secondaries", "blockers", "alerts"} <= set(
        answer["zones"][0]
    )


@pytest.mark.parametrize(
    ("words", "asked"),
    [(["status"], {"notable": True}), (["check"], {"notable": True}), (["status", "--json"], {})],
)
def test_text_needs_the_zones_with_a_note_only(
    run: Callable[..., Result], daemon: Daemon, words: list[str], asked: dict[str, object]
) -> None:
    assert run(*words).code == 0
    assert daemon.asked == [("status", asked)]


@pytest.mark.parametrize("words", [["status"], ["check"]])
def test_a_daemon_of_an_earlier_version_is_asked_for_all_zones(
    run: Callable[..., Result], daemon: Daemon, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Earlier(Request[messages.status.Status], frozen=True, kw_only=True):
        command: ClassVar[str] = "status"
        zone: str | None = None

    def read(kind: type[Any], args: dict[str, object]) -> Any:
        read_request(Earlier if kind is messages.status.ShowStatus else kind, args)
        return read_request(kind, args)

    monkeypatch.setattr("dnssecd.control.command.read_request", read)
    assert run(*words).code == 0
    assert daemon.asked == [("status", {})]


@pytest.mark.parametrize(
    ("words", "asked", "shown"),
    [
        ("zone list", ("zone.list", {}), "example.com.  served  -"),
        ("zone show example.com", ("zone.show", {"zone": "example.com."}), "4711"),
        (
            "zone reload example.com. --accept-change",
            (
                "zone.reload",
                {
                    "zone": "example.com.",
                    "accept_change": True,
                    "accept_older": False,
                    "first_publication": False,
                },
            ),
            "serial 8 is published",
        ),
        ("zone history example.com", ("zone.history", {"zone": "example.com.", "limit": 50}), "root"),
        (
            "zone wait example.com --serial 7 --all-secondaries --timeout 30s",
            (
                "zone.wait",
                {
                    "zone": "example.com.",
                    "serial": 7,
                    "current": False,
                    "all_secondaries": True,
                    "timeout": 30.0,
                },
            ),
            "serial 7 is served",
        ),
        ("key list", ("key.list", {"zone": None}), "active"),
        ("key list --verbose", ("key.list", {"zone": None}), "omnipresent"),
        ("explain example.com", ("explain", {"zone": "example.com.", "rules": False}), "all is well"),
        ("ds show example.com", ("ds.show", {"zone": "example.com."}), "IN DS 4711"),
        ("alerts list", ("alerts.list", {"zone": None}), "correct it"),
        (
            "config reload --remove A.b --remove c.",
            ("config.reload", {"remove": ["a.b.", "c."], "ds_is_gone": False}),
            "is applied",
        ),
    ],
)
def test_what_is_asked_and_shown(
    run: Callable[..., Result], daemon: Daemon, words: str, asked: object, shown: str
) -> None:
    result = run(*words.split())
    assert (result.code, result.err) == (0, "")
    assert daemon.asked == [asked]
    assert shown in result.out
    assert isinstance(run(*words.split(), "--json").json, dict)
    assert isinstance(run("--json", *words.split()).json, dict)


MEASURED = {
    "keystore": "hsm", "token": "one", "algorithm": "ECDSAP256SHA256", "sessions": 2, "batch": 50,
    "signatures": 900, "seconds": 1.0, "per_second": 900.0,
}  # fmt: skip
TRIED = {"keystore": "hsm", "algorithm": "ECDSAP256SHA256", "detail": "CKR_DEVICE_ERROR"}


@pytest.mark.parametrize("words", [(), ("--json",)])
@pytest.mark.parametrize(
    ("command", "answer", "code", "shown"),
    [
        ("bench", {"lines": [], "sustains": []}, 1, "no key store works"),
        ("bench", {"lines": [MEASURED], "sustains": []}, 0, "900"),
        ("test", {"ok": False, "results": [{**TRIED, "ok": False}]}, 1, "FAILED"),
        ("test", {"ok": True, "results": [{**TRIED, "ok": True}]}, 0, "ok"),
    ],
)
def test_a_key_store_that_does_not_work_is_the_exit_status(
    run: Callable[..., Result], daemon: Daemon, words: tuple[str, ...],
    command: str, answer: dict[str, Any], code: int, shown: str,
) -> None:  # fmt: skip
    daemon.instead[f"keystore.{command}"] = answer
    result = run("keystore", command, *words)
    assert result.code == code
    if words:
        assert result.json == answer
    else:
        assert shown in result.out


@pytest.mark.usefixtures("umask_zero")
def test_export(run: Callable[..., Result], tmp_path: Path) -> None:
    assert run("zone", "export", "example.com").out == EXPORT
    file = tmp_path / "out.zone"
    result = run("zone", "export", "example.com", "-o", str(file))
    assert file.read_text() == EXPORT
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "1 records written" in result.out
    assert run("zone", "export", "example.com", "--json").json["text"] == EXPORT
    result = run("zone", "export", "example.com", "-o", str(tmp_path / "no" / "dir"))
    assert result.code == 1
    assert "cannot be written" in result.err
    assert list(tmp_path.iterdir()) == [file]


def test_exit_codes(run: Callable[..., Result]) -> None:
    refused = run("zone", "freeze", "x")
    assert refused.code == 1
    assert "there is no zone x." in refused.err
    assert 'to do: add [zone."x."]' in refused.err
    assert "first fault" in refused.err
    assert run("zone", "freeze", "x", "--json").json["error"]["detail"] == ["first fault"]
    assert run("zone", "thaw", "x").code == 2, "a daemon that does not know the command"
    assert run("zone", "wait", "x").code == 2
    assert run("zone", "wait", "x", "--current", "--timeout", "soon").code == 2
    assert run("zone", "wait", "x", "--serial", "4294967296").code == 2
    assert run("zone", "shwo", "x").code == 2
    assert run("alerts", "ack", "disk-low").code == 1
    away = run("status", "--socket", "/nonexistent/c.sock", socket=False)
    assert away.code == 3
    assert "no daemon answers at /nonexistent/c.sock" in away.err
    assert "dnssecd run" in away.err
    assert run("status", "--json", "--socket", "/nonexistent/c.sock", socket=False).json["error"]["remedy"]


def test_the_socket_comes_from_the_configuration(
    run: Callable[..., Result], daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.toml"
    file.write_text(f'[server]\ncontrol_socket = "{daemon.path}"\nnonsense = 1\n')
    assert run("status", "--config", str(file), socket=False).code == 0
    monkeypatch.setenv("DNSSECD_CONFIG", str(file))
    assert run("status", socket=False).code == 0
    missing = run("status", "--config", str(tmp_path / "none.toml"), socket=False)
    assert missing.code == 1
    assert "none.toml: cannot be read" in missing.err


GOOD = '[server]\n[keystore.local]\n[policy.default]\n[zone."example.com."]\nsource = "dynamic"\n'


def test_check_config(run: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(GOOD)
    good = run("check-config", "--config", str(file), socket=False)
    assert good.code == 0
    assert "is correct: 1 zone, 1 policy, 1 key store" in good.out
    file.write_text(GOOD + "max_chaneg = 1\nsecondaries = ['x']\n")
    bad = run("check-config", "--config", str(file), socket=False)
    assert bad.code == 1
    assert f"{file}:6:" in bad.out
    assert f"{file}:7:" in bad.out
    answer = run("check-config", "--config", str(file), "--json", socket=False).json
    assert answer["ok"] is False
    assert [one["line"] for one in answer["errors"]] == [6, 7]
    assert set(answer["errors"][0]) == {"file", "line", "where", "what", "remedy"}
    started = run("run", "--config", str(file), socket=False)
    assert started.code == 1
    assert f"{file}:6:" in started.err


def test_the_signer_needs_a_socket(run: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(GOOD)
    result = run("signer", "--config", str(file), socket=False)
    assert result.code == 1
    assert "has no socket for the key service" in result.err


def test_status_starts_quickly(daemon: Daemon) -> None:
    """Under 0.4 s; on a busy machine, beside what an interpreter alone takes in the same moment."""

    def once(*words: str) -> float:
        began = time.monotonic()
        subprocess.run([sys.executable, *words], check=True, capture_output=True, timeout=30)
        return time.monotonic() - began

    status = ("-m", "dnssecd", "status", "--socket", str(daemon.path))
    pairs = [(once(*status), once("-c", "pass")) for _ in range(5)]
    assert min(taken for taken, _ in pairs) < max(0.4, 15 * min(bare for _, bare in pairs))


def test_nothing_heavy_is_imported_by_the_commands() -> None:
    code = "import sys, dnssecd.cli.app as a; a.build(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30
    )
    heavy = {"asyncio", "structlog", "cryptography", "dns", "prometheus_client", "msgspec", "rich", "sqlite3"}
    assert heavy & set(loaded.stdout.split()) == set()
