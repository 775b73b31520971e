"""Findings of a check of zone content: errors, which prevent publication, and warnings."""

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
    """All findings: the first ``limit`` errors and warnings of each code, and the count of each code."""

    limit: int = 100
    errors: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def error(self, code: str, owner: bytes, rtype: int, detail: str) -> None:
        """Add an error."""
        self.counts[code] += 1
        if len(self.errors) < self.limit:
            self.errors.append(Finding(code, owner, rtype, detail))

    def warning(self, code: str, owner: bytes, rtype: int, detail: str) -> None:
        """Add a warning; the limit applies to each code separately."""
        self.counts[code] += 1
        if self.counts[code] <= self.limit:
            self.warnings.append(Finding(code, owner, rtype, detail))
