"""What an attacker who has the daemon's user cannot do with the keys, and what two people can.

Each attempt goes over the key service's real socket, by a process of the daemon's user.
"""

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnssecd import keyservice_protocol as wp
from tests.cases.keyservice_world import (
    ANNA,
    BEN,
    DAEMON,
    LINK,
    OFFICERS,
    OTHER,
    PASSPHRASE,
    SIGNER,
    ZONE,
    KeyService,
    as_daemon,
    as_user,
    ask,
    command,
    key_service,
    told,
)
from tests.cases.test_keyservice_requests import made, sealed_key
from tests.peers.paths import REPOSITORY
from tests.peers.process import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="processes of several users are started")

DAY = 86_400
CONFIG = """
[server]
state_dir = "{home}/daemon"
[signer]
socket = "{home}/run/signer.sock"
[roles]
key_officer = "{officers}"
[keystore.local]
type = "software"
directory = "{home}/keys"
passphrase_file = "{home}/passphrase"
[policy.default]
validity_max = "{ceiling}"
two_person = true
[zone."a.example."]
file = "{home}/zone"
parent = "none"
"""


@pytest.fixture(scope="module")
def service() -> Iterator[KeyService]:
    with key_service(validity_s_max=60 * DAY, destroy_after_s=30 * DAY, two_person=True) as running:
        write_config(running, "60d")
        yield running


def write_config(service: KeyService, ceiling: str) -> Path:
    path = service.home / "c.toml"
    path.write_text(CONFIG.format(home=service.home, officers=OFFICERS, ceiling=ceiling))
    return path


def preimage(covered: int, tag: int, owner: bytes, inception_d: float, expiration_d: float) -> bytes:
    """A preimage whose times are so many days from now."""
    now = time.time()
    times = (int(now + expiration_d * DAY), int(now + inception_d * DAY))
    labels = owner.count(b"\x01") + owner.count(b"\x07") + owner.count(b"\x03")
    head = struct.pack(">HBBIIIH", covered, 13, labels, 300, *times, tag) + ZONE
    return head + owner + struct.pack(">HHIH", covered, 1, 300, 4) + b"\0" * 4


def by_daemon(service: KeyService, *requests: wp.Request) -> list[str]:
    answers = as_daemon(lambda: [told(ask(service.socket, one)[0]) for one in requests])
    assert isinstance(answers, list), answers
    return answers


def state_of(service: KeyService) -> dict[str, bytes]:
    """All key files, in use and in the trash."""
    return {str(path): path.read_bytes() for path in service.keys.rglob("*.key")}


def test_it_signs_nothing_beyond_the_ceiling(service: KeyService) -> None:
    zsk = made(service, ZONE, "zsk")
    times = [(-0.05, 59.9), (-1, 59.9), (0, 61), (30, 61), (300, 301), (0, 365 * 9)]
    requests = [wp.SignRequest(2, ZONE, zsk.id, [preimage(1, zsk.tag, ZONE, *one)]) for one in times]
    assert by_daemon(service, *requests) == ["SignReply"] + ["refused"] * 5
    assert ("refused", zsk.id) in service.events()


@pytest.mark.parametrize("role", ["ksk", "csk"])
def test_it_signs_no_key_set_away_from_the_apex(service: KeyService, role: wp.Role) -> None:
    key = made(service, ZONE, role)
    below = b"\x03sub" + ZONE
    requests = [
        wp.SignRequest(2, ZONE, key.id, [preimage(rtype, key.tag, owner, 0, 1)])
        for owner in (ZONE, below)
        for rtype in ((48, 59, 60) if role == "ksk" else (48,))
    ]
    half = len(requests) // 2
    assert by_daemon(service, *requests) == ["SignReply"] * half + ["refused"] * half


