"""The demo: the daemon in the foreground, a local secondary, and commands to try.

The state is kept in ``demo-state/<zone>``: the second start immediately serves the zone that the first one signed.
Ctrl-C (or SIGTERM) stops both. All servers listen on loopback, on high ports.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.name

from tests.peers.dnssecd import Config, DaemonPorts, Dnssecd, daemon_config, secondaries_of
from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.nameserver import Nameserver
from tests.peers.nsd import Nsd
from tests.peers.paths import REPOSITORY, find_program
from tests.peers.process import LOOPBACK, PeerError, free_port
from tests.peers.tsig import TsigKey

EXAMPLE_ZONE = REPOSITORY / "demo" / "example.zone"
EXAMPLE_ORIGIN = "demo.example."
DNS_PORT, SECONDARY_PORT, METRICS_PORT = 5300, 5301, 9533
SECONDARY_KINDS: tuple[type[Nameserver], ...] = (Nsd, Knotd, Named)
FIRST_ANSWER_SECONDS = 600.0
STOP_SECONDS = 20.0
LONGEST_SOCKET_DIRECTORY = 90  # sun_path has 108 octets


@dataclass(frozen=True)
class Preparation:
    """The changes to the configuration in another form of the demo; it returns more commands to try."""

    name: str = ""
    prepare: Callable[[Path, Config], list[str]] = lambda home, config: []


PLAIN = Preparation()


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--zone", type=Path, help="your own zone file (make demo ZONE=…)")
    parser.add_argument("--origin", help="the name of the zone (make demo … ORIGIN=…)")
    parser.add_argument("--state", type=Path, default=REPOSITORY / "demo-state")
    given = parser.parse_args(words)
    if (given.zone is None) != (given.origin is None):
        parser.error("your own zone needs both: make demo ZONE=file ORIGIN=example.com.")
    if given.zone is not None and not given.zone.is_file():
        parser.error(f"the zone file does not exist: {given.zone}")
    try:
        given.origin = dns.name.from_text(given.origin or EXAMPLE_ORIGIN).to_text()
    except dns.exception.DNSException as error:
        parser.error(f"ORIGIN={given.origin} is not a zone name: {error}")
    return given


def port(preferred: int) -> int:
    """Return ``preferred`` if it is free, else another free port."""
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((LOOPBACK, preferred))
    except OSError:
        return free_port()
    return preferred


def transfer_key(home: Path) -> TsigKey:
    """Return the TSIG key of this demo, generated at the first start; only its owner can read the file."""
    path = home / "transfer.secret"
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(TsigKey().secret + "\n")
    return TsigKey(secret=path.read_text().strip())


def socket_directory(home: Path) -> Path:
    """Return the directory of the control socket: ``home``, or a short path if ``home`` is too long for a socket."""
    if len(str(home)) < LONGEST_SOCKET_DIRECTORY:
        return home
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    short = Path(tempfile.gettempdir()) / f"dnssecd-demo-{os.getuid()}-{digest}"
    short.mkdir(mode=0o700, exist_ok=True)
    return short


def zone_file(home: Path, given: Path | None) -> Path:
    """Return the zone file that the daemon watches: the user's file, or a copy of the example."""
    if given is not None:
        return given.resolve()
    copy = home / "zone"
    if not copy.exists():
        shutil.copyfile(EXAMPLE_ZONE, copy)
    return copy


def configuration(
    home: Path, origin: str, file: Path, key: TsigKey, second: Nameserver | None, dns: int
) -> Config:
    ports = DaemonPorts(dns, port(METRICS_PORT))
    secondaries = {second.name: second.port} if second else {}
    config = daemon_config(home, ports, key, {origin: file}, secondaries)
    config["server"]["control_socket"] = socket_directory(home) / "control.sock"
    config["log"] = {"format": "console", "level": "info"}
    return config


def local_secondary(home: Path, origin: str, key: TsigKey, primary: int) -> Nameserver | None:
    """Return the first of NSD, Knot and BIND that is installed, not yet started."""
    for kind in SECONDARY_KINDS:
        if find_program(kind.name):
            second = secondaries_of(home, [origin], primary, key, [kind])[kind.name]
            second.port = port(SECONDARY_PORT)
            return second
    return None


def question(name: str, rrtype: str, at: int, options: str = "") -> str:
    """Return a command line that queries the server at port ``at``, with an installed tool."""
    if find_program("dig"):
        return f"dig @{LOOPBACK} -p {at} {name} {rrtype} +dnssec {options}".rstrip()
    if find_program("kdig"):
        return f"kdig @{LOOPBACK} -p {at} {name} {rrtype} +dnssec {options}".rstrip()
    return f"{relative(Path(sys.executable))} -m demo.ask {LOOPBACK} {at} {name} {rrtype}"


