"""A Debian root of one's own for a test: an overlay that is thrown away, in namespaces of its own.

systemctl there is `machine/systemctl`: the system is not booted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.test_readme import commands, first_zone_section
from tests.peers.paths import REPOSITORY, find_program

HERE = Path(__file__).parent / "machine"
#: Releases of Debian that a bare root is made of.
SUITES = ("bookworm", "trixie")
PACKAGES = "python3,iproute2,bind9,bind9-dnsutils,util-linux,ca-certificates"
#: Of each step: packages are unpacked and built, in minutes where the machine is idle, far longer beside others.
LIMIT_S = 3_600.0
#: Mounts an overlay over a root, with its own network if asked, and runs a script there. All ends with the process.
ENTER = """
set -eu
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
cd "$2/root"
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount --rbind /dev dev
mkdir -p trial usr/local/bin
mount --bind "$3" trial
cp trial/systemctl usr/local/bin/systemctl
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
    chroot . /bin/bash -e "/trial/$4"
"""


def run(*words: str | Path, timeout: float, **environment: str) -> str:
    where = {**os.environ, **environment, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=timeout, check=False, env=where
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-6000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def enter(root: Path, trial: Path, script: str, *, network: bool = False, timeout: float = 240) -> str:
    """Run a script of the trial's folder in an overlay of *root*; network: with this machine's, else with none."""
    mount = trial / "mount"
    mount.mkdir(exist_ok=True)
    alone = [] if network else ["--net"]
    return run(
        "unshare", "--mount", "--pid", "--fork", "--kill-child", *alone, "sh", "-c", ENTER, "sh",
        root, mount, trial, script, timeout=timeout,
    )  # fmt: skip


@contextmanager
def bare_root(suite: str, temporary: pytest.TempPathFactory) -> Iterator[Path]:
    """Provide a minimal Debian; $DNSSECD_ROOTS keeps it for the next time."""
    if os.geteuid() != 0:
        pytest.skip("a root of its own takes root")
    if find_program("debootstrap") is None:
        run(REPOSITORY / "scripts/apt-install", "debootstrap", timeout=LIMIT_S)
    kept = os.environ.get("DNSSECD_ROOTS")
    path = (Path(kept) if kept else temporary.mktemp("bare")) / suite
    if not (path / "etc/debian_version").is_file():
        # Under another name until it is complete: one that was interrupted is not taken for a whole one the next time.
        part = path.with_name(f"{suite}.part")
        shutil.rmtree(part, ignore_errors=True)
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, part, timeout=LIMIT_S)
        part.rename(path)
    yield path
    if not kept:
        shutil.rmtree(path, ignore_errors=True)


def registries() -> str:
    """Return shell lines that let apt and pip in the chroot find what they find here."""
    lines = ["export PIP_DISABLE_PIP_VERSION_CHECK=1 DEBIAN_FRONTEND=noninteractive"]
    if certificate := os.environ.get("PIP_CERT"):
        lines.append(f"export PIP_CERT=/trial/{Path(certificate).name}")
    for name in ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_PROXY"):
        if value := os.environ.get(name):
            lines.append(f"export {name}='{value}'")
    lines += ["rm -f /etc/resolv.conf", "cp /trial/resolv.conf /etc/resolv.conf", "apt-get -q update"]
    return "\n".join([*lines, ""])


def copy_network(trial: Path) -> None:
    """Put what ``registries`` needs into the trial's folder."""
    shutil.copy("/etc/resolv.conf", trial / "resolv.conf")
    if certificate := os.environ.get("PIP_CERT"):
        shutil.copy(certificate, trial)


def prepare_trial(place: Path) -> Path:
    """Return the folder that the system sees as /trial: scripts, and the README's lines from `dnssecd init` on."""
    if os.geteuid() != 0:
        pytest.skip("a root of its own takes root")
    for name in ("systemctl", "first_zone.sh"):
        shutil.copy(HERE / name, place)
    written = commands(first_zone_section())
    begin = next(number for number, line in enumerate(written) if line.startswith("dnssecd init"))
    (place / "commands").write_text("\n".join(written[begin:]) + "\n")
    return place


def judge(output: str) -> None:
    assert output.endswith("first zone: done\n"), output
    lines = output.splitlines()
    uids = [line.split()[1] for line in lines if line.startswith("Uid:")]
    assert len(set(uids) - {"0"}) == 2, "two users, neither of them root"
    assert "-r-------- dnssecd:dnssecd /etc/dnssecd/tsig/ns1.secret" in lines
    assert "-rw------- root:root /etc/credstore/dnssecd.passphrase" in lines
    assert "drwx------ dnssecd-signer:dnssecd-link /var/lib/dnssecd-signer" in lines
    assert "drwx------ dnssecd:dnssecd /var/lib/dnssecd" in lines
