"""Children run isolated, and nothing but `procs.child` starts one."""

import ast
import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dnssecd
from dnssecd.procs import child

PACKAGE = Path(dnssecd.__file__).parent
#: This one starts programs of the operator's; no module of ours.
OPERATORS_PROGRAMS = {"procs/program.py", "procs/reader_program.py"}
STARTS = {
    "Popen",
    "create_subprocess_exec",
    "create_subprocess_shell",
    "posix_spawn",
    "spawnv",
    "execv",
    "fork",
}


def names_in(path: Path) -> set[str]:
    """Names and attributes that a module mentions outside annotations, and its string constants."""
    tree = ast.parse(path.read_text())
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = {node.attr for node in called if isinstance(node, ast.Attribute)}
    found |= {node.id for node in called if isinstance(node, ast.Name)}
    attributes = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    found |= {"sys.executable"} & {f"sys.{name}" for name in attributes}
    return found | {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value in ("-m", "-c")
    }


def test_no_other_module_starts_a_child_process() -> None:
    starters = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if names_in(path) & (STARTS | {"sys.executable", "-m", "-c"})
    }
    assert starters == OPERATORS_PROGRAMS | {"procs/child.py"}


def test_nothing_else_is_imported_that_starts_processes() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert "multiprocessing" not in text, path
        assert "ProcessPoolExecutor" not in text, path
        assert "subprocess.run" not in text, path


def ask(code: str, monkeypatch: pytest.MonkeyPatch, env: dict[str, str] | None = None) -> object:
    """What a child prints that runs `code` in place of a module, with all else as it is."""
    monkeypatch.setattr(
        child, "command", lambda module, arguments: [sys.executable, "-P", "-c", code, *map(str, arguments)]
    )
    process = child.start("dnssecd.x", stdout=subprocess.PIPE, env=env)
    output, _ = process.communicate(timeout=20)
    return json.loads(output)


def test_the_command_is_safe() -> None:
    assert child.command("dnssecd.x", (1, 2)) == [sys.executable, "-P", "-m", "dnssecd.x", "1", "2"]
    with pytest.raises(AssertionError):
        child.command("somebody.elses")


def test_a_child_runs_in_the_root_directory_with_known_variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    unknown = {"PYTHONSTARTUP", "PYTHONWARNINGS", "LD_LIBRARY_PATH", "SECRET", "NOTIFY_SOCKET"}
    for name in unknown:
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("LC_TIME", "C")
    code = "import json, os, sys; print(json.dumps([os.getcwd(), dict(os.environ), sys.path]))"
    cwd, environ, path = ask(code, monkeypatch)
    assert cwd == "/"
    assert environ["LC_TIME"] == "C"
    assert not unknown & set(environ)
    assert "" not in path
    assert str(tmp_path) not in path


def test_the_current_directory_is_no_part_of_the_module_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "lib", "/opt/modules", ""]))
    path = child.environment()["PYTHONPATH"].split(os.pathsep)
    assert path == [str(PACKAGE.parent), str(tmp_path / "lib"), "/opt/modules"]


def test_modules_of_vendors_find_their_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", "/etc/softhsm2.conf")
    monkeypatch.setenv("PYTHONSTARTUP", "x")
    monkeypatch.setenv("WATCHDOG_USEC", "1")
    found = child.environment(of_vendors=True, extra={"MORE": "1"})
    assert found["SOFTHSM2_CONF"] == "/etc/softhsm2.conf"
    assert found["MORE"] == "1"
    assert not {"PYTHONSTARTUP", "WATCHDOG_USEC"} & found.keys()
    assert "SOFTHSM2_CONF" not in child.environment()


STUBBORN = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"


def test_a_child_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "command", lambda module, arguments: [sys.executable, "-c", STUBBORN])
    process = child.start("dnssecd.x", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    child.stop(process, 0.1)
    assert process.returncode == -9
    process.stdout.close()


async def test_so_is_one_of_an_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "command", lambda module, arguments: [sys.executable, "-c", STUBBORN])
    process = await child.start_async("dnssecd.x", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    async with asyncio.timeout(20):
        await child.stop_async(process, 0.1)
    assert process.returncode == -9