def relative(path: Path) -> str:
    return os.path.relpath(path)


def suggestions(daemon: Dnssecd, origin: str, file: Path, second: Nameserver | None) -> list[str]:
    """Return command lines that work while the demo runs."""
    public = second.port if second else daemon.port
    config = relative(daemon.config_path)
    dnssecd = f"{relative(Path(sys.executable).with_name('dnssecd'))}"
    example = file.parent == daemon.directory
    lines = [question(origin, "SOA", public), question(origin, "DNSKEY", public, "+multiline")]
    if example:
        lines.append(question(f"www.{origin}", "A", public))
    if second is not None:
        lines.append(question(f"no-such-name.{origin}", "A", public))
    if find_program("dig"):
        key_file = relative(daemon.key.file(daemon.directory))
        lines.append(f"dig @{LOOPBACK} -p {daemon.port} -k {key_file} {origin} AXFR")
    lines.append(f"{dnssecd} status --config {config}")
    lines.append(f"{dnssecd} key list --config {config}")
    lines.append(f"{dnssecd} explain {origin} --config {config}")
    lines.append(f"{dnssecd} simulate {origin} --days 100 --config {config}")
    if example:
        lines.append(f"echo 'hello A 192.0.2.1' >> {relative(file)}")
        lines.append(question(f"hello.{origin}", "A", public))
    return lines


def announce(
    daemon: Dnssecd, origin: str, file: Path, second: Nameserver | None, seconds: float, more: Sequence[str]
) -> None:
    serial = daemon.serial(origin)
    made = int(daemon.metric("dnssecd_signatures_total"))
    lines = [
        "",
        f"{origin} is signed and served: serial {serial}, {made} signatures made, {seconds:.1f} s after start",
    ]
    lines.append(f"  dnssecd (hidden primary)  {LOOPBACK} port {daemon.port}   zone file {relative(file)}")
    if second is not None:
        lines.append(f"  {second.name + ' (secondary)':<24}  {LOOPBACK} port {second.port}")
    else:
        lines.append("  no secondary: nsd, knotd and named are not installed")
    lines += ["", "try this in another terminal:"]
    lines += [f"  {line}" for line in (*suggestions(daemon, origin, file, second), *more)]
    lines += ["", "Ctrl-C stops the demo; the next start serves the signed zone immediately", ""]
    print("\n".join(lines), flush=True)


def wait_for_secondary(second: Nameserver | None, origin: str, serial: int | None) -> None:
    """Wait for the secondary; report one that does not follow, and continue."""
    if second is None or serial is None:
        return
    try:
        second.wait_serial(origin, serial)
    except PeerError as error:
        print(f"{error}\n{second.log_tail()}", file=sys.stderr)


def serve(
    daemon: Dnssecd, origin: str, file: Path, second: Nameserver | None, more: Sequence[str] = ()
) -> int:
    """Run until interrupted or the daemon ends; return the exit status."""
    started = time.monotonic()
    if second is not None:
        second.start()
    daemon.spawn()
    deadline = started + FIRST_ANSWER_SECONDS
    while daemon.running and daemon.serial(origin) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if daemon.running:
        seconds = time.monotonic() - started
        wait_for_secondary(second, origin, daemon.serial(origin))
        announce(daemon, origin, file, second, seconds, more)
    assert daemon.process is not None
    return daemon.process.wait()


def main(words: Sequence[str] | None = None, prepare: Preparation = PLAIN) -> int:
    given = arguments(words)
    home: Path = (given.state / prepare.name / (given.origin.rstrip(".") or "root")).resolve()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    key, file, dns = transfer_key(home), zone_file(home, given.zone), port(DNS_PORT)
    second = local_secondary(home, given.origin, key, dns)
    config = configuration(home, given.origin, file, key, second, dns)
    try:
        more = prepare.prepare(home, config)
    except PeerError as error:
        print(error, file=sys.stderr)
        return 1
    daemon = Dnssecd(home, config, key)
    daemon.on_terminal = True
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell may start this process with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        status = serve(daemon, given.origin, file, second, more)
        print(f"dnssecd ended with status {status}; see its last messages above", file=sys.stderr)
        return status or 1
    except KeyboardInterrupt:
        print("\nstopping", flush=True)
        return daemon.stop(STOP_SECONDS) or 0
    except PeerError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        daemon.stop(STOP_SECONDS)
        if second is not None:
            second.stop()


if __name__ == "__main__":
    sys.exit(main())
