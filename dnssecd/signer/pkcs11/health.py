"""Tell whether a token can be used, and why not.

States: *starting* until a session is open; *ok*; *down* while the breaker is open (too many failures; tried
again with back-off); *operator* while a person must act (PIN); *evicted* once it answered wrong, until
`dnssecd keystore test` finds it good again. The eviction is kept in a file, so that a restart does not
forget it.

When a client daemon or a network HSM restarts, all sessions are lost at the same time: that is one failure, and work
waits for HOPE_S before it is given up.
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
from dnssecd.signer.pkcs11.messages import TokenInfo
from dnssecd.signer.warnings import WarningBook

log = structlog.get_logger()

#: Sessions lost within this time of one another are lost together.
TOGETHER_S = 1.0
#: How long work waits for a token that has lost its last session.
HOPE_S = 2.0
#: A token with less free memory than this share of it is reported.
MEMORY_LOW = 0.05
#: What is reported as "token unwell", by flag of the token.
_UNWELL = {
    "pin-count-low": "a wrong PIN was tried since the last login",
    "pin-final-try": "one more wrong PIN locks the token",
    "pin-locked": "the PIN is locked",
    "pin-to-be-changed": "the PIN is the one from the factory or has expired: change it",
    "so-pin-locked": "the security officer's PIN is locked",
    "error-state": "the token reports an error state: a failed self-test or tampering",
}


class TokenHealth:
    """The state of one token. `worse()` is called after every change for the worse; `later` calls after a time."""

    def __init__(
        self,
        name: str,
        retry_longest_s: float,
        evicted_path: Path,
        warnings: WarningBook,
        worse: Callable[[], None],
        monotonic: Callable[[], float],
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self.gauges = Gauges()
        self.breaker = Breaker(threshold=2, first_s=0.5, longest_s=retry_longest_s)
        self.sessions = 0
        self.on_trial = False
        self._name = name
        self._warnings = warnings
        self._worse = worse
        self._evicted_path = evicted_path
        self._monotonic = monotonic
        self._later = later
        self._evicted = ""
        self._fault = ""
        self._detail = ""
        self._hope_until = 0.0
        self._counted_until = 0.0
        self.info = TokenInfo()

    @property
    def evicted(self) -> bool:
        """Tell whether the token answered wrong and was not found good since."""
        return bool(self._evicted)

    @property
    def hopeful(self) -> bool:
        """Tell whether it makes sense to wait for this token."""
        if self._evicted:
            return False
        if self.sessions:
            return True
        return not self._fault and (self.breaker.state == "closed" or self._monotonic() < self._hope_until)

    @property
    def working(self) -> bool:
        """Tell whether a session is open."""
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
        """Return the error for requests that need this token."""
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
        """Stop using the token, because it answered wrong."""
        self._evicted = (
            f"token {self._name} made {why}; it is not used. See why, then `dnssecd keystore test`"
        )
        self.gauges.errors["wrong signature"] += 1
        log.error("token evicted", token=self._name, why=why)
        with contextlib.suppress(OSError):  # the eviction stands all the same, until this process ends
            files.write_atomically(self._evicted_path, self._evicted.encode())
        self._warnings.add("token evicted", self._name, self._evicted)
        self._worse()

    def readmit(self) -> None:
        """Use the token again, because it was found good."""
        files.remove(self._evicted_path)
        self._evicted = ""
        self._warnings.clear("token evicted", self._name)

    def opened(self) -> None:
        """Count a session that was opened."""
        self.sessions += 1
        self._fault = ""
        self._warnings.clear("token needs operator", self._name)
        self._warnings.clear("token down", self._name)

    def closed(self) -> None:
        """Count a session that is over, lost or ended."""
        self.sessions -= 1
        if not self.sessions:
            self._hope_until = self._monotonic() + HOPE_S
            self._later(HOPE_S, self._give_up)

    def lost(self, error: WorkerLost | CallFailed) -> None:
        """Count a session that was lost; those lost together count once."""
        now = self._monotonic()
        together, self._counted_until = now < self._counted_until, now + TOGETHER_S
        self._count(error, breaks=not together)

    def failed(self, error: WorkerLost | CallFailed) -> None:
        """Count a session that could not be opened while none is open."""
        self._count(error, breaks=True)

    def _count(self, error: WorkerLost | CallFailed, *, breaks: bool) -> None:
        self.gauges.errors[error.kind] += 1
        self.note(error)
        log.warning("token session lost", token=self._name, kind=error.kind, error=str(error))
        if breaks:
            self.breaker.failed()
        self._give_up()

    def _give_up(self) -> None:
        """Report the token where there is no hope any more, and let waiting work know."""
        if not self.hopeful and not self._evicted and not self._fault and self._detail:
            self._warnings.add("token down", self._name, self._detail)
        self._worse()

    def note(self, error: WorkerLost | CallFailed) -> None:
        """Remember what happened last."""
        self._detail = (
            f"token {self._name}: {error}" if error.call else f"token {self._name}: {error.kind}: {error}"
        )

    def needs_operator(self, fault: str) -> None:
        """No session can be opened until a person has done something."""
        if fault != self._fault:
            self._warnings.add("token needs operator", self._name, fault)
        self._fault = fault
        self._worse()

    def note_slow_opening(self, seconds: float) -> None:
        """Report a module that does not answer, where no session is open."""
        if not self.sessions:
            self._detail = f"token {self._name}: no answer to C_Initialize or C_Login for {seconds:g} s"
            self._warnings.add("token down", self._name, self._detail)

    def try_login_again(self) -> None:
        """Hope that what an operator had to do is done."""
        self._fault = ""

    def note_info(self, info: TokenInfo) -> None:
        """Report the token's own account of its state."""
        self.info = info
        if unwell := "; ".join(text for flag, text in _UNWELL.items() if flag in info.flags):
            self._warnings.add("token unwell", self._name, f"token {self._name}: {unwell}")
        else:
            self._warnings.clear("token unwell", self._name)
        if 0 <= info.memory_free < MEMORY_LOW * info.memory_total:
            detail = f"{info.memory_free} of {info.memory_total} octets of its memory are free"
            self._warnings.add("token memory low", self._name, f"token {self._name}: {detail}")
        else:
            self._warnings.clear("token memory low", self._name)
