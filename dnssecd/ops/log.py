"""Logs: structlog on standard error, as JSON or as text; it also gets records of the standard library's loggers.

The last step before rendering removes secrets, so they cannot reach the log.
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
from dnssecd.ops.secret_text import REDACTED, redact_text
from dnssecd.repeats import OTHERS, Repeated, Repeats

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
#: syslog(3); "critical" is structlog's name for the level of its method critical().
SYSLOG_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "exception": 3, "critical": 2}

_SECRET_FIELD = re.compile(
    r"(?:^|_)(?:secret|secrets|password|passphrase|pin|private|private_key|bearer|credential)(?:$|_(?!file))",
    re.I,
)
_DEPTH_MAX = 6

Fields = MutableMapping[str, Any]


def setup(format: str = "json", level: str = "info", stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging. level: as in LEVELS.

    format: "json", "console" (text), or "auto": text on a terminal, JSON elsewhere.

    Can be called again after a reload of the configuration.
    """
    out = stream or sys.stderr
    final: Any = structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
    extra: list[Any] = [structlog.processors.format_exc_info]
    if format == "console" or (format == "auto" and out.isatty()):
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
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_ToStructlog()]
    root.setLevel(max(LEVELS[level], LEVELS["info"] if level == "debug" else LEVELS["warning"]))


def put_event_first(_logger: object, _method: str, fields: Fields) -> Fields:
    """Put level and event before all other fields, so that a JSON line starts with them (a structlog processor)."""
    first = {name: fields[name] for name in ("level", "event") if name in fields}
    return first | {name: value for name, value in fields.items() if name not in first}


class _WithPriority:
    """Renders a line with its syslog priority in front, as the journal expects on standard error (sd-daemon(3))."""

    def __init__(self, render: Any) -> None:
        self._render = render

    def __call__(self, logger: object, method: str, fields: Fields) -> str:
        priority = SYSLOG_PRIORITIES.get(str(fields.get("level", "")), SYSLOG_PRIORITIES["info"])
        return f"<{priority}>{self._render(logger, method, fields)}"


def is_journal(stream: TextIO) -> bool:
    """Return whether a stream is connected to the journal: JOURNAL_STREAM has its device and inode."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def redact(_logger: object, _method: str, fields: Fields) -> Fields:
    """Remove secrets from all fields, by field name and by form (a structlog processor)."""
    for key in list(fields):
        if _SECRET_FIELD.search(key):
            fields[key] = REDACTED
        else:
            fields[key] = _clean(fields[key], _DEPTH_MAX)
    return fields


def _clean(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return redact_text(value)
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


#: Maximum number of lines of one kind that a library may log within a minute.
_LIBRARY_LINES_MAX = 5


class _ToStructlog(logging.Handler):
    """Logs records of libraries (asyncio, apscheduler …) in the same form, a few lines of a kind each minute.

    The limit is needed because a library may log a lasting condition at each attempt.
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
        """Count a record; return whether its kind exceeds the limit of this minute, so that it is not logged."""
        now = time.monotonic()
        self._repeats.flush(now)
        # The first line of asyncio's messages has the event; the others have addresses of objects.
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
    structlog.get_logger("dnssecd").warning("lines of libraries omitted", line=kind, count=more)
