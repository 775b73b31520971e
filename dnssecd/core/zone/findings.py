"""What a check of zone content found: errors, which keep the zone from being published, and warnings."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple


class Finding(NamedTuple):
    """One fault or oddity; ``code`` is stable, ``owner`` an owner key, ``rtype`` the RRset meant."""

    code: str
    owner: bytes
    rtype: int
    detail: str


@dataclass
class Findings:
    """What was found: the first ``limit`` errors and warnings, and how many of each code there were."""

    limit: int = 100
    errors: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def error(self, code: str, owner: bytes, rtype: int, detail: str) -> None:
        """Add an error."""
        self._add(self.errors, Finding(code, owner, rtype, detail))

    def warning(self, code: str, owner: bytes, rtype: int, detail: str) -> None:
        """Add a warning."""
        self._add(self.warnings, Finding(code, owner, rtype, detail))

    def _add(self, kept: list[Finding], finding: Finding) -> None:
        self.counts[finding.code] += 1
        if len(kept) < self.limit:
            kept.append(finding)
