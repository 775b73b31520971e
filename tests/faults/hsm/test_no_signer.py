"""While no signer works: the last version is served, updates are answered SERVFAIL, events fire; then all goes on.

The real daemon with software keys. Its key service is killed, stopped, or, as a service of its own, ended; nobody
restarts the daemon. At the end every update answered NOERROR is there and no other.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update
import pytest

from tests.faults.hsm.faulty import children
from tests.peers.dnssecd import Dnssecd
from tests.peers.process import LOOPBACK, ServerProcess, Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.world import World, start_world

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

ZONE = "example."
TEXT = """$ORIGIN example.
$TTL 300
@ IN SOA ns1 host 1 3600 600 86400 300
@ IN NS ns1
ns1 IN A 192.0.2.1
"""
NOTICED_S = 15.0
RECOVERED_S = 15.0
#: An answer comes within the deadline of one call to the key service, twice for a message that is tried by itself.
ANSWER_S = 12.0


class SignerProcess(ServerProcess):
    """`dnssecd signer`, run beside the daemon from the same configuration."""

    name = "signer"

    def __init__(self, directory: Path, daemon: Dnssecd) -> None:
        super().__init__(directory)
        self.daemon = daemon
        self.socket = Path(daemon.config["signer"]["socket"])

    def command(self) -> list[str]:
        words = self.daemon.command()
        return [*words[: words.index("run")], "signer", "--config", str(self.daemon.config_path)]

    def environment(self) -> dict[str, str]:
        found = dict(self.daemon.environment())
        del found["NOTIFY_SOCKET"]
        return found

    def is_ready(self) -> bool:
        return self.socket.exists()


@dataclass
class Client:
    """Adds names one after another and remembers the answers."""

    world: World
    taken: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    def add(self) -> int:
        """Add the next name; the RCODE."""
        name = f"u{len(self.taken) + len(self.refused)}"
        key = self.world.key
        ring = dns.tsigkeyring.from_text({key.name: (key.algorithm, key.secret)})
        update = dns.update.UpdateMessage(ZONE, keyring=ring)
        update.add(name, 60, "A", "192.0.2.7")
        started_at = time.monotonic()
        answer = dns.query.tcp(update, LOOPBACK, port=self.world.daemon.port, timeout=30)
        assert time.monotonic() - started_at < ANSWER_S
        (self.taken if answer.rcode() == dns.rcode.NOERROR else self.refused).add(f"{name}.{ZONE}")
        return answer.rcode()

    def check(self) -> None:
        """Every update that was taken is there, none that was refused."""
        lines = self.world.daemon.zone_content(ZONE)
        there = {line.split()[0] for line in lines if " IN A " in line and line.startswith("u")}
        assert there == self.taken


@pytest.fixture
def world(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> World:
    made = start_world(servers, peer_dir, tsig_key, ZONE, TEXT, start_daemon=False)
    grant = {"tsig": tsig_key.name, "names": ["*"], "types": ["ANY"]}
    made.daemon.config["zone"][ZONE] |= {"source": "dynamic", "allow_update": [grant]}
    return made


def started(world: World) -> Client:
    world.daemon.start()
    world.daemon.wait_serial_other_than(ZONE, None)
    client = Client(world)
    assert client.add() == dns.rcode.NOERROR
    return client


def firing(world: World) -> set[str]:
    return {alert["name"] for alert in world.daemon.cli_json("alerts", "list")["alerts"]}


def check_outage(world: World, client: Client) -> None:
    """What is seen while the key service is away."""
    serial = world.daemon.serial(ZONE)
    assert client.add() == dns.rcode.SERVFAIL
    wait_until(lambda: "signer-unreachable" in firing(world), "the event", NOTICED_S)
    started_at = time.monotonic()
    for _ in range(3):
        assert client.add() == dns.rcode.SERVFAIL
    assert time.monotonic() - started_at < 2, "refused at once, not queued"
    assert world.daemon.serial(ZONE) == serial, "the last version is served"
    assert world.daemon.metric("dnssecd_signer_up") == 0
    name = "dnssecd_zone_rrsig_earliest_expiration_timestamp_seconds"
    assert world.daemon.metric(name, zone=ZONE) > time.time()
    assert world.daemon.cli_json("status")["signer"]["state"].startswith("down: ")


def check_recovery(world: World, client: Client) -> None:
    """The key service is back: nobody does anything, and all continues."""
    wait_until(lambda: client.add() == dns.rcode.NOERROR, "an update is taken again", RECOVERED_S)
    wait_until(lambda: not firing(world), "all events are over", NOTICED_S)
    assert world.daemon.metric("dnssecd_signer_up") == 1
    client.check()
    serial = world.daemon.serial(ZONE)
    assert serial is not None
    for second in world.secondaries.values():
        second.wait_serial(ZONE, serial)


def signer_child(world: World) -> int:
    (pid,) = [
        pid
        for pid in children(world.daemon.pid)
        if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"dnssecd.signer\0")
    ]
    return pid


def test_the_child_is_killed_and_killed_again(world: World) -> None:
    client = started(world)
    for _ in range(3):
        os.kill(signer_child(world), signal.SIGKILL)
        client.add()
        wait_until(lambda: client.add() == dns.rcode.NOERROR, "an update is taken again", RECOVERED_S)
    check_recovery(world, client)


def test_the_child_hangs(world: World) -> None:
    client = started(world)
    pid = signer_child(world)
    os.kill(pid, signal.SIGSTOP)
    try:
        check_outage(world, client)
    finally:
        os.kill(pid, signal.SIGCONT)
    check_recovery(world, client)
    assert signer_child(world) == pid


@pytest.fixture
def signer(servers: Servers, world: World, peer_dir: Path) -> SignerProcess:
    """The key service as a service of its own."""
    world.daemon.config["signer"] = {"socket": peer_dir / "run" / "signer.sock"}
    world.daemon.write_config()
    return servers.start(SignerProcess(peer_dir / "signer", world.daemon))


def test_the_service_is_stopped_and_started_again(world: World, signer: SignerProcess) -> None:
    client = started(world)
    assert signer.stop() == 0
    check_outage(world, client)
    signer.start()
    check_recovery(world, client)


def test_input_that_came_meanwhile_is_signed_when_the_service_is_back(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    """A file zone: the edit waits, is told of, and is published within seconds of the recovery."""
    world = start_world(servers, peer_dir, tsig_key, ZONE, TEXT, start_daemon=False)
    world.daemon.config["signer"] = {"socket": peer_dir / "run" / "signer.sock"}
    world.daemon.write_config()
    signer = servers.start(SignerProcess(peer_dir / "signer", world.daemon))
    world.daemon.start()
    serial = world.daemon.wait_serial_other_than(ZONE, None)
    signer.kill()
    for number in range(3):
        world.put(TEXT + "".join(f"f{n} IN A 192.0.2.2\n" for n in range(number + 1)))
        wait_until(lambda: "signing-failed" in firing(world), "the event", NOTICED_S)
    assert world.daemon.serial(ZONE) == serial
    signer.start()
    after = world.daemon.wait_serial_other_than(ZONE, serial, RECOVERED_S)
    assert after == serial + 1, "the three edits are one version"
    world.check_agreement(after)
    wait_until(lambda: not firing(world), "all events are over", NOTICED_S)
    assert world.daemon.cli_json("key", "audit")["ok"]


def is_connected(path: Path) -> bool:
    """Whether some process has a connection to a socket whose owner does not accept it."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return sum(line.endswith(str(path)) for line in lines) > 1


def test_a_stop_while_the_first_keys_are_awaited_is_no_trouble(world: World, signer: SignerProcess) -> None:
    """The worker that waits for the key service ends with the daemon: that is not its death, and raises no event."""
    os.kill(signer.pid, signal.SIGSTOP)
    try:
        world.daemon.start()
        wait_until(lambda: is_connected(signer.socket), "a worker waits for the first keys", NOTICED_S)
        assert world.daemon.stop() == 0
    finally:
        os.kill(signer.pid, signal.SIGCONT)
    bad = [line for line in world.daemon.log_events() if line["level"] in ("error", "critical")]
    assert not bad
