"""The exception for a version that was not made."""

from collections.abc import Iterable


class Rejected(Exception):
    """The version was not made; ``event`` names the kind of problem, the message the fault and who caused it."""

    def __init__(self, event: str, cause: str, remedy: str = "", violations: Iterable[str] = ()) -> None:
        super().__init__(cause)
        self.event = event
        self.cause = cause
        self.remedy = remedy
        self.violations = tuple(violations)
