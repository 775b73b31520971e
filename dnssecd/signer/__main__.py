"""`python -m dnssecd.signer`: the key service as a child; its settings come as JSON on standard input.

The first line of standard input is the settings; the service ends when standard input does. One line,
`ready`, is written to standard output once the socket answers, or `failed` and why it cannot start; the log goes to
standard error.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, TextIO

import msgspec

from dnssecd.keyservice_settings import SignerSettings
from dnssecd.procs.lean import load_structlog

load_structlog()

import structlog  # noqa: E402

from dnssecd.signer.process import run_signer  # noqa: E402

SETTINGS_OCTETS_MAX = 1024 * 1024


def main() -> int:
    """Read the settings and run."""
    set_up_log(sys.stderr)
    line = read_line(sys.stdin.fileno())
    settings = msgspec.json.decode(line, type=SignerSettings)
    return run_signer(settings, ready=say_ready, failed=say_failed, end_with_stdin=True)


def set_up_log(out: TextIO) -> None:
    """Write the log to ``out``, in the form that the daemon gives by the environment."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_renderers(out.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_log_level()),
        logger_factory=structlog.WriteLoggerFactory(out),
    )


def _renderers(on_terminal: bool) -> tuple[Any, ...]:
    form = os.environ.get("DNSSECD_SIGNER_LOG_FORMAT")
    if form == "console" or (form == "auto" and on_terminal):
        plain = structlog.dev.plain_traceback  # others show the values of variables, which may be keys
        return (structlog.dev.ConsoleRenderer(colors=on_terminal, exception_formatter=plain),)
    return structlog.processors.format_exc_info, structlog.processors.JSONRenderer()


def _log_level() -> int:
    return logging.WARNING if os.environ.get("DNSSECD_SIGNER_LOG") == "warning" else logging.INFO


def read_line(descriptor: int) -> bytes:
    """Read one line octet by octet, so that nothing behind it is swallowed by a buffer."""
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < SETTINGS_OCTETS_MAX:
        octet = os.read(descriptor, 1)
        if not octet:
            break
        line += octet
    return bytes(line)


def say_ready() -> None:
    """Tell the parent that the socket answers."""
    os.write(sys.stdout.fileno(), b"ready\n")


def say_failed(why: str) -> None:
    """Tell the parent, in a line, why the service cannot start."""
    os.write(sys.stdout.fileno(), f"failed {' '.join(why.split())}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
