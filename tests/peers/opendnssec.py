"""OpenDNSSEC 2: enforcer and signer in a directory of the test's own, their keys in SoftHSM.

The signer's control socket has a fixed place, /run/opendnssec, so both run in a mount namespace of their own, with
a /run/opendnssec that nobody else sees: that needs root.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.peers.paths import program
from tests.peers.process import LOOPBACK, PeerError, ServerProcess, free_port, wait_until

SCHEMA = Path("/usr/share/opendnssec/schema.sqlite")
COMMAND_SECONDS = 30.0
QUICK = "PT1S"


def policy(name: str, keys: str, interval: str = QUICK, soa_ttl: str = QUICK, validity: str = "P14D") -> str:
    """A policy whose waits all take ``interval``; keys: e.g. ``ksk 13 256, zsk 13 256``.

    soa_ttl: TTL and minimum of the SOA record, which OpenDNSSEC changes to what its policy says.
    """
    kinds = ""
    for key in keys.split(","):
        role, algorithm, bits = key.split()
        kinds += (
            f'<{role.upper()}><Algorithm length="{bits}">{algorithm}</Algorithm><Lifetime>P365D</Lifetime>'
            f"<Repository>SoftHSM</Repository></{role.upper()}>"
        )
    soa = f"<SOA><TTL>{soa_ttl}</TTL><Minimum>{soa_ttl}</Minimum>"
    return f"""<Policy name="{name}"><Description>{name}</Description>
