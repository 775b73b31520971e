"""A process that dies at any write to the store leaves the old version or the new one, never a third."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dnssecd.core.verify import DenialExpectation, Expectation, verify_zone
from dnssecd.core.zone.zoneview import JournalStep
from tests.faults.kill_child import EDITED
from tests.pipeline_zone import NOW, ZONE, PipelineZone

WRITES_MAX = 200


def child(home: Path, signer: str, step: int, when: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.faults.kill_child", str(home), signer, str(step), when]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.timeout(300)
def test_death_at_every_write_leaves_old_or_new(tmp_path: Path, signer: str) -> None:
    start = tmp_path / "start"
    start.mkdir()
    zone = PipelineZone(start, signer)
    assert zone.load(ZONE).serial == 1
    zone.close()
    seen = set()
    for step in range(1, WRITES_MAX):
        when = "after" if step % 2 else "before"
        home = tmp_path / f"{step}{when}"
        shutil.copytree(start, home)
        ended = child(home, signer, step, when)
        seen.add(check(home, signer))
        if ended.returncode == 0:
            break
        assert ended.returncode == 9, ended.stderr
        shutil.rmtree(home)
    else:
        pytest.fail("the child never got to its end")
    assert step > 10
    assert seen == {1, 2}


def check(home: Path, signer: str) -> int:
    """Check that what is stored is whole; then finish the interrupted work. Returns the serial found."""
    zone = PipelineZone(home, signer)
    expectation = Expectation(zone.spec.origin, NOW, denial=DenialExpectation("nsec3", opt_out=False))
    with zone.db.snapshot() as snapshot:
        assert verify_zone(snapshot, expectation) == []
        serial = snapshot.serial
        steps: list[JournalStep] = list(snapshot.journal(1))
        assert [(s.from_serial, s.to_serial) for s in steps] == ([] if serial == 1 else [(1, 2)])
        www = snapshot.rrset(b"www\x00", 1)
        assert www is not None
        assert www.rdata[-1] == (2 if serial == 1 else 22)
    assert zone.load(EDITED).serial == 2
    zone.close()
    return serial
