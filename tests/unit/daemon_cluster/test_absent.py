"""Without ``[cluster]`` nothing of a cluster is loaded: no client of PostgreSQL, none of the rooms."""

from __future__ import annotations

import subprocess
import sys

LOADED = (
    "import sys; import {module}; "
    "print([n for n in sys.modules if n.split('.')[0].startswith('psycopg') or n.startswith('dnssecd.cluster')])"
)


def loaded_by(module: str) -> str:
    command = [sys.executable, "-c", LOADED.format(module=module)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def test_the_daemon_loads_nothing_of_it() -> None:
    assert loaded_by("dnssecd.daemon.run") == "[]"


def test_workers_and_commands_load_nothing_of_it() -> None:
    assert loaded_by("dnssecd.pipeline.workers.worker") == "[]"
    assert loaded_by("dnssecd.cli.app") == "[]"
