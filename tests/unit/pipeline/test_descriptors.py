"""The limit on open files is raised; where it cannot be, fewer databases are kept open, and that is told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dnssecd.daemon.fd_limit import DATABASES_MIN, WANTED, databases_max, shortage
from dnssecd.daemon.zones.databases import OPEN_MAX

LIMITED = """
import resource, sys
from dnssecd.daemon.fd_limit import allow_many
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
print(allow_many(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "becomes"), [(256, 4096, 4096), (256, 512, 512), (1024, 18000, WANTED)]
)
def test_the_soft_limit_is_raised_as_far_as_is_wanted_and_allowed(soft: int, hard: int, becomes: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(soft), str(hard)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.split() == [str(becomes)] * 2


def test_few_files_are_few_databases_and_a_message() -> None:
    assert databases_max(WANTED) == OPEN_MAX
    assert shortage(WANTED) == ""
    assert databases_max(2048) == 128
    assert databases_max(256) == DATABASES_MIN
    assert "LimitNOFILE" in shortage(1024)
