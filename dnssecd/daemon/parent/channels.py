"""The ways to bring a DS set to the parent without a person, and the account of how each one fares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dnssecd.config.model import Config, ZoneConfig
from dnssecd.core.parent.forms import document
from dnssecd.core.parent.handover import GRACE_S, Handover, Task
from dnssecd.core.parent.text import moment
from dnssecd.daemon.zones import specs
from dnssecd.ops.ds_hook import HookRunner
from dnssecd.publish import exchange
from dnssecd.publish.dspush import push_ds
from dnssecd.publish.dsync import Notified, by_resolver, by_servers, notify_parent
from dnssecd.publish.parent import ParentUnknown, resolver

PUSH, HOOK, NOTIFY = "push", "hook", "notify"
FAILURES_TOLD = 5  # as many failures in a row are told


@dataclass(frozen=True, slots=True)
class Parent:
    """How a zone's parent is reached. alone: an island of trust, nobody is asked. cds: CDS are published.

    servers: as configured, none: found by resolver. ds_ttl: of a DS RRset that is pushed where there was none, s.
    grace_s: how long a change may take until it is overdue.
    """

    alone: bool = False
    push: exchange.Peer | None = None
    hook: tuple[str, ...] = ()
    servers: tuple[exchange.Peer, ...] = ()
    resolver: tuple[tuple[str, int], ...] = ()
    cds: bool = True
    ds_ttl: int = 86_400
    grace_s: int = GRACE_S


def parent_of(config: Config, zone: ZoneConfig) -> Parent:
    """Return how the parent of a zone is reached, by its configuration."""
    policy, parent = config.policies[zone.policy], zone.parent
    return Parent(
        alone=parent.none or zone.name == ".",
        push=None if parent.push is None else specs.peer(config, parent.push),
        hook=parent.hook,
        servers=tuple(exchange.Peer(str(a), a.host, a.port) for a in parent.servers),
        resolver=tuple((a.host, a.port) for a in config.server.resolver),
        cds=policy.cds == "auto",
        ds_ttl=policy.parent_ds_ttl,
        grace_s=max(GRACE_S, policy.parent_propagation_delay),
    )


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: between tries of a way (doubled from first to last) and until one that worked is used again.

    tell_s: when people are told although NOTIFY could not be sent yet; look_s: at least this often a request is
    looked at.
    """

    first_s: float = 15.0
    last_s: float = 1_800.0
    again_s: float = 21_600.0
    tell_s: float = 600.0
    look_s: float = 300.0


@dataclass(slots=True)
class Way:
    """One way and how it fares. Times in epoch seconds, 0: never. target: whom it reaches, for people.

    offered: whether somebody listens; None: not known yet (NOTIFY: has the parent an endpoint?).
    """

    name: str
    target: str
    failures: int = 0
    tried_at: float = 0
    done_at: float = 0
    next_at: float = 0
    detail: str = ""
    offered: bool | None = True

    @property
    def helps(self) -> bool:
        """Whether nobody else has to act, for all that is known: it was set up for this, or it works."""
        if self.name != NOTIFY:
            return True
        return self.offered is not False and (bool(self.done_at) or self.failures < FAILURES_TOLD)

    def succeeded(self, now: float, detail: str, again_s: float) -> None:
        """It worked; a registrar's hook is not run a second time for it."""
        self.failures, self.tried_at, self.done_at, self.detail = 0, now, now, detail
        self.next_at = float("inf") if self.name == HOOK else now + again_s

    def failed(self, now: float, detail: str, pace: Pace) -> None:
        """It did not work; the next try comes later than the last."""
        self.failures, self.tried_at, self.detail = self.failures + 1, now, detail
        self.next_at = now + min(pace.first_s * 2.0 ** min(self.failures - 1, 30), pace.last_s)

    def line(self) -> str:
        """What it is and how it fares, for people."""
        what = {
            PUSH: f"The DS set is sent to {self.target} by dynamic update (RFC 2136)",
            HOOK: f"{self.target} is run to tell the registrar",
            NOTIFY: "The parent is told of new CDS (NOTIFY, RFC 9859)",
        }[self.name]
        if self.failures:
            often = "once" if self.failures == 1 else f"{self.failures} times"
            return f"{what}: failed {often}, last {moment(self.tried_at)}: {self.detail}"
        if self.done_at:
            return f"{what}: {moment(self.done_at)}: {self.detail}"
        return f"{what}: {self.detail or 'not yet'}"


def ways_of(parent: Parent) -> dict[str, Way]:
    """Return the ways there are to this parent, in the order in which they are tried."""
    ways: dict[str, Way] = {}
    if parent.push is not None:
        ways[PUSH] = Way(PUSH, f"{parent.push.host} port {parent.push.port}")
    if parent.hook:
        ways[HOOK] = Way(HOOK, parent.hook[0])
    if parent.cds and parent.push is None:
        ways[NOTIFY] = Way(NOTIFY, "the parent", offered=None)
    return ways


class Doer:
    """Does it: one method per way, each ends within its deadlines and tells failure as data: (worked, detail)."""

    def __init__(self, hooks: HookRunner, timing: exchange.Timing | None = None) -> None:
        self._hooks, self._timing = hooks, timing

    async def push(self, handover: Handover, parent: Parent) -> tuple[bool, str]:
        """Push the set wanted to the parent's primary."""
        assert parent.push is not None
        pushed = await push_ds(
            handover.zone,
            handover.ds_set(),
            parent.push,
            parent.ds_ttl,
            may_be_empty=handover.task is Task.REMOVE_ALL,
            timing=self._timing,
        )
        return pushed.ok, pushed.detail

    async def hook(self, handover: Handover, parent: Parent) -> tuple[bool, str]:
        """Run the registrar's hook; `id` is the same for the same request."""
        request = f"{handover.zone}{handover.task.value}-{handover.asked_at}"
        ran = await self._hooks.run(parent.hook, {"id": request, **document(handover)})
        return ran.ok, ran.detail

    async def notify(self, handover: Handover, parent: Parent) -> Notified:
        """Tell the parent that there are new CDS, if it wants to be told."""
        try:
            lookup = by_resolver(resolver(parent.resolver))
        except ParentUnknown as error:
            if not parent.servers:
                return Notified(False, False, str(error))
            lookup = by_servers(parent.servers, timing=self._timing)
        else:
            if parent.servers:
                lookup = by_servers(parent.servers, lookup, self._timing)
        return await notify_parent(handover.zone, lookup)


Count = Callable[[str, str], None]
