"""Conditions an operator should hear of; the daemon reads them with `status` and raises alerts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from dnssecd.keyservice_protocol import Warning
from dnssecd.signer.now import Now

log = structlog.get_logger()
KEPT_MAX = 1000


@dataclass
class _Condition:
    detail: str
    first_at: float
    last_at: float
    count: int = 1
    firing: bool = True
    once: bool = False


class WarningBook:
    """Warnings by (code, subject). A one-time event stays listed, not firing, until it is the oldest of many.

    `listener(code, subject, detail)` hears of each that is new.
    """

    def __init__(self, now: Now, listener: Callable[[str, str, str], None]) -> None:
        self._now, self._listener = now, listener
        self._conditions: dict[tuple[str, str], _Condition] = {}

    def add(self, code: str, subject: str, detail: str, *, firing: bool = True) -> None:
        """Note that the condition is there; `firing` false for events that are over when they are seen."""
        at = self._now()
        known = self._conditions.pop((code, subject), None)
        if known is None:
            known = _Condition(detail, at, at, 0)
        if known.count == 0 or not known.firing or not firing:
            log.warning("key service warning", code=code, subject=subject, detail=detail)
            self._listener(code, subject, detail)
        known.detail, known.last_at, known.count = detail, at, known.count + 1
        known.firing, known.once = firing, not firing
        self._conditions[code, subject] = known
        if len(self._conditions) > KEPT_MAX:
            del self._conditions[self._least_needed()]

    def _least_needed(self) -> tuple[str, str]:
        """Return the oldest that is over, else the oldest: a client that causes many drives none out that is firing."""
        over = (place for place, one in self._conditions.items() if not one.firing)
        return next(over, next(iter(self._conditions)))

    def clear(self, code: str, subject: str) -> None:
        """Note that the condition is over."""
        known = self._conditions.get((code, subject))
        if known is not None and known.firing:
            known.firing = False
            known.last_at = self._now()
            log.info("key service warning resolved", code=code, subject=subject)

    def listed(self) -> tuple[Warning, ...]:
        """All warnings kept, the latest last."""
        return tuple(
            Warning(
                code,
                subject,
                one.detail,
                int(one.first_at),
                int(one.last_at),
                one.count,
                one.firing,
                one.once,
            )
            for (code, subject), one in self._conditions.items()
        )