def test_it_gets_uses_and_overwrites_no_key(service: KeyService) -> None:
    zsk = made(service, ZONE, "zsk")
    before = state_of(service)
    answers = by_daemon(
        service,
        wp.ExportRequest(2, zsk.id, PASSPHRASE),
        wp.RestoreRequest(2, sealed_key(zsk.id), PASSPHRASE),
        wp.ImportRequest(2, ZONE, "zsk", 13, b"-----BEGIN PRIVATE KEY-----"),
        wp.DestroyRequest(2, zsk.id),
        wp.RecoverRequest(2, zsk.id),
    )
    assert answers == ["refused"] * 5
    sign_there = wp.SignRequest(2, OTHER, zsk.id, [preimage(1, zsk.tag, OTHER, 0, 1)])
    assert by_daemon(service, wp.BindRequest(2, OTHER, zsk.id), sign_there) == ["consent", "unknown_key"]
    assert state_of(service) == before


def test_it_gives_no_consent_in_any_group(service: KeyService) -> None:
    zsk = made(service, ZONE, "zsk")
    (reply,) = ask(service.socket, wp.ExportRequest(2, zsk.id, PASSPHRASE))
    number = number_in(reply)
    give = wp.ConsentRequest(2, number, give=True)
    tried = as_user(DAEMON, lambda: told(ask(service.socket, give)[0]), LINK, OFFICERS)
    assert tried == "refused"
    assert told(ask(service.socket, give)[0]) == "refused", "root is no person"
    assert told(ask(service.socket, wp.ExportRequest(2, zsk.id, PASSPHRASE))[0]) == "consent"


def test_what_it_removes_comes_back(service: KeyService) -> None:
    """The daemon removes keys after a rollover by itself. It cannot destroy one, and two people restore it."""
    ksk = made(service, ZONE, "ksk")
    content = state_of(service)[str(service.keys / f"{ksk.id}.key")]
    answers = by_daemon(service, wp.RemoveRequest(2, ZONE, ksk.id), wp.DestroyRequest(2, ksk.id))
    assert answers == ["TrashedReply", "refused"]
    assert state_of(service)[str(service.keys / "trash" / f"{ksk.id}.key")] == content
    config = ("--config", str(service.home / "c.toml"))
    restore = ("key", "trash", "restore", ksk.id, *config)
    listed = command(ANNA, "key", "trash", "list", "--json", *config)
    assert listed[0] == 0, listed
    assert [one["id"] for one in json.loads(listed[1])["keys"]] == [ksk.id]
    status, text = command(ANNA, *restore)
    assert status == 1
    number = re.search(r"give ([0-9a-f]{8})", text)
    assert number is not None, text
    consent = ("key", "consent", "give", number[1], *config)
    status, text = command(ANNA, *consent)
    assert (status, "another person" in text) == (1, True), text
    assert command(BEN, *consent)[0] == 0
    assert command(ANNA, *restore)[0] == 0
    assert state_of(service)[str(service.keys / f"{ksk.id}.key")] == content


def test_every_act_has_an_entry_before_it(service: KeyService) -> None:
    """Also those that are refused; the entry names the user."""
    n = len(service.events())
    zsk = made(service, ZONE, "zsk")
    by_daemon(
        service,
        wp.GenerateRequest(2, OTHER, "zsk", 13, idempotency="of the daemon"),
        wp.ExportRequest(2, zsk.id, PASSPHRASE),
        wp.BindRequest(2, b"\x01c\x07example\x00", zsk.id),
    )
    lines = (service.state / "audit.log").read_text().splitlines()
    entries = [(entry["event"], entry["fields"]) for entry in map(json.loads, lines)]
    new = [event for event, fields in entries[n:] if fields.get("by") == DAEMON and event != "refused"]
    assert new == ["generated", "consent asked for"]
    refused = [fields["request"] for event, fields in entries if event == "refused" and "request" in fields]
    assert "ExportRequest" in refused, "written at once, or counted with the others of this minute"


