"""Logs: structlog to standard error, as JSON or for people; the standard library's loggers are led there, too.

The guard is the last step before rendering: secrets do not reach the log, with any arguments of a caller.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from dnssecd.config import Secret
from dnssecd.repeats import OTHERS, Repeated, Repeats

REDACTED = "[redacted]"
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
#: syslog(3); "critical" is what structlog calls the level of its own method of that name.
SYSLOG_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "exception": 3, "critical": 2}

_SECRET_FIELD = re.compile(
    r"(?:^|_)(?:secret|secrets|password|passphrase|pin|private|private_key|bearer|credential)(?:$|_(?!file))",
    re.I,
)
_SECRET_TEXT = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|^(?:PrivateKey|Private-key-format|PrivateExponent|Prime[12]|Exponent[12]|Coefficient):[^\n]*$",
    re.S | re.M,
)
_TEXT_MAX = 8_192
_DEPTH_MAX = 6

Fields = MutableMapping[str, Any]


def setup(format: str = "json", level: str = "info", stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging. format: "json" or "console"; level: as in LEVELS.

    May be called again after a reload of the configuration.
    """
    out = stream or sys.stderr
    final: Any = structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
    extra: list[Any] = [structlog.processors.format_exc_info]
    if format == "console":
        final = structlog.dev.ConsoleRenderer(
            colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        extra = []
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *extra,
            redact,
            put_event_first,
            _WithPriority(final) if is_journal(out) else final,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_ToStructlog()]
    root.setLevel(max(LEVELS[level], LEVELS["info"] if level == "debug" else LEVELS["warning"]))


def put_event_first(_logger: object, _method: str, fields: Fields) -> Fields:
    """Processor: level and event before all others, so that a line of JSON can be read from its beginning."""
    first = {name: fields[name] for name in ("level", "event") if name in fields}
    return first | {name: value for name, value in fields.items() if name not in first}


class _WithPriority:
    """Renders a line with its syslog priority before it, as the journal takes it from standard error (sd-daemon(3))."""

    def __init__(self, render: Any) -> None:
        self._render = render

    def __call__(self, logger: object, method: str, fields: Fields) -> str:
        priority = SYSLOG_PRIORITIES.get(str(fields.get("level", "")), SYSLOG_PRIORITIES["info"])
        return f"<{priority}>{self._render(logger, method, fields)}"


def is_journal(stream: TextIO) -> bool:
    """Tell whether a stream goes straight to the journal: JOURNAL_STREAM names its device and inode."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def redact(_logger: object, _method: str, fields: Fields) -> Fields:
    """Processor: take secrets out of all fields, by their name and by what they look like."""
    for key in list(fields):
        if _SECRET_FIELD.search(key):
            fields[key] = REDACTED
        else:
            fields[key] = _clean(fields[key], _DEPTH_MAX)
    return fields


def _clean(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        text = _SECRET_TEXT.sub(REDACTED, value)
        return text if len(text) <= _TEXT_MAX else text[:_TEXT_MAX] + " …"
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Secret | bytes | bytearray | memoryview):
        return REDACTED if isinstance(value, Secret) else f"[{len(value)} octets]"
    if depth == 0:
        return "…"
    if isinstance(value, dict):
        return {
            key: REDACTED if _SECRET_FIELD.search(str(key)) else _clean(item, depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, depth - 1) for item in value]
    if isinstance(value, BaseException):
        return _clean(f"{type(value).__name__}: {value}", depth)
    return _clean(str(value), depth)


#: Lines of one kind that a library may log within a minute.
_LIBRARY_LINES_MAX = 5


class _ToStructlog(logging.Handler):
    """What libraries log (asyncio, apscheduler …) comes out in the same form, a few lines of a kind each minute.

    A library may report a lasting condition at each of its tries.
    """

    def __init__(self) -> None:
        super().__init__()
        self._repeats = Repeats(_report_library)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._is_one_too_many(record):
                return
            log = structlog.get_logger(record.name)
            names = {10: "debug", 20: "info", 30: "warning"}
            method = names.get(record.levelno, "error")
            getattr(log, method)(record.getMessage(), logger=record.name, exc_info=record.exc_info or None)
        except Exception:
            self.handleError(record)

    def _is_one_too_many(self, record: logging.LogRecord) -> bool:
        """Count a record; return whether the limit of its kind for this minute is reached, so that it is not logged."""
        now = time.monotonic()
        self._repeats.flush(now)
        # asyncio's messages have what happened in the first line, and objects' addresses in the others.
        what = str(record.msg).partition("\n")[0]
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        window = self._repeats.first((record.name, record.levelno, what, error), now)
        if window is None:
            return False
        window.add({})
        return window.count >= _LIBRARY_LINES_MAX


def _report_library(window: Repeated) -> None:
    more = window.count - _LIBRARY_LINES_MAX + 1
    if more <= 0:
        return
    assert isinstance(window.kind, tuple)
    kind = "many kinds" if window.kind == OTHERS else str(window.kind[2])
    structlog.get_logger("dnssecd").warning("lines of libraries left out", line=kind, count=more)
