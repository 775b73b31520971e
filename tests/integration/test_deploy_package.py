"""The Debian package: what is in it, and both services run from what it unpacks to, as it is configured."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from dnssecd.config import Address
from dnssecd.config.first_config import FirstConfig, FirstZone, render_config
from tests.integration.own_root import enter, judge, prepare_trial
from tests.integration.test_readme import commands, first_zone_section
from tests.peers.dnssecd import DaemonPorts
from tests.peers.nameserver import soa_serial_at
from tests.peers.paths import REPOSITORY, program
from tests.peers.process import LOOPBACK, ServerProcess, Servers, wait_until

DEBIAN = REPOSITORY / "deploy/packaging/debian"

pytestmark = pytest.mark.integration


def run(*words: str | Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, words)),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("package")
    run(
        REPOSITORY / "deploy/packaging/make-deb",
        directory,
        PYTHON=sys.executable,
        COMPRESSION="none",
        PATH=f"{os.environ['PATH']}:/usr/sbin:/sbin",
    )
    (found,) = directory.glob("*.deb")
    return found


@pytest.fixture(scope="module")
def root(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("root")
    run("dpkg-deb", "-x", package, directory)
    python = directory / "usr/lib/dnssecd/bin/python"
    if not python.exists():  # the tests run with another Python than Debian's
        python.unlink()
        python.symlink_to(Path(sys.executable).resolve())
    return directory


def test_content(package: Path) -> None:
    listed = run("dpkg-deb", "-c", package)
    owners = {line.split()[1] for line in listed.splitlines()}
    assert owners == {"root/root"}
    modes = {line.split()[5]: line.split()[0] for line in listed.splitlines()}
    for path in (
        "./usr/bin/dnssecd",
        "./usr/lib/systemd/system/dnssecd.service",
        "./usr/lib/systemd/system/dnssecd-signer.service",
        "./usr/lib/sysusers.d/dnssecd.conf",
        "./usr/lib/tmpfiles.d/dnssecd.conf",
        "./usr/share/doc/dnssecd/SECURITY.md",
        "./usr/share/doc/dnssecd/NOTICE",
        "./usr/share/doc/dnssecd/sbom.cdx.json",
        "./usr/share/man/man5/dnssecd.toml.5.gz",
        "./usr/share/man/man8/dnssecd.8.gz",
        "./usr/share/man/man8/dnssecd-zone.8.gz",
        "./usr/share/bash-completion/completions/dnssecd",
        "./usr/share/doc/dnssecd/operations.md",
        "./usr/share/doc/dnssecd/copyright",
        "./usr/share/doc/dnssecd/examples/prometheus/dnssecd.rules.yml",
    ):
        assert path in modes, path
    assert modes["./etc/dnssecd/secrets/"] == "drwx------"
    assert not [path for path in modes if path.startswith("./etc/") and not path.endswith("/")], (
        "init writes it"
    )
    assert [path for path, mode in modes.items() if mode[0] != "l" and mode[8] == "w"] == [], "world-writable"
    fields = run("dpkg-deb", "-f", package)
    assert "Package: dnssecd\n" in fields
    assert re.search(rf"Depends: python3\.{sys.version_info.minor}, ", fields)


@pytest.mark.soak
def test_the_same_sources_give_the_same_package(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        run(
            REPOSITORY / "deploy/packaging/make-deb",
            tmp_path / name,
            PYTHON=sys.executable,
            SOURCE_DATE_EPOCH="1700000000",
        )
        (package,) = (tmp_path / name).glob("*.deb")
        made.append(package.read_bytes())
    assert made[0] == made[1]


def test_nothing_of_the_tests_is_in_it(root: Path) -> None:
    packages = {path.name for path in (root / "usr/lib/dnssecd").glob("lib/python3*/site-packages/*")}
    assert {"dnssecd", "dns", "cryptography", "pkcs11", "apscheduler", "structlog"} <= packages
    assert {"psycopg", "psycopg_binary", "psycopg_pool"} <= packages, "for [cluster]"
    assert not {"pytest", "mypy", "hypothesis", "pip", "setuptools", "tests", "demo"} & packages


def test_a_cluster_needs_no_further_package(root: Path) -> None:
    script = "import psycopg, psycopg_pool; print(psycopg.pq.__impl__)"
    assert run(root / "usr/lib/dnssecd/bin/python", "-I", "-c", script) == "binary\n"


def test_byte_code_is_there(root: Path) -> None:
    """The services may write nowhere near it, so each start would compile everything again."""
    script = """
