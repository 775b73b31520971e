"""Start modules of this package as child processes, and end them. No other module does this.

A child executes a module in a new interpreter, so it has no copy of its parent's memory. It is isolated by:

* ``-P``: Python does not search the current directory for modules;
* current directory ``/``: paths given to a child are absolute;
* an environment of known variables, see :func:`environment`.

The first two prevent that a file such as ``msgspec.py`` in a directory of zone files is executed.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import dnssecd

#: Environment variables that a child may have.
_KEPT = frozenset(
    ("PATH", "LANG", "LANGUAGE", "TZ", "TZDIR", "HOME", "USER", "LOGNAME", "TMPDIR", "CREDENTIALS_DIRECTORY")
)
#: Python's variables that name neither files nor code.
_KEPT_OF_PYTHON = frozenset(
    ("PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER", "PYTHONHASHSEED", "PYTHONMALLOC", "PYTHONUTF8")
)
#: Variables of the service manager for this process. A child must not have them: it could report in its place.
_OURS_ALONE = frozenset(
    ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
)
_ROOT = "/"
KILLED_DEADLINE_S = 10.0

Stream = int | IO[bytes] | None


def command(module: str, arguments: Iterable[object] = ()) -> list[str]:
    """Return the command line that executes a module of this package."""
    assert module.startswith("dnssecd."), module
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def environment(*, of_vendors: bool = False, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a child's environment.

    of_vendors: keep all variables except Python's and the service manager's. PKCS#11 modules need it: their variables
    are known only to their vendors.
    """
    kept = {name: value for name, value in os.environ.items() if _may_have(name, of_vendors=of_vendors)}
    return {**kept, "PYTHONPATH": os.pathsep.join(_module_path()), **(extra or {})}


def _may_have(name: str, *, of_vendors: bool) -> bool:
    if name.startswith("PYTHON"):
        return name in _KEPT_OF_PYTHON
    if of_vendors:
        return name not in _OURS_ALONE
    return name in _KEPT or name.startswith("LC_")


def _module_path() -> list[str]:
    """Return the directory of this package, then the entries of PYTHONPATH without the current directory."""
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return [str(Path(dnssecd.__file__).resolve().parent.parent), *map(os.path.abspath, given)]


def start(
    module: str,
    arguments: Iterable[object] = (),
    *,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = subprocess.DEVNULL,
    pass_fds: tuple[int, ...] = (),
    new_session: bool = False,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a module of this package. Raise OSError on failure. The streams are as for Popen."""
    return subprocess.Popen(
        command(module, arguments),
        stdin=stdin,
        stdout=stdout,
        pass_fds=pass_fds,
        start_new_session=new_session,
        cwd=_ROOT,
        env=environment() if env is None else env,
    )


async def start_async(
    module: str,
    arguments: Iterable[object] = (),
    *,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = subprocess.DEVNULL,
    pass_fds: tuple[int, ...] = (),
    new_session: bool = False,
    env: Mapping[str, str] | None = None,
    limit: int = 1 << 16,
) -> asyncio.subprocess.Process:
    """Start a module as ``start`` does, for an event loop. limit: octets that a reader of its output keeps."""
    return await asyncio.create_subprocess_exec(
        *command(module, arguments),
        stdin=stdin,
        stdout=stdout,
        pass_fds=pass_fds,
        start_new_session=new_session,
        cwd=_ROOT,
        env=environment() if env is None else env,
        limit=limit,
    )


def stop(process: subprocess.Popen[bytes], deadline_s: float) -> None:
    """Close a child's standard input, wait up to the deadline for its end, then kill it."""
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(deadline_s)
    kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a child if it still runs, and collect its exit status."""
    if process.poll() is None:
        process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(KILLED_DEADLINE_S)


async def stop_async(process: asyncio.subprocess.Process, deadline_s: float) -> None:
    """Close a child's standard input, wait up to the deadline for its end, then kill it."""
    if process.stdin is not None:
        process.stdin.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(deadline_s):
            await process.wait()
    await kill_async(process)


async def kill_async(process: asyncio.subprocess.Process) -> None:
    """Kill a child if it still runs, and collect its exit status."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
