"""What a service manager does to the daemon: reload and stop, in the middle of transfers and of signing."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rdatatype
import dns.tsig
import pytest

from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file
from tests.peers.process import LOOPBACK, Servers, wait_until
from tests.peers.tsig import TsigKey

ZONE = "big.example."
#: With 24 kB each more than all buffers between two sockets hold.
NAMES = 400
STOP_S = 10.0

pytestmark = pytest.mark.integration


def zone_text(serial: int, hosts: int = 0) -> str:
    """NAMES names with much data, and so many with little."""
    padding = f'"{"x" * 240}" ' * 100
    head = f"$TTL 300\n@ SOA ns hostmaster {serial} 3600 600 604800 300\n@ NS ns\nns A 192.0.2.53\n"
    big = "".join(f"n{number} TXT {padding}\n" for number in range(NAMES))
    return head + big + "".join(f"h{number} A 192.0.2.1\n" for number in range(hosts))


class Transfer:
    """A secondary that transfers the zone and reads when it is told to."""

    def __init__(self, port: int, key: TsigKey) -> None:
        self._keyring = {key.dnspython().name: key.dnspython()}
        query = dns.message.make_query(ZONE, "AXFR")
        query.use_tsig(key.dnspython())
        wire = query.to_wire()
        self._mac = query.mac
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        self._socket.settimeout(30)
        self._socket.connect((LOOPBACK, port))
        self._socket.sendall(len(wire).to_bytes(2, "big") + wire)
        self._messages = self._read()
        self._types: list[int] = []
        self.take()

    def take(self) -> None:
        """Read one message."""
        self._types += next(self._messages)

    def rest(self) -> list[int]:
        """Read to the end; the types of all records."""
        for types in self._messages:
            self._types += types
        return self._types

    def _read(self) -> Iterator[list[int]]:
        """Types of the records of one message after another, to the second SOA; TSIG is checked."""
        context, soas = None, 0
        while soas < 2:
            wire = self._exactly(int.from_bytes(self._exactly(2), "big"))
            message = dns.message.from_wire(
                wire,
                keyring=self._keyring,
                request_mac=self._mac,
                xfr=True,
                tsig_ctx=context,
                multi=True,
                one_rr_per_rrset=True,
            )
            context = message.tsig_ctx
            types = [int(rrset.rdtype) for rrset in message.answer]
            soas += types.count(dns.rdatatype.SOA)
            yield types
        assert message.had_tsig

    def _exactly(self, octets: int) -> bytes:
        found = bytearray()
        while len(found) < octets:
            part = self._socket.recv(octets - len(found))
            if not part:
                raise ConnectionError("the transfer was cut off")
            found += part
        return bytes(found)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def daemon(home: Path) -> Iterator[Dnssecd]:
    key = TsigKey()
    path = home / "big.zone"
    path.write_text(zone_text(1))
    config = daemon_config(home, DaemonPorts.free(), key, {ZONE: path}, policy={"denial": "nsec"})
    servers = Servers()
    one = servers.start(Dnssecd(home / "dnssecd", config, key))
    one.wait_serial_other_than(ZONE, None, timeout=60)
    yield one
    with contextlib.suppress(OSError):
        one.kill()  # how it stops is seen in the tests
    servers.stop()


def stop(daemon: Dnssecd) -> float:
    """SIGTERM; the seconds until it has ended, with status 0 and with nobody left behind."""
    started = time.monotonic()
    daemon.signal(signal.SIGTERM)
    assert daemon.process is not None
    status = daemon.process.wait(STOP_S + 5)
    seconds = time.monotonic() - started
    print(f"stopped in {seconds:.2f} s")
    assert status == 0, daemon.log_tail()
    return seconds


def children(pid: int) -> list[int]:
    """The processes that the process has started, and theirs."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *children(child)]
    return found


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("how", ["SIGHUP", "command"])
def test_a_reload_does_not_cut_transfers(daemon: Dnssecd, how: str) -> None:
    transfer = Transfer(daemon.port, daemon.key)
    daemon.config["policy"]["default"]["signature_jitter"] = "6h" if how == "SIGHUP" else "5h"
    daemon.write_config()
    before = daemon.metric("dnssecd_config_reloads_total", result="ok")
    if how == "SIGHUP":
        daemon.signal(signal.SIGHUP)
    else:
        assert daemon.cli("config", "reload").ok
    wait_until(
        lambda: daemon.metric("dnssecd_config_reloads_total", result="ok") == before + 1, "the reload is done"
    )
    types = transfer.rest()
    assert types.count(dns.rdatatype.TXT) == NAMES
    assert types.count(dns.rdatatype.NSEC) == NAMES + 2
    transfer.close()


def test_a_reload_of_a_bad_file_changes_nothing(daemon: Dnssecd) -> None:
    good = daemon.config_path.read_text()
    daemon.config_path.write_text(good + "[nonsense]\n")
    done = daemon.cli("config", "reload")
    daemon.config_path.write_text(good)
    assert done.status == 1
    assert "nonsense" in done.err
    assert daemon.serial(ZONE) is not None


def test_stop_during_transfers(daemon: Dnssecd) -> None:
    """One secondary has stopped reading indefinitely: it is cut off, and the stop is no slower for it."""
    serial = daemon.serial(ZONE)
    stuck = Transfer(daemon.port, daemon.key)
    family = children(daemon.pid)
    assert family, "the key service and a zone worker"
    assert stop(daemon) < STOP_S
    assert [pid for pid in family if alive(pid)] == []
    with pytest.raises(ConnectionError):
        stuck.rest()
    stuck.close()
    daemon.start()
    assert daemon.serial(ZONE) == serial, "served at once"


def test_stop_while_a_zone_is_being_signed(
    daemon: Dnssecd, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old version or the new one is there afterwards."""
    serial = daemon.serial(ZONE)
    assert serial is not None
    used = sum(map(_cpu_ticks, children(daemon.pid)))
    replace_file(home / "big.zone", zone_text(2, hosts=20_000))
    wait_until(
        lambda: sum(map(_cpu_ticks, children(daemon.pid))) > used + 20, "a worker is at work", every=0.01
    )
    assert stop(daemon) < STOP_S
    monkeypatch.setenv("WATCHDOG_USEC", "400000")  # for the next test
    daemon.start()
    assert daemon.serial(ZONE) in (serial, serial + 1)


def _cpu_ticks(pid: int) -> int:
    """Processor time used so far; 0 when the process is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def test_the_watchdog_is_fed(daemon: Dnssecd) -> None:
    """Four times in what is allowed, while the event loop turns; a daemon that stands still starves it."""
    assert daemon._notify is not None
    daemon._notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    wait_until(lambda: _fed(daemon) >= 3, "the watchdog is fed", timeout=10, every=1.0)
    daemon.signal(signal.SIGSTOP)
    wait_until(lambda: _state(daemon.pid) == "T", "the daemon stands still")
    _fed(daemon)
    time.sleep(0.5)  # for the absence of an event there is nothing to wait for but time
    assert _fed(daemon) == 0
    daemon.signal(signal.SIGCONT)


def _fed(daemon: Dnssecd) -> int:
    """How often the main process has fed the watchdog since it was last asked; others do not count (NotifyAccess=)."""
    assert daemon._notify is not None
    count = 0
    while True:
        try:
            message, ancillary, _, _ = daemon._notify.recvmsg(4096, socket.CMSG_SPACE(12))
        except BlockingIOError:
            return count
        sender = int.from_bytes(ancillary[0][2][:4], sys.byteorder)
        count += sender == daemon.pid and message == b"WATCHDOG=1"


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
