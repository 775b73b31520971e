"""The key service as the front sees it: started as a child or found at its socket, watched, its warnings told."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog

from dnssecd.clock import Clock
from dnssecd.config.model import Config
from dnssecd.config.signer_owner import signer_owners
from dnssecd.config.signer_settings import signer_settings
from dnssecd.daemon.audit_head import AuditHead
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_client.launch import SignerChild
from dnssecd.keyservice_protocol import StatusReply, StoreStatus
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics

POLL_S = 2.0
POLL_DEADLINE_S = 5.0

#: So long before it is needed a medium that is away is asked for.
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
    "token session limit": "token-session-limit",
    "token evicted": "token-evicted",
    "wrong signature": "signature-wrong",
    "audit log failing": "audit-log-failed",
    "audit log broken": "audit-log-failed",
    "socket place taken": "key-misuse-refused",
}

#: What happened once (a mode corrected, a request refused) is told for a day.
TOLD_FOR_S = 86_400

_BREAKER = {"closed": 0, "half-open": 1, "open": 2}

log = structlog.get_logger("dnssecd.signer")


def _owners(config: Config) -> frozenset[int] | None:
    """Who the key service is, as far as that can be told: the daemon sends no secret, and verifies what it gets."""
    try:
        return signer_owners(config)
    except KeyError:
        log.warning("[signer] user is not known on this host", user=config.signer.user)
        return None


def socket_of(config: Config) -> Path:
    """Return the socket of the key service."""
    return config.signer.socket or config.server.state_dir / "signer" / "signer.sock"


class SignerLink:
    """Keeps the key service under watch.

    last: what it said last, None while it does not answer. recovered: called when it answers again, or a
    key store of it can be used again, or sessions were opened anew: what failed meanwhile may be tried now.
    needed_by: says when a key store is needed next, epoch seconds.
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
        self.socket = socket_of(config)
        self._events, self._metrics, self._clock = events, metrics, clock
        self._child: SignerChild | None = None
        if configured is None:
            settings = signer_settings(config, socket=self.socket, state_dir=self.socket.parent)
            self._child = SignerChild(settings, self._changed, config.log.format)
        owners = _owners(config)
        self.client = AsyncSignerClient(str(self.socket), owners=owners)
        self._polled = AsyncSignerClient(str(self.socket), POLL_DEADLINE_S, owners=owners)
        self._audit_head = AuditHead(config.server.state_dir)
        self.last: StatusReply | None = None
        self._recovered, self._needed_by = recovered, needed_by
        self._state = "starting"
        self._settled = asyncio.Event()  # it runs, or it is known why it does not
        self._unavailable: frozenset[str] = frozenset()
        self._replaced = 0
        self._told = {
            (event.name, event.subject): ""
            for event in events.firing()
            if not event.zone and event.name in WARNING_EVENTS.values()
        }

    async def start(self) -> None:
        """Start the child, where there is to be one; OperatorNeeded when it cannot start."""
        if self._child is not None:
            await self._child.start()
            self._settled.set()

    async def settled(self, seconds: float) -> None:
        """Wait until the service has started, or failed to, but no longer than ``seconds``."""
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
        """Give the child other key stores by starting it anew; a separate service reads the file by itself."""
        if self._child is None:
            log.warning("key stores changed: restart the key service to make it use them")
            return
        self._settled.clear()
        try:
            await self._child.stop()
            settings = signer_settings(config, socket=self.socket, state_dir=self.socket.parent)
            self._child = SignerChild(settings, self._changed, config.log.format)
            await self._child.start()
        finally:
            self._settled.set()

    def held(self) -> str:
        """Return why nothing can be signed now, or "": dynamic input is refused then, not queued."""
        if self._state.startswith("down: "):
            return f"the key service does not answer: {self._state.removeprefix('down: ')}"
        return "" if self._settled.is_set() else "the key service is starting"

    def state(self) -> dict[str, str]:
        """Return how the key service is run and fares, for ``status``."""
        return {"mode": "service" if self._child is None else "child", "state": self._state}

    async def watch(self) -> None:
        """Poll the service for ever."""
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
        """The first reason is kept: that the breaker is open is no news."""
        if not self._state.startswith("down: "):
            self._state = f"down: {detail}"
        self._settled.set()
        self.last = None
        self._metrics.tokens.take(None)
        self._events.raise_event("signer-unreachable", None, self._state.removeprefix("down: "))

    def _take(self, status: StatusReply) -> None:
        restarted = self.last is not None and self.last.pid != status.pid
        was_down = restarted or self._state.startswith("down: ")
        self.last, self._state = status, "ok"
        self._settled.set()
        self._metrics.tokens.take(status)
        self._events.resolve("signer-unreachable")
        self._tell(status)
        unavailable = frozenset(store.name for store in status.stores if store.state != "available")
        replaced = sum(token.workers_replaced for store in status.stores for token in store.tokens)
        if was_down or self._unavailable - unavailable or replaced > self._replaced:
            self._recovered()
        self._unavailable, self._replaced = unavailable, replaced

    def _tell(self, status: StatusReply) -> None:
        """Raise the warnings that are new or have another cause; resolve those that are over."""
        told: dict[tuple[str, str], str] = {}
        for warning in status.warnings:
            name = WARNING_EVENTS.get(warning.code)
            if name is None:
                log.warning("a warning of the key service is not known here", code=warning.code)
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
        """Say by when a medium that is away is needed, if that is soon."""
        if not store.removable or store.state == "available":
            return ""
        when = self._needed_by(store.name)
        if when is None or when > self._clock.now() + NEEDED_SOON_S:
            return ""
        text = datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"needed by {text}, when signatures are to be made anew: {store.detail}"
