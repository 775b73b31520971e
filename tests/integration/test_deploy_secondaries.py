"""The example configurations of secondaries: each real server takes its file, follows the daemon, and serves proofs."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Mapping
from pathlib import Path

import dns.rdatatype
import pytest

from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file
from tests.peers.nameserver import Nameserver, SecondaryZone, ask
from tests.peers.paths import REPOSITORY, program
from tests.peers.process import LOOPBACK, Servers, wait_until
from tests.peers.tsig import TsigKey

EXAMPLES = REPOSITORY / "deploy/secondaries"
ZONE = "example.com."
KEY = TsigKey(secret="c2VjcmV0IG9mIHRoZSBleGFtcGxlcywgbWFrZSB5b3VycyE=")
PDNS_SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
TEXT = """$TTL 300
@ SOA ns hostmaster {serial} 3600 600 604800 300
@ NS ns
ns A 198.51.100.53
www A 192.0.2.80
{more}
"""

pytestmark = pytest.mark.integration


def changed(name: str, changes: Mapping[str, str]) -> str:
    """An example with its addresses and directories replaced; each must be there, so that none is overlooked."""
    text = (EXAMPLES / name).read_text()
    for old, new in changes.items():
        assert old in text, f"{name} has no {old!r}"
        text = text.replace(old, new)
    bare = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("#", "//")))
    assert "192.0.2.1" not in bare
    assert "198.51.100" not in bare
    return text


class Example(Nameserver):
    """A server that is started with its example."""

    def __init__(self, directory: Path, primary: int) -> None:
        super().__init__(directory, [SecondaryZone(ZONE, primary, KEY)])
        self.primary = primary


class ExampleNamed(Example):
    name = "named"

    def command(self) -> list[str]:
        return [program("named"), "-f", "-L", "/dev/stderr", "-c", str(self.config_path), "-n", "1"]

    def configuration(self) -> str:
        text = changed(
            "named.conf",
            {
                "192.0.2.1 port 53": f"{LOOPBACK} port {self.primary}",
                "port 53 { 198.51.100.53; }": f"port {self.port} {{ {LOOPBACK}; }}",
                "/var/cache/bind": str(self.directory),
                "recursion no;": "recursion no; pid-file none; session-keyfile none;",
            },
        )
        return text + "controls { };\n"


class ExampleKnotd(Example):
    name = "knotd"

    def command(self) -> list[str]:
        return [program("knotd"), "-c", str(self.config_path)]

    def configuration(self) -> str:
        return changed(
            "knot.conf",
            {
                "198.51.100.53@53": f"{LOOPBACK}@{self.port}",
                "192.0.2.1@53": f"{LOOPBACK}@{self.primary}",
                "address: 192.0.2.1\n": f"address: {LOOPBACK}\n",
                "/var/lib/knot": str(self.directory),
                "/run/knot": str(self.directory),
                "    user: knot:knot\n": "",
                "target: syslog": "target: stderr",
            },
        )


class ExampleNsd(Example):
    name = "nsd"

    def command(self) -> list[str]:
        return [program("nsd"), "-d", "-c", str(self.config_path)]

    def configuration(self) -> str:
        return changed(
            "nsd.conf",
            {
                "198.51.100.53@53": f"{LOOPBACK}@{self.port}",
                "192.0.2.1@53": f"{LOOPBACK}@{self.primary}",
                "allow-notify: 192.0.2.1": f"allow-notify: {LOOPBACK}",
                "/var/lib/nsd": str(self.directory),
                "/run/nsd": str(self.directory),
                "username: nsd": 'username: ""',
                "server-count: 2": f'server-count: 1\n    xfrdir: "{self.directory}"\n    database: ""',
            },
        )


class ExamplePdns(Example):
    name = "pdns"

    def command(self) -> list[str]:
        where = [f"--config-dir={self.directory}", "--daemon=no", "--guardian=no"]
        return [program("pdns_server"), *where, "--disable-syslog"]

    def configuration(self) -> str:
        return changed(
            "pdns.conf",
            {
                "/var/lib/powerdns": str(self.directory),
                "/run/pdns": str(self.directory),
                "local-address=198.51.100.53": f"local-address={LOOPBACK}",
                "local-port=53": f"local-port={self.port}",
                "allow-notify-from=192.0.2.1": f"allow-notify-from={LOOPBACK}",
                "setuid=pdns\nsetgid=pdns\n": "",
            },
        )

    def spawn(self) -> None:
        database = sqlite3.connect(self.directory / "pdns.sqlite3")
        database.executescript(PDNS_SCHEMA.read_text())
        database.close()
        self.config_path.write_text(self.configuration())
        script = changed(
            "pdns-zone.sh",
            {
                "192.0.2.1:53": f"{LOOPBACK}:{self.primary}",
                "pdnsutil ": f"{program('pdnsutil')} --config-dir={self.directory} ",
            },
        )
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        super().spawn()


KINDS: tuple[type[Example], ...] = (ExampleNamed, ExampleKnotd, ExampleNsd, ExamplePdns)


def test_secondaries_as_in_the_examples(peer_dir: Path, servers: Servers) -> None:
    zone = peer_dir / "example.com.zone"
    zone.write_text(TEXT.format(serial=1, more=""))
    ports = DaemonPorts.free()
    secondaries = [kind(peer_dir / kind.name, ports.dns) for kind in KINDS]
    addresses = {secondary.name: secondary.port for secondary in secondaries}
    config = daemon_config(peer_dir, ports, KEY, {ZONE: zone}, addresses)
    for secondary in secondaries:
        servers.add(secondary).spawn()
    daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, KEY))
    for secondary in secondaries:
        secondary.wait_ready()

    first = daemon.wait_serial_other_than(ZONE, None)
    for secondary in secondaries:
        secondary.wait_serial(ZONE, first)
        answer = ask(secondary.port, f"nobody.{ZONE}", "A", dnssec=True)
        assert answer is not None
        kinds = {rrset.rdtype for rrset in answer.authority}
        wanted = {dns.rdatatype.SOA, dns.rdatatype.NSEC3, dns.rdatatype.RRSIG}
        assert kinds == wanted, f"{secondary.name}: {answer}"

    replace_file(zone, TEXT.format(serial=2, more="new A 192.0.2.81"))
    second = daemon.wait_serial_other_than(ZONE, first)
    for secondary in secondaries:
        secondary.wait_serial(ZONE, second)

    def all_seen() -> bool:
        seen = daemon.zone_status(ZONE)["secondaries"]
        return {one["name"]: one["serial"] for one in seen} == dict.fromkeys(addresses, second)

    wait_until(all_seen, "the daemon has seen all secondaries serve the version")


@pytest.mark.parametrize(
    "command",
    [
        ("named-checkconf", "named.conf"),
        ("knotc", "-c", "knot.conf", "conf-check"),
        ("nsd-checkconf", "nsd.conf"),
        ("pdns_server", "--config-dir=.", "--config=check"),
    ],
    ids=lambda command: command[0],
)
def test_examples_as_they_are_are_correct(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [program(command[0]), *command[1:]],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
