"""A Debian root of one's own for a test: an overlay that is thrown away, in namespaces of its own.

systemctl there is `machine/systemctl`: the system is not booted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.test_readme import commands, first_zone_section

HERE = Path(__file__).parent / "machine"
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
