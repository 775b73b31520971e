"""The daemon's side of the key service: start it as a child or find its socket, watch it, report its warnings."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import structlog

from dnssecd.clock import Clock
from dnssecd.config.model import Config
from dnssecd.config.signer_owner import signer_owners
from dnssecd.config.signer_settings import signer_settings
from dnssecd.core.utc import minute
from dnssecd.daemon.audit_head import AuditHead
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_client.launch import SignerChild
from dnssecd.keyservice_client.peer import KeyServicePlace
from dnssecd.keyservice_protocol import StatusReply, StoreStatus
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics

POLL_S = 2.0
POLL_DEADLINE_S = 5.0

#: An event requests an offline medium this long before it is needed.
NEEDED_SOON_S = 3 * 86_400

#: The service's warnings by code, as events.
WARNING_EVENTS = {
    "key file mode": "keystore-mode-fixed",
    "PIN file mode": "keystore-mode-fixed",
    "key file gone": "key-missing",
    "key file unreadable": "key-missing",
    "key missing": "key-missing",
    "key not usable": "key-missing",
    "key not in token": "key-not-in-token",
    "sign refused": "key-misuse-refused",
    "peer refused": "key-misuse-refused",
    "media needed": "keystore-media-needed",
    "media present": "keystore-media-present",
    "token down": "token-down",
    "token needs operator": "token-needs-operator",
    "PIN refusal not stored": "token-needs-operator",
    "token session limit": "token-session-limit",
    "token unwell": "token-unwell",
    "token memory low": "token-memory-low",
    "key not destroyed": "key-not-destroyed",
    "key extractable": "key-extractable",
    "token evicted": "token-evicted",
    "wrong signature": "signature-wrong",
    "audit log failing": "audit-log-failed",
    "audit log broken": "audit-log-failed",
    "configuration not read": "config-rejected",
    "consent needed": "consent-needed",
    "socket place taken": "key-misuse-refused",
}

#: The event for a single occurrence (a mode corrected, a request refused) lasts a day.
TOLD_FOR_S = 86_400

_BREAKER = {"closed": 0, "half-open": 1, "open": 2}

log = structlog.get_logger("dnssecd.signer")


def place_of(config: Config) -> KeyServicePlace:
    """Return where the key service is, and whose process it must be.

    A process of another user could answer with keys of its own. If the configured user does not exist, only root may.
    """
    try:
        owners = signer_owners(config)
    except KeyError:
        log.warning("[signer] user is not known on this host", user=config.signer.user)
        owners = frozenset()
    path = config.signer.socket or config.server.state_dir / "signer" / "signer.sock"
    return KeyServicePlace(str(path), owners)


class SignerLink:
    """Watches the key service.

    last: its last state, None while it does not answer. recovered: called when it answers again, when a key
    store can be used again, or when sessions were reopened: failed work can be tried again. needed_by:
    returns when a key store is needed next, epoch seconds.
    """

    def __init__(
        self,
        config: Config,
        events: EventCore,
        metrics: Metrics,
        clock: Clock,
        recovered: Callable[[], object],
        needed_by: Callable[[str], float | None],
    ) -> None:
        configured = config.signer.socket
        self.place = place_of(config)
        self.socket = Path(self.place.path)
        self._events, self._metrics, self._clock = events, metrics, clock
        self._child: SignerChild | None = None
        self._settings = signer_settings(config, socket=self.socket, state_dir=self.socket.parent)
        if configured is None:
            self._child = SignerChild(self._settings, self._changed, config.log.format)
        path, owners = self.place
        self.client = AsyncSignerClient(path, owners=owners)
        self._polled = AsyncSignerClient(path, POLL_DEADLINE_S, owners=owners)
        self._audit_head = AuditHead(config.server.state_dir)
        self.last: StatusReply | None = None
        self._recovered, self._needed_by = recovered, needed_by
        self._why_down: str | None = None  # None: it answers, or has not been asked yet
        self._settled = asyncio.Event()  # it runs, or the reason why it does not is known
        self._unavailable: frozenset[str] = frozenset()
        self._failed: frozenset[str] = frozenset()  # those of them that are not on a removable medium
        self._replaced = 0
        self._told = {
            (event.name, event.subject): ""
            for event in events.firing()
            if not event.zone and event.name in WARNING_EVENTS.values()
        }

    async def start(self) -> None:
        """Start the child, if one is configured; raise OperatorNeeded if it cannot start."""
        if self._child is not None:
            await self._child.start()
            self._settled.set()

    async def settled(self, seconds: float) -> None:
        """Wait until the service has started or failed to start, at most ``seconds``."""
        if not self._settled.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._settled.wait()

    async def close(self) -> None:
        """End the child."""
        await self.client.aclose()
        await self._polled.aclose()
        self._audit_head.close(self._clock.now())
        if self._child is not None:
            await self._child.stop()

    async def reconfigure(self, config: Config) -> None:
        """Restart the child with other key stores or limits. A separate service reads the limits itself.

        A child that cannot start with them is reported, and tried again.
        """
        settings = signer_settings(config, socket=self.socket, state_dir=self.socket.parent)
        before, self._settings = self._settings, settings
        if self._child is None:
            if settings.keystores != before.keystores:
                log.warning("key stores changed: restart the key service to make it use them")
            return
        if settings == before:
            return
        self._settled.clear()
        try:
            await self._child.stop()
            self._child = SignerChild(settings, self._changed, config.log.format)
            await self._child.start()
        except SignerError as error:
            self._down(str(error))
        finally:
            self._settled.set()

    @property
    def last_log_fault(self) -> tuple[str, int]:
        """How the audit log went back, and when that was seen (epoch seconds); ("", 0) if it never did."""
        return self._audit_head.last_fault

    def held(self) -> str:
        """Return why nothing can be signed now, or "": meanwhile dynamic updates are refused, not queued."""
        if self._why_down is not None:
            return f"the key service does not answer: {self._why_down}"
        return "" if self._settled.is_set() else "the key service is starting"

    def why_unusable(self, stores: Iterable[str]) -> str:
        """Return why keys in one of some key stores cannot be used now, by the last poll; "" if nothing is known.

        A removable medium that is away is no failure: to ask for its keys would request it from an operator.
        """
        down = self.held()
        return down or next(
            (f"key store {name} cannot be used" for name in stores if name in self._failed), ""
        )

    def state(self) -> dict[str, str]:
        """Return the mode and state of the key service, for ``status``."""
        state = "starting" if self.last is None else "ok"
        if self._why_down is not None:
            state = f"down: {self._why_down}"
        return {"mode": "service" if self._child is None else "child", "state": state}

    async def watch(self) -> None:
        """Poll the service until cancelled."""
        while True:
            try:
                self._take(await self._polled.status())
            except SignerError as error:
                self._down(str(error))
            self._metrics.signer.breaker.set(_BREAKER[self._polled.breaker_state])
            await asyncio.sleep(POLL_S)

    def _changed(self, up: bool, detail: str) -> None:
        if up:
            log.info("key service runs as a child", socket=str(self.socket))
        else:
            self._down(detail)

    def _down(self, detail: str) -> None:
        """Note that the service is down; the first reason is kept, not that the circuit breaker is open."""
        if self._why_down is None:
            self._why_down = detail
        self._settled.set()
        self.last = None
        self._metrics.tokens.take(None)
        self._events.raise_event("signer-unreachable", None, self._why_down)

    def _take(self, status: StatusReply) -> None:
        restarted = self.last is not None and self.last.pid != status.pid
        was_down = restarted or self._why_down is not None
        self.last, self._why_down = status, None
        self._settled.set()
        self._metrics.tokens.take(status)
        self._events.resolve("signer-unreachable")
        self._tell(status)
        unavailable = frozenset(store.name for store in status.stores if store.state != "available")
        replaced = sum(token.workers_replaced for store in status.stores for token in store.tokens)
        if was_down or self._unavailable - unavailable or replaced > self._replaced:
            self._recovered()
        self._failed = unavailable - {store.name for store in status.stores if store.removable}
        self._unavailable, self._replaced = unavailable, replaced

    def _tell(self, status: StatusReply) -> None:
        """Raise warnings that are new or have a new cause; resolve those that ended."""
        told: dict[tuple[str, str], str] = {}
        for warning in status.warnings:
            name = WARNING_EVENTS.get(warning.code)
            if name is None:
                log.warning("unknown warning of the key service", code=warning.code)
                continue
            if warning.firing or (warning.once and warning.last_at > self._clock.now() - TOLD_FOR_S):
                told[name, warning.subject] = warning.detail
        if detail := self._audit_head.take(status.audit_head, self._clock.now()):
            told["audit-log-failed", "head"] = detail
        for store in status.stores:
            if detail := self._needed_soon(store):
                told.setdefault(("keystore-media-needed", store.name), detail)
        for (name, subject), detail in told.items():
            if self._told.get((name, subject)) != detail:
                self._events.raise_event(name, None, detail, subject=subject)
        for name, subject in self._told.keys() - told.keys():
            self._events.resolve(name, None, subject)
        self._told = told

    def _needed_soon(self, store: StoreStatus) -> str:
        """Return by when an offline medium is needed, if that is soon."""
        if not store.removable or store.state == "available":
            return ""
        when = self._needed_by(store.name)
        if when is None or when > self._clock.now() + NEEDED_SOON_S:
            return ""
        return f"needed by {minute(when)}, when signatures must be renewed: {store.detail}"
