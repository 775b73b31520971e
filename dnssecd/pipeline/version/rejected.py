"""Why a version was not made."""

from collections.abc import Iterable


class Rejected(Exception):
    """The version was not made; ``event`` names the kind of trouble, the message says what and whose fault."""

    def __init__(self, event: str, cause: str, remedy: str = "", violations: Iterable[str] = ()) -> None:
        super().__init__(cause)
        self.event = event
        self.cause = cause
        self.remedy = remedy
        self.violations = tuple(violations)
