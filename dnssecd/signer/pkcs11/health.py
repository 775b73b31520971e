"""Whether a token can be used, and why not.

States: *starting* until a session is open; *ok*; *down* while the breaker is open (too many failures; tried
again with back-off); *operator* while a person must act (PIN); *evicted* once it answered wrong, until
`dnssecd keystore test` finds it good again. The eviction is kept in a file, so that a restart does not
forget it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import structlog

from dnssecd.breaker import Breaker
from dnssecd.signer import files
from dnssecd.signer.errors import Unavailable
from dnssecd.signer.pkcs11.gauges import Gauges
from dnssecd.signer.pkcs11.link import CallFailed, WorkerLost
from dnssecd.signer.warnings import WarningBook

log = structlog.get_logger()


class TokenHealth:
    """The state of one token. `worse()` is called after every change for the worse."""

    def __init__(
        self,
        name: str,
        retry_longest_s: float,
        evicted_path: Path,
        warnings: WarningBook,
        worse: Callable[[], None],
    ) -> None:
        self.gauges = Gauges()
        self.breaker = Breaker(threshold=2, first_s=0.5, longest_s=retry_longest_s)
        self.sessions = 0
        self.on_trial = False
        self._name = name
        self._warnings = warnings
        self._worse = worse
        self._evicted_path = evicted_path
        self._evicted = ""
        self._fault = ""
        self._detail = ""

    @property
    def evicted(self) -> bool:
        """Whether the token answered wrong and was not found good since."""
        return bool(self._evicted)

    @property
    def hopeful(self) -> bool:
        """Whether it makes sense to wait for this token."""
        if self._evicted:
            return False
        return self.sessions > 0 or (not self._fault and self.breaker.state == "closed")

    @property
    def working(self) -> bool:
        """Whether a session is open."""
        return self.sessions > 0 and not self._evicted

    @property
    def why(self) -> str:
        """Why the token is not working, or "" when nothing is known against it."""
        return self._evicted or self._fault or self._detail

    @property
    def state(self) -> str:
        """See the module."""
        if self._evicted:
            return "evicted"
        if self.sessions:
            return "ok"
        if self._fault:
            return "operator"
        return "starting" if self.breaker.state == "closed" else "down"

    def unavailable(self) -> Unavailable:
        """The error for those who wanted something of this token."""
        return Unavailable(
            self.why or f"token {self._name} is not open yet", retry_in_s=self.breaker.wait_s()
        )

    def load(self) -> None:
        """Remember an eviction from before the start."""
        if self._evicted_path.exists():
            self._evicted = (
                self._evicted_path.read_text("utf-8", "replace") or f"token {self._name} was evicted"
            )
            self._warnings.add("token evicted", self._name, self._evicted)

    def evict(self, why: str) -> None:
        """The token answered wrong."""
        self._evicted = (
            f"token {self._name} made {why}; it is not used. See why, then `dnssecd keystore test`"
        )
        self.gauges.errors["wrong signature"] += 1
        log.error("token evicted", token=self._name, why=why)
        with contextlib.suppress(OSError):  # the eviction stands all the same, for as long as we live
            files.write_atomically(self._evicted_path, self._evicted.encode())
        self._warnings.add("token evicted", self._name, self._evicted)
        self._worse()

    def readmit(self) -> None:
        """The token was found good."""
        files.remove(self._evicted_path)
        self._evicted = ""
        self._warnings.clear("token evicted", self._name)

    def opened(self) -> None:
        """A session was opened."""
        self.sessions += 1
        self._fault = ""
        self._warnings.clear("token needs operator", self._name)
        self._warnings.clear("token down", self._name)

    def failed(self, error: WorkerLost | CallFailed) -> None:
        """A session was lost or could not be opened."""
        self.gauges.errors[error.kind] += 1
        self.note(error)
        log.warning("token session lost", token=self._name, kind=error.kind, error=str(error))
        self.breaker.failed()
        if not self.hopeful:
            self._warnings.add("token down", self._name, self._detail)
        self._worse()

    def note(self, error: WorkerLost | CallFailed) -> None:
        """Remember what happened last."""
        self._detail = f"token {self._name}: {error.kind}: {error}"

    def needs_operator(self, fault: str) -> None:
        """No session can be opened until a person has done something."""
        if fault != self._fault:
            self._warnings.add("token needs operator", self._name, fault)
        self._fault = fault
        self._worse()
