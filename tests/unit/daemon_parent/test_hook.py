"""The registrar hook: real programs that end well, badly, or not at all."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from dnssecd.ops.ds_hook import HookRunner
from dnssecd.procs.program import OUTPUT_MAX

DOCUMENT = {"id": "x", "zone": "example.com.", "ds": []}


def script(home: Path, text: str) -> list[str]:
    path = home / "hook.py"
    path.write_text(text)
    return [sys.executable, str(path)]


async def test_it_reads_the_document_and_succeeds(tmp_path: Path) -> None:
    argv = script(tmp_path, f"import sys; open({str(tmp_path / 'got')!r}, 'w').write(sys.stdin.read())")
    ran = await HookRunner().run(argv, DOCUMENT)
    assert ran.ok, ran
    assert json.loads((tmp_path / "got").read_text()) == DOCUMENT


async def test_a_status_is_a_failure_with_what_it_said(tmp_path: Path) -> None:
    argv = script(tmp_path, "import sys; print('no\\x1b[31m credit'); sys.exit(3)")
    ran = await HookRunner().run(argv, DOCUMENT)
    assert not ran.ok
    assert ran.detail.endswith("failed with status 3: no[31m credit")


async def test_one_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    text = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid)); print('working', flush=True); time.sleep(60)\n"
    )
    started = time.monotonic()
    ran = await HookRunner(deadline_s=1.5).run(script(tmp_path, text), DOCUMENT)
    assert time.monotonic() - started < 10
    assert not ran.ok
    assert "did not finish within 1.5 s and was killed: working" in ran.detail
    assert not _alive(int(pid.read_text()))


def _alive(pid: int) -> bool:
    """Killed, it is gone or (waiting for init to collect it) a zombie."""
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state == "Z":
            return False
        time.sleep(0.01)
    return True


async def test_output_without_end_is_cut(tmp_path: Path) -> None:
    argv = script(tmp_path, "print('x' * 1_000_000)")
    ran = await HookRunner().run(argv, DOCUMENT)
    assert ran.ok
    assert len(ran.output) <= OUTPUT_MAX


async def test_one_that_reads_nothing_is_no_trouble(tmp_path: Path) -> None:
    ran = await HookRunner().run(script(tmp_path, ""), {"id": "x", "pad": "x" * 1_000_000})
    assert ran.ok, ran


async def test_a_program_that_is_not_there() -> None:
    ran = await HookRunner().run(["/nonexistent/hook", "--token", "hunter2"], DOCUMENT)
    assert ran.detail == "/nonexistent/hook cannot be run: No such file or directory"


async def test_no_shell_looks_at_the_arguments(tmp_path: Path) -> None:
    argv = [*script(tmp_path, "import sys; print(sys.argv[1:])"), "$(touch x)", "; exit 1"]
    ran = await HookRunner().run(argv, DOCUMENT)
    assert ran.ok
    assert "$(touch x)" in ran.output


async def test_secrets_of_our_environment_stay_here(tmp_path: Path) -> None:
    os.environ["DNSSECD_TEST_SECRET"] = "hunter2"
    try:
        ran = await HookRunner().run(script(tmp_path, "import os; print(dict(os.environ))"), DOCUMENT)
    finally:
        del os.environ["DNSSECD_TEST_SECRET"]
    assert "hunter2" not in ran.output
    assert "PATH" in ran.output


async def test_few_run_at_one_time(tmp_path: Path) -> None:
    text = (
        "import os, sys, time\n"
        f"home = {str(tmp_path)!r}\n"
        "open(f'{home}/run-{os.getpid()}', 'w').close()\n"
        "print(len([n for n in os.listdir(home) if n.startswith('run-')])); sys.stdout.flush()\n"
        "time.sleep(0.1); os.remove(f'{home}/run-{os.getpid()}')\n"
    )
    argv, runner = script(tmp_path, text), HookRunner(running_max=2)
    ran = await asyncio.gather(*(runner.run(argv, DOCUMENT) for _ in range(6)))
    assert all(each.ok for each in ran), ran
    assert max(int(each.output) for each in ran) <= 2