import sys, dnssecd.daemon.run
print(*filter(None, (getattr(module, "__cached__", None) for module in list(sys.modules.values()))), sep="\\n")
"""
    cached = run(root / "usr/lib/dnssecd/bin/python", "-IB", "-c", script).split()
    ours = [Path(path) for path in cached if path.startswith(str(root))]
    assert len(ours) > 200
    assert [path for path in ours if not path.exists()] == []


def test_scripts_of_the_package() -> None:
    for name in ("postinst", "prerm", "postrm"):
        run("sh", "-n", DEBIAN / name)
    assert "/var/lib/dnssecd" not in re.findall(r"rm -rf (.*)", (DEBIAN / "postrm").read_text())


def test_completion(root: Path) -> None:
    """bash completes commands by asking the program."""
    script = f"""
        source {root}/usr/share/bash-completion/completions/dnssecd
        COMP_WORDS=(dnssecd zo); COMP_CWORD=1
        _dnssecd_completion {root}/usr/bin/dnssecd.test
        echo "${{COMPREPLY[@]}}"
    """
    command = root / "usr/bin/dnssecd.test"
    if not command.exists():
        python = root / "usr/lib/dnssecd/bin/python"
        command.write_text(f"#!/bin/sh\nexec {python} -I {root}/usr/lib/dnssecd/bin/dnssecd\n")
        command.chmod(0o755)
    assert run("bash", "-c", script).split() == ["zone"]


class Installed(ServerProcess):
    """A service from the unpacked package. The command's first line names its final place, so it is read here."""

    def __init__(self, root: Path, home: Path, name: str, command: str, credentials: Path) -> None:
        self.name = name
        super().__init__(home)
        self._root, self._command, self._credentials = root, command, credentials
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._notify.bind(str(home / f"{name}.notify"))

    def command(self) -> list[str]:
        home = self._root / "usr/lib/dnssecd/bin"
        return [str(home / "python"), "-I", str(home / "dnssecd"), self._command]

    def environment(self) -> Mapping[str, str]:
        """As systemd makes it: nothing of ours."""
        return {
            "PATH": "/usr/bin:/bin",
            "NOTIFY_SOCKET": str(self.directory / f"{self.name}.notify"),
            "DNSSECD_CONFIG": str(self.directory / "config.toml"),
            "CREDENTIALS_DIRECTORY": str(self._credentials),
            "STATE_DIRECTORY": str(self.directory / "signer"),
        }

    def is_ready(self) -> bool:
        try:
            return b"READY=1" in self._notify.recv(4096)
        except BlockingIOError:
            return False

    def stop(self, timeout: float = 15.0) -> int | None:
        status = super().stop(timeout)
        self._notify.close()
        return status


def test_it_runs_as_installed(root: Path, peer_dir: Path, servers: Servers) -> None:
    """With the configuration that `dnssecd init` writes for services; only its places and ports are others."""
    ports = DaemonPorts.free()
    credentials = peer_dir / "credentials"
    credentials.mkdir()
    (credentials / "passphrase").write_text("as made at installation\n")
    (peer_dir / "zone").write_text(
        '@ SOA ns.invalid. h.invalid. 1 1 1 1 60\n@ NS ns.invalid.\nhello TXT "hi"\n'
    )
    first = FirstConfig(
        listen=(Address(LOOPBACK, ports.dns),),
        zones=(FirstZone("zone.example.", str(peer_dir / "zone")),),
        secondaries=(),
        keys=peer_dir / "signer/keys",
        state=peer_dir / "state",
        control=peer_dir / "control.sock",
        signer=peer_dir / "run/signer.sock",
        passphrase=credentials / "passphrase",
        parent=(),
    )
    (peer_dir / "config.toml").write_text(render_config(first) + '[metrics]\nlisten = ""\n')
    (peer_dir / "state").mkdir(mode=0o700)

    signer = servers.start(Installed(root, peer_dir, "signer", "signer", credentials))
    daemon = servers.start(Installed(root, peer_dir, "daemon", "run", credentials))
    wait_until(lambda: soa_serial_at(ports.dns, "zone.example."), "the zone is signed and served")
    answer = run(program("dig"), f"@{LOOPBACK}", "-p", str(ports.dns), "+dnssec", "hello.zone.example", "TXT")
    assert "RRSIG" in answer
    assert list((peer_dir / "signer/keys").glob("*.key")), "keys are the key service's"
    assert not list((peer_dir / "state").rglob("*.key"))
    assert daemon.stop() == 0
    assert signer.stop() == 0


@pytest.mark.timeout(300)
def test_first_zone_of_the_readme(package: Path, tmp_path: Path) -> None:
    """Installed by dpkg on this machine's own root, under an overlay that is thrown away; then as README says."""
    assert {"make deb", "apt install ./dist/dnssecd_*.deb"} <= set(commands(first_zone_section()))
    trial = prepare_trial(tmp_path)
    shutil.copy(package, trial / "dnssecd.deb")
    script = "dpkg -i /trial/dnssecd.deb\n"
    if not Path(f"/usr/bin/python3.{sys.version_info.minor}").exists():  # the tests run with another Python
        python = Path(sys.executable).resolve()
        script = f"dpkg -i --force-depends /trial/dnssecd.deb\nln -sf {python} /usr/lib/dnssecd/bin/python\n"
    (trial / "script").write_text(f"{script}exec bash /trial/first_zone.sh /trial/commands\n")
    judge(enter(Path("/"), trial, "script"))
