"""Alerts through a real SMTP server: TLS and passwords, down, slow, rejecting, and a daemon that is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnssecd.config.model import MailConfig, Secret
from dnssecd.ops.alerts.channel_mail import MailChannel
from dnssecd.ops.alerts.channels import ChannelDown, Deferred, Parcel, Rejected
from dnssecd.replacing import replace
from tests.integration.mailserver import PASSWORD, USER, Authority, Mail, MailServer
from tests.peers.paths import REPOSITORY
from tests.peers.process import free_port, wait_until
from tests.unit.alerts.rig import MAIL, ZONE, Rig

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS"),  # it is TLS from the start
]

PARCEL = Parcel(
    "<1@example.com>", b"Subject: x\r\n\r\n.dot\r\nFrom here\r\n", ("a@example.com", "b@example.com")
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def config(server: MailServer, **more: object) -> MailConfig:
    changed = {"host": "localhost", "port": server.port, "tls": "none", **more}
    return replace(MAIL, **changed)  # type: ignore[arg-type]


def secured(server: MailServer, tls: str, password: str = PASSWORD) -> MailConfig:
    return config(server, tls=tls, user=USER, password=Secret(password.encode()))


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_tls_and_password(authority: Authority, tls: str) -> None:
    server = MailServer(tls, authority.server(), auth=True)
    with server.running():
        await MailChannel(secured(server, tls), "hidden1", context=authority.trust()).send(PARCEL)
        (mail,) = server.wait(1)
    assert (mail.tls, mail.user) == (True, USER)
    assert (mail.sender, mail.recipients) == (MAIL.sender, list(PARCEL.recipients))
    assert mail.text == ".dot\nFrom here\n"


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_a_certificate_that_is_not_trusted_gets_neither_password_nor_mail(
    authority: Authority, tls: str
) -> None:
    server = MailServer(tls, authority.server(), auth=True)
    with server.running():
        with pytest.raises(ChannelDown, match="certificate") as raised:
            await MailChannel(secured(server, tls), "hidden1").send(PARCEL)
        wrong_name = replace(secured(server, tls), host="localhost.localdomain")
        with pytest.raises(ChannelDown):
            await MailChannel(wrong_name, "hidden1", context=authority.trust()).send(PARCEL)
    assert PASSWORD not in str(raised.value)
    assert (server.mails, server.auths) == ([], [])


async def test_a_server_without_starttls_gets_neither() -> None:
    server = MailServer()
    with server.running(), pytest.raises(ChannelDown, match="STARTTLS"):
        await MailChannel(secured(server, "starttls"), "hidden1").send(PARCEL)
    assert (server.mails, server.auths) == ([], [])


async def test_a_wrong_password_is_reported_and_not_shown(authority: Authority) -> None:
    server = MailServer("tls", authority.server(), auth=True)
    with server.running(), pytest.raises(ChannelDown, match="refused the password: 535") as raised:
        await MailChannel(secured(server, "tls", "battery"), "hidden1", context=authority.trust()).send(
            PARCEL
        )
    assert "battery" not in str(raised.value)
    assert server.mails == []


async def test_answers_of_the_server_are_told_apart() -> None:
    server = MailServer()
    way = MailChannel(config(server), "hidden1")
    with server.running():
        server.fate.data = "451 try later"
        with pytest.raises(Deferred, match="451 try later"):
            await way.send(PARCEL)
        server.fate.data = "554 spam"
        with pytest.raises(Rejected, match="554 spam"):
            await way.send(PARCEL)
        server.fate.data = "421 closing"
        with pytest.raises(ChannelDown, match="421 closing"):
            await way.send(PARCEL)
        server.fate.data = ""
        server.fate.recipients = {"a@example.com": "550 unknown", "b@example.com": "451 grey"}
        sent = await way.send(PARCEL)
        assert (sent.rejected, sent.deferred) == (
            {"a@example.com": "550 unknown"},
            {"b@example.com": "451 grey"},
        )
    with pytest.raises(ChannelDown):
        await way.send(PARCEL)


async def test_a_slow_server_ends_at_the_deadline() -> None:
    server = MailServer()
    server.fate.silent = True
    with server.running(), pytest.raises(ChannelDown, match="did not answer within"):
        await MailChannel(config(server), "hidden1", deadline_s=0.5).send(PARCEL)


@pytest.fixture
def server() -> Iterator[MailServer]:
    server = MailServer()
    yield server
    server.stop()


def engine(directory: Path, server: MailServer) -> Rig:
    mail = config(server, to=("a@example.com", "b@example.com"))
    return Rig(directory, MailChannel(mail, "hidden1", deadline_s=1.0), mail=mail)  # type: ignore[arg-type]


def test_server_down_then_slow_then_up_nothing_is_lost_or_sent_twice(
    tmp_path: Path, server: MailServer
) -> None:
    rig = engine(tmp_path, server)
    rig.events.raise_event("ds-missing", ZONE, "no DS")
    rig.go(20 * 60, step=60)
    assert rig.events.is_firing("alert-undeliverable", None, "mail")
    assert "port" in rig.engine.status()[0]["error"]
    rig.restart()
    server.fate.silent = True
    server.start()
    rig.go(60, step=60)
    server.stop()
    server.fate.silent = False
    server.start()
    rig.go(20 * 60, step=60)
    subjects = [mail.message["Subject"] for mail in server.mails]
    assert subjects == [
        "[dnssecd] ERROR example.com. ds-missing",
        "[dnssecd] RESOLVED: daemon alert-undeliverable (mail)",
    ]
    first = server.mails[0].message
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["Precedence"] == "bulk"
    assert first["Message-ID"].endswith("@example.com>")
    assert (
        "What to do\n  Hand the DS to the parent:\n    dnssecd ds show example.com." in server.mails[0].text
    )
    rig.stop()


def test_only_those_who_were_refused_get_it_again(tmp_path: Path, server: MailServer) -> None:
    rig = engine(tmp_path, server)
    server.start()
    server.fate.recipients = {"b@example.com": "451 grey"}
    rig.events.raise_event("ds-missing", ZONE, "no DS")
    rig.go(60)
    server.fate.recipients = {}
    rig.go(5 * 60)
    assert [mail.recipients for mail in server.mails] == [["a@example.com"], ["b@example.com"]]
    assert len({mail.id for mail in server.mails}) == 1
    rig.stop()


def test_a_rejecting_server_is_an_event_and_the_alert_comes_when_it_takes_mail(
    tmp_path: Path, server: MailServer
) -> None:
    rig = engine(tmp_path, server)
    server.start()
    server.fate.data = "554 5.7.1 no"
    rig.events.raise_event("ds-missing", ZONE, "no DS")
    rig.go(2 * 60)
    (event,) = [event for event in rig.events.firing() if event.name == "alert-undeliverable"]
    assert "554 5.7.1 no" in event.cause
    server.fate.data = ""
    rig.go(2 * 3600, step=60)
    assert server.mails[0].message["Subject"] == "[dnssecd] REMINDER 1: ERROR example.com. ds-missing"
    assert not rig.events.is_firing("alert-undeliverable", None, "mail")
    rig.stop()


def test_an_acceptance_that_is_never_heard_makes_the_same_mail_again(
    tmp_path: Path, server: MailServer
) -> None:
    rig = engine(tmp_path, server)
    server.fate.forget = True
    server.start()
    rig.events.raise_event("ds-missing", ZONE, "no DS")
    rig.go(60)
    server.fate.forget = False
    rig.go(10 * 60)
    assert len(server.mails) >= 2
    assert len({mail.id for mail in server.mails}) == 1, "mail programs see that it is one"
    rig.stop()


class Child:
    """The engine in a process; events are zone names."""

    def __init__(
        self, directory: Path, server: MailServer, extra: str = "", cafile: Path | None = None
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.log = (directory / "child.log").open("ab")
        self.config = directory / "config.toml"
        self.config.write_text(
            f'[server]\nlisten = ["127.0.0.1:{free_port()}"]\nstate_dir = "state"\n'
            'control_socket = "control.sock"\n[keystore.local]\ntype = "software"\ndirectory = "keys"\n'
            '[policy.default]\nkeystore = "local"\n[zone."example.com."]\npolicy = "default"\nsource = "file"\n'
            'file = "zone"\nparent = "none"\n'
            f'[alerts.mail]\nsmtp = "localhost:{server.port}"\nfrom = "dnssecd@example.com"\n'
            f'to = ["ops@example.com"]\nheartbeat = "never"\n{extra}'
        )
        self.environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        if cafile is not None:
            self.environment["SSL_CERT_FILE"] = str(cafile)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *zones: str) -> None:
        command = [sys.executable, "-m", "tests.integration.alert_child", str(self.config), *zones]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=self.environment)

    def end(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dnssecd", *words, "--config", str(self.config)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=self.environment, check=False
        )


@pytest.fixture
def child(tmp_path: Path, server: MailServer) -> Iterator[Child]:
    child = Child(tmp_path / "child", server)
    yield child
    child.end()
    child.log.close()


def told(mails: list[Mail], zone: str) -> list[Mail]:
    return [mail for mail in mails if f" {zone}" in mail.text and "No action needed" not in mail.text]


def test_killed_again_and_again_nothing_is_lost_and_nothing_said_twice(
    server: MailServer, child: Child
) -> None:
    seed = int.from_bytes(os.urandom(4))
    print("seed", seed)
    chance = random.Random(seed)
    server.start()
    zones: list[str] = []
    for round_ in range(8):
        zones += [f"r{round_}n{number}.example." for number in range(3)]
        count = len(server.mails)
        child.start(*zones)
        if chance.random() < 0.3:
            server.stop()
        elif chance.random() < 0.6:
            server.wait(count + 1)
        wait_until(lambda: (child.config.parent / "state" / "alerts.sqlite").exists(), "it began")
        try:
            assert child.process is not None
            child.process.wait(chance.uniform(0, 1.5))
        except subprocess.TimeoutExpired:
            child.end()
        if server._controller is None:
            server.start()
    child.start(*zones)
    for zone in zones:
        wait_until(lambda zone=zone: told(server.mails, zone), f"{zone} was told", 30)  # type: ignore[misc]
    child.end(signal.SIGTERM)
    for zone in zones:
        ids = {mail.id for mail in told(server.mails, zone)}
        assert len(ids) == 1, f"{zone} was told in several messages"
    twice = [id for id, count in Counter(mail.id for mail in server.mails).items() if count > 1]
    assert len(twice) <= 9, "at most the one under way at each death"


def test_alerts_test_reports_each_way(authority: Authority, tmp_path: Path) -> None:
    server = MailServer("starttls", authority.server(), auth=True)
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    password.chmod(0o600)
    extra = (
        f'tls = "starttls"\nuser = "{USER}"\npassword_file = "{password}"\nescalate_to = ["boss@example.com"]\n'
        f'[alerts.webhook]\nurl = "http://127.0.0.1:{free_port()}/secret-path"\n'
        f'[alerts.command]\nrun = ["/bin/sh", "-c", "cat > {tmp_path}/command.json"]\n'
    )
    child = Child(tmp_path / "child", server, extra, authority.ca_file)
    with server.running():
        child.start()
        wait_until(lambda: (tmp_path / "child" / "control.sock").exists(), "its socket is there")
        done = child.cli("alerts", "test")
        as_json = child.cli("alerts", "test", "--json")
        child.end(signal.SIGTERM)
    assert done.returncode == 1, "one way failed"
    assert "secret-path" not in done.stdout + done.stderr
    rows = [(one["way"], one["to"], one["ok"]) for one in json.loads(as_json.stdout)["results"]]
    assert rows == [
        ("mail", ["ops@example.com"], True),
        ("mail", ["boss@example.com"], True),
        ("webhook", [], False),
        ("command", [], True),
    ]
    assert done.stdout.count("delivered") == 3
    assert "webhook  http://127.0.0.1" in done.stdout
    assert json.loads((tmp_path / "command.json").read_text())["kind"] == "test"
    assert {tuple(mail.recipients) for mail in server.mails} == {("ops@example.com",), ("boss@example.com",)}
    assert "Alerts from this host reach you" in server.mails[0].text
    assert isinstance(authority.trust(), ssl.SSLContext)