<Signatures><Resign>PT2H</Resign><Refresh>P3D</Refresh><Validity><Default>{validity}</Default>
<Denial>{validity}</Denial></Validity><Jitter>PT1H</Jitter><InceptionOffset>PT1H</InceptionOffset>
<MaxZoneTTL>{interval}</MaxZoneTTL></Signatures>
<Denial><NSEC3><Resalt>P100D</Resalt><Hash><Algorithm>1</Algorithm><Iterations>0</Iterations><Salt length="0"/></Hash>
</NSEC3></Denial>
<Keys><TTL>{interval}</TTL><RetireSafety>{interval}</RetireSafety><PublishSafety>{interval}</PublishSafety>
<Purge>P14D</Purge>{kinds}</Keys>
<Zone><PropagationDelay>{interval}</PropagationDelay>{soa}<Serial>counter</Serial></SOA></Zone>
<Parent><PropagationDelay>{interval}</PropagationDelay><DS><TTL>{interval}</TTL></DS>{soa}</SOA></Parent>
</Policy>
"""


class OpenDnssec(ServerProcess):
    """``ods-enforcerd`` and ``ods-signerd`` with the token ``label`` of the SoftHSM that SOFTHSM2_CONF names."""

    name = "opendnssec"

    def __init__(self, directory: Path, module: str, label: str, pin: str, policies: str) -> None:
        super().__init__(directory)
        self.socket = directory / "enforcer.sock"
        self._token = (module, label, pin)
        self.policies = policies
        self.port = free_port()

    def command(self) -> list[str]:
        config = shlex.quote(str(self.directory / "conf.xml"))
        signer, enforcer = program("ods-signerd"), program("ods-enforcerd")
        # One after the other: SoftHSM gave CKR_GENERAL_ERROR to the slower of two that started at once.
        script = (
            "mount -t tmpfs -o mode=0755 tmpfs /run/opendnssec\n"
            f"(until test -S {shlex.quote(str(self.socket))}; do sleep 0.1; done; exec {signer} -d -c {config}) &\n"
            f"exec {enforcer} -d -c {config}\n"
        )
        return ["unshare", "-m", "--propagation", "private", "sh", "-e", "-c", script]

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}

    def spawn(self) -> None:
        if not (self.directory / "kasp.db").exists():
            self._make_files()
        super().spawn()

    def is_ready(self) -> bool:
        return self.socket.exists() and "policy" in self.cli("help").lower()

    def stop(self, timeout: float = 15.0) -> int | None:
        """The signer is a child of nobody we know: the whole group goes."""
        status = super().stop(timeout)
        self.kill()
        return status

    def cli(self, *words: str) -> str:
        """What ``ods-enforcer`` prints, without its first line about the socket."""
        command = [program("ods-enforcer"), "-s", str(self.socket), *words]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            env=self.environment(),
            check=False,
        )
        return done.stdout.partition("\n")[2]

    def add_zone(self, zone: str, policy_name: str, unsigned: Path) -> Path:
        """Let a zone file be signed; return the place of the signed one, which is there a little later."""
        signed = self.directory / "signed" / zone
        said = self.cli(
            "zone", "add", "-z", zone, "-p", policy_name, "-s", str(self.directory / "signconf" / f"{zone}.xml"),
            "-j", "File", "-i", str(unsigned), "-q", "File", "-o", str(signed),
        )  # fmt: skip
        if "added successfully" not in said:
            raise PeerError(f"zone {zone} was not added: {said}\n{self.log_tail()}")
        return signed

    def key_list(self) -> str:
        """Both listings that a migration needs."""
        return self.cli("key", "list", "-v", "-a", "-p") + self.cli("key", "list", "-d", "-a", "-p")

    def wait_key(self, zone: str, role: str, life: str, timeout: float = 60.0) -> str:
        """Return the key tag of the zone's KSK, ZSK or CSK that is in a state of life, once there is one."""

        def there() -> str:
            listed = [line.split(";") for line in self.cli("key", "list", "-v", "-a", "-p").splitlines()]
            return next((words[8] for words in listed if words[:3] == [zone, role, life]), "")

        try:
            return wait_until(there, f"a {role} of {zone} is {life}", timeout, every=0.3)
        except PeerError as error:
            raise PeerError(f"{error}\n{self.key_list()}\n{self.log_tail()}") from None

    def see_ds(self, zone: str) -> None:
        """Say that the parent has the KSK's DS, which is believed only once the DS was to be submitted."""
        tag = self.wait_key(zone, "KSK", "ready")

        def believed() -> bool:
            return "1 KSKs changed" in self.cli("key", "ds-seen", "-z", zone, "-x", tag)

        wait_until(believed, f"OpenDNSSEC takes the DS of key {tag} as seen", 30, every=0.3)
        self.wait_key(zone, "KSK", "active")

    def _make_files(self) -> None:
        for name in ("enforcer", "signer", "signed", "signconf"):
            (self.directory / name).mkdir(exist_ok=True)
        module, label, pin = self._token
        here = self.directory
        (here / "conf.xml").write_text(f"""<?xml version="1.0" encoding="UTF-8"?>
<Configuration><RepositoryList><Repository name="SoftHSM"><Module>{module}</Module><TokenLabel>{label}</TokenLabel>
<PIN>{pin}</PIN><SkipPublicKey/></Repository></RepositoryList>
<Common><Logging><Verbosity>3</Verbosity></Logging><PolicyFile>{here}/kasp.xml</PolicyFile>
<ZoneListFile>{here}/zonelist.xml</ZoneListFile></Common>
<Enforcer><Datastore><SQLite>{here}/kasp.db</SQLite></Datastore>
<AutomaticKeyGenerationPeriod>P1D</AutomaticKeyGenerationPeriod>
<PidFile>{here}/enforcerd.pid</PidFile><SocketFile>{self.socket}</SocketFile>
<WorkingDirectory>{here}/enforcer</WorkingDirectory></Enforcer>
<Signer><WorkingDirectory>{here}/signer</WorkingDirectory><WorkerThreads>1</WorkerThreads>
<Listener><Interface><Address>{LOOPBACK}</Address><Port>{self.port}</Port></Interface></Listener></Signer>
</Configuration>
""")
        (here / "kasp.xml").write_text(
            f'<?xml version="1.0" encoding="UTF-8"?>\n<KASP>{self.policies}</KASP>\n'
        )
        (here / "zonelist.xml").write_text('<?xml version="1.0" encoding="UTF-8"?>\n<ZoneList/>\n')
        with sqlite3.connect(here / "kasp.db") as database:
            database.executescript(SCHEMA.read_text())
            database.execute("INSERT INTO databaseVersion VALUES (NULL, 1, 1)")
        database.close()
