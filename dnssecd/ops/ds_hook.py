"""The operator's program that sends a DS set to a registrar: JSON on standard input.

Exit status 0 means: the registrar has accepted it. Another status, a signal or a missed deadline is a failure. The
program must accept the same document (the same ``id``) again: dnssecd runs it again after a failure or restart.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from dnssecd.ops.secret_text import redact_text
from dnssecd.procs.program import Run, run_program

DEADLINE_S = 120.0
RUNNING_MAX = 4


class HookRunner:
    """Runs hooks, at most ``running_max`` at the same time; others wait."""

    def __init__(self, deadline_s: float = DEADLINE_S, running_max: int = RUNNING_MAX) -> None:
        self._deadline_s = deadline_s
        self._free = asyncio.Semaphore(running_max)

    async def run(self, argv: Sequence[str], document: Mapping[str, Any]) -> Run:
        """Run ``argv`` with ``document`` on its standard input. A failure is a result, not an exception."""
        body = json.dumps(document, ensure_ascii=False).encode() + b"\n"
        async with self._free:
            return await run_program(argv, body, self._deadline_s, redact=redact_text)
