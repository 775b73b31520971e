"""Opening the sessions of one token: one at a time, with a back-off, and never a PIN too often."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from dnssecd.keyservice_settings import TokenSettings
from dnssecd.signer.errors import OperatorNeeded
from dnssecd.signer.pkcs11 import messages as m
from dnssecd.signer.pkcs11.health import TokenHealth
from dnssecd.signer.pkcs11.link import CallFailed, WorkerLink, WorkerLost
from dnssecd.signer.pkcs11.pin import Pin
from dnssecd.signer.pkcs11.session import Session, StaleSession
from dnssecd.signer.warnings import WarningBook

log = structlog.get_logger()

OPEN_DEADLINE_S = 30.0
PIN_LOOK_S = 2.0
#: A module that has not answered for as long is reported before its deadline.
SLOW_S = 5.0
#: After as many failures, while other sessions work, the token is taken not to allow more sessions.
SHORT_TRIES = 3
PIN_REFUSED = frozenset({"PinIncorrect", "PinInvalid", "PinLenRange"})
NEEDS_OPERATOR = frozenset(
    {
        "FunctionRejected",
        "NoPinPad",
        "PinExpired",
        "PinFinalTry",
        "PinLocked",
        "TokenAmbiguous",
        "UserPinNotInitialized",
        "UserTypeInvalid",
    }
)
#: A C_Login that failed so did not reach the check of the PIN.
TEMPORARY_AT_LOGIN = frozenset(
    {
        "DeviceError",
        "DeviceRemoved",
        "HostMemory",
        "SessionClosed",
        "SessionCount",
        "SessionHandleInvalid",
        "TokenNotPresent",
    }
)
#: Quirk: this module reports outages by codes that could also mean a refused PIN.
RETRY_LOGIN = "retry-login"


class SessionOpener:
    """See the module. `check` is run in a session before it is used; `changed()` waits for a change of the queue."""

    def __init__(
        self,
        settings: TokenSettings,
        pin: Pin,
        health: TokenHealth,
        warnings: WarningBook,
        *,
        check: Callable[[Session], Awaitable[None]],
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._pin = pin
        self._health = health
        self._warnings = warnings
        self._check = check
        self._changed = changed
        self._monotonic = asyncio.get_running_loop().time
        self._one = asyncio.Lock()
        self._failed_with_others = 0

    async def open(self) -> Session:
        """Open a session, as often as it takes; one at a time, so that a wrong PIN is tried once."""
        health = self._health
        while True:
            while health.evicted and not health.on_trial:
                await self._changed()
            await asyncio.sleep(health.breaker.wait_s())
            async with self._one:
                if health.breaker.wait_s() > 0:
                    continue
                try:
                    session = await self._try()
                except OperatorNeeded as error:
                    health.needs_operator(str(error))
                    pause_s = PIN_LOOK_S
                except StaleSession:
                    pause_s = 0.0
                except (WorkerLost, CallFailed) as error:
                    pause_s = self._could_not_open(error)
                except OSError as error:  # of this machine: no descriptor, a full disk
                    pause_s = self._could_not_open(WorkerLost("system", str(error)))
                else:
                    self._opened(session)
                    return session
            await asyncio.sleep(pause_s)

    def refuse_pin(self, error: WorkerLost) -> None:
        """Hold the PIN back: the token refused it after the login, where a key wants it for each signature."""
        self._health.gauges.login_failures += 1
        self._pin.refused()
        self._health.needs_operator(f"token {self._settings.name} refused the PIN: {error}")

    def try_login_again(self) -> None:
        """Try the login once more, because an operator asks for it."""
        self._pin.release()
        self._health.try_login_again()

    def _opened(self, session: Session) -> None:
        self._health.opened()
        self._failed_with_others = 0
        if self._health.sessions == self._settings.sessions:
            self._warnings.clear("token session limit", self._settings.name)
        log.info("token session opened", token=self._settings.name, worker=session.link.pid)

    async def _try(self) -> Session:
        pin = self._pin.read()
        started_at = self._monotonic()
        try:
            link = await WorkerLink.start()
        except OSError as error:
            raise WorkerLost("spawn", f"cannot start an HSM worker: {error.strerror}") from None
        slow = asyncio.get_running_loop().call_later(SLOW_S, self._health.note_slow_opening, SLOW_S)
        one = self._settings
        try:
            opened = await self._log_in(
                link, m.OpenCall(one.module, one.label, one.serial, one.slot, pin, one.login)
            )
            session = Session(link, opened, one.call_deadline_s, self._monotonic, started_at)
            self._health.note_info(opened.info)
            if not self._health.on_trial:
                await self._check(session)
        except BaseException:
            await link.kill()
            raise
        finally:
            slow.cancel()
        return session

    async def _log_in(self, link: WorkerLink, call: m.OpenCall) -> m.Opened:
        try:
            opened = await link.call(call, m.Opened, OPEN_DEADLINE_S)
        except WorkerLost as error:
            if error.call == "C_Login":
                self._login_failed(error)
            raise
        self._pin.accepted()
        return opened

    def _login_failed(self, error: WorkerLost) -> None:
        """OperatorNeeded unless the cause is known to be temporary: the token may count the try."""
        name = self._settings.name
        self._health.gauges.login_failures += 1
        self._health.gauges.errors[error.kind] += 1
        if error.kind in PIN_REFUSED:
            self._pin.refused()
            text = f"token {name} refused the PIN; it is not tried again. Put the right one into its file"
            raise OperatorNeeded(text) from None
        if error.kind in TEMPORARY_AT_LOGIN or RETRY_LOGIN in self._settings.quirks:
            return
        self._pin.refused(f"token {name}: {error}")
        self._pin.read()  # raises, with what to do

    def _could_not_open(self, error: WorkerLost | CallFailed) -> float:
        """Count and report; return how long to pause, beyond what the breaker says."""
        if error.kind in NEEDS_OPERATOR:
            self._health.gauges.errors[error.kind] += 1
            self._health.needs_operator(f"token {self._settings.name}: {error}")
            return self._settings.retry_longest_s
        if not self._health.sessions:
            self._health.failed(error)
            return 0.0
        self._health.gauges.errors[error.kind] += 1
        self._failed_with_others += 1
        if error.kind == "SessionCount" or self._failed_with_others >= SHORT_TRIES:
            self._warn_of_fewer(error)
            return 2 * self._settings.retry_longest_s
        return min(self._settings.retry_longest_s, 0.5 * 2.0**self._failed_with_others)

    def _warn_of_fewer(self, error: WorkerLost | CallFailed) -> None:
        have = f"{self._health.sessions} of {self._settings.sessions} sessions"
        detail = f"the token has no room for more than {have}"
        if error.kind != "SessionCount":
            detail = f"{have} are open; the last error: {error}"
        self._warnings.add("token session limit", self._settings.name, detail)