def number_in(reply: wp.Reply) -> str:
    assert isinstance(reply, wp.ErrorReply)
    found = re.search(r"give ([0-9a-f]{8})", reply.message)
    assert found is not None, reply
    return found[1]


def test_two_officers_export_a_key_that_bind_reads(service: KeyService, tmp_path: Path) -> None:
    zsk = made(service, ZONE, "zsk")
    home = service.home / "anna"
    home.mkdir(exist_ok=True)
    os.chown(home, ANNA, ANNA)
    config = ("--config", str(service.home / "c.toml"))
    export = ("key", "export", "a.example.", str(zsk.tag), "-o", str(home / "out"), *config)
    status, text = command(ANNA, *export)
    assert status == 1
    assert not list(home.rglob("K*"))
    number = re.search(r"give ([0-9a-f]{8})", text)
    assert number is not None, text
    assert command(BEN, "key", "consent", "give", number[1], *config)[0] == 0
    status, text = command(ANNA, *export)
    assert status == 0, text
    base = home / "out" / f"Ka.example.+013+{zsk.tag:05}"
    files = sorted((home / "out").iterdir())
    assert [path.name for path in files] == [f"{base.name}.key", f"{base.name}.private"]
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600, 0o600]
    status, text = command(ANNA, *export)
    assert (status, "is there already" in text) == (1, True), text
    for path in files:
        shutil.copy(path, tmp_path)
    zone = tmp_path / "zone"
    zone.write_text(
        "a.example. 300 IN SOA a.example. a.example. 1 7200 900 604800 300\na.example. 300 IN NS ns.example.\n"
    )
    signing = [
        "dnssec-signzone",
        "-z",
        "-o",
        "a.example.",
        "-K",
        str(tmp_path),
        "-f",
        "-",
        "-S",
        "-Q",
        str(zone),
    ]
    done = subprocess.run(signing, capture_output=True, text=True, timeout=30, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f" {zsk.tag} a.example. " in done.stdout


def test_the_key_service_reads_the_ceiling_itself(tmp_path: Path) -> None:
    """`dnssecd signer`: the ceiling is that of the file, and a new one holds as soon as it is needed."""
    with key_service() as service:
        zsk = made(service, ZONE, "zsk")
        service.stop()
        (service.home / "daemon").mkdir()
        os.chown(service.home / "daemon", DAEMON, DAEMON)
        path = write_config(service, "60d")
        code = "import sys; from dnssecd.cli import main; sys.exit(main())"
        process = subprocess.Popen(
            ["setpriv", f"--reuid={SIGNER}", f"--regid={LINK}", "--clear-groups",
             sys.executable, "-P", "-c", code, "signer", "--config", str(path)],
            cwd="/", stdout=(tmp_path / "log").open("w"), stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "STATE_DIRECTORY": str(service.state)},
        )  # fmt: skip
        try:
            wait_until(lambda: answers(service), "the key service answers")
            far = wp.SignRequest(2, ZONE, zsk.id, [preimage(1, zsk.tag, ZONE, 0, 70)])
            assert by_daemon(service, far) == ["refused"]
            write_config(service, "80d")
            assert by_daemon(service, far) == ["SignReply"]
            write_config(service, "60d")
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: by_daemon(service, far) == ["refused"], "the lower ceiling holds")
            path.write_text("nonsense")
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: "configuration not read" in warnings(service), "the bad file is reported")
            assert by_daemon(service, far) == ["refused"]
            assert [event for event, _ in service.events()].count("limits changed") == 2
        finally:
            process.terminate()
            process.wait(20)


def answers(service: KeyService) -> bool:
    try:
        return bool(ask(service.socket, wp.StatusRequest(2)))
    except (FileNotFoundError, ConnectionRefusedError):
        return False


def warnings(service: KeyService) -> list[str]:
    (reply,) = ask(service.socket, wp.StatusRequest(2))
    assert isinstance(reply, wp.StatusReply)
    return [one.code for one in reply.warnings]
