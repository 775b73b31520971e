"""The automatic channels that bring a DS set to the parent, and the state of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from msgspec import Struct

from dnssecd.backoff import Backoff
from dnssecd.config.model import Config, ZoneConfig
from dnssecd.core.parent.forms import document
from dnssecd.core.parent.handover import GRACE_S, Handover, Task
from dnssecd.core.utc import minute
from dnssecd.daemon.zones import specs
from dnssecd.ops.ds_hook import HookRunner
from dnssecd.publish import exchange
from dnssecd.publish.consistency import find_inconsistency
from dnssecd.publish.dspush import push_ds
from dnssecd.publish.dsync import Notified, by_resolver, by_servers, notify_parent
from dnssecd.publish.parent import ParentUnknown, resolver

PUSH, HOOK, NOTIFY = "push", "hook", "notify"
FAILURES_TOLD = 5  # after this many failures in a row an alert is sent


class Parent(Struct, frozen=True):
    """How a zone's parent is reached. alone: an island of trust, no parent is queried. cds: CDS are published.

    servers: as configured; empty: found by the resolver. ds_ttl: TTL of a new DS RRset that is pushed, s.
    grace_s: how long a change may take before it is overdue, s. public: the zone's public servers that may be queried.
    """

    alone: bool = False
    push: exchange.Peer | None = None
    hook: tuple[str, ...] = ()
    servers: tuple[exchange.Peer, ...] = ()
    resolver: tuple[tuple[str, int], ...] = ()
    cds: bool = True
    ds_ttl: int = 86_400
    grace_s: int = GRACE_S
    public: tuple[exchange.Peer, ...] = ()


#: Most zones have parents of the same kind: one object for all that are equal.
_shared_parent = lru_cache(1024)(Parent)


def parent_of(config: Config, zone: ZoneConfig) -> Parent:
    """Return the configuration of a zone's parent."""
    policy, parent = config.policies[zone.policy], zone.parent
    return _shared_parent(
        alone=parent.none or zone.name == ".",
        push=None if parent.push is None else specs.peer(config, parent.push),
        hook=parent.hook,
        servers=tuple(exchange.Peer(str(a), a.host, a.port) for a in parent.servers),
        resolver=tuple((a.host, a.port) for a in config.server.resolver),
        cds=policy.cds == "auto",
        ds_ttl=policy.parent_ds_ttl,
        grace_s=max(GRACE_S, policy.parent_propagation_delay),
        public=_public_servers(config, zone),
    )


def _public_servers(config: Config, zone: ZoneConfig) -> tuple[exchange.Peer, ...]:
    """Return the servers that a parent may query for CDS, as far as they are configured, each once."""
    own = [
        specs.peer(config, peer)
        for peer in (*zone.check_servers, *config.secondaries_of(zone.name))
        if peer.query
    ]
    others = [
        exchange.Peer(f"{signer.name} {address}", address.host, address.port)
        for signer in zone.other_signers
        for address in signer.servers
    ]
    return tuple({(peer.host, peer.port): peer for peer in (*own, *others)}.values())


class Pace(Struct, frozen=True):
    """Seconds between attempts of a channel (doubled from first to last), and until a successful one is used again.

    tell_s: when an alert is sent although NOTIFY could not be sent yet; look_s: the longest time between
    checks of a request.
    """

    first_s: float = 15.0
    last_s: float = 1_800.0
    again_s: float = 21_600.0
    tell_s: float = 600.0
    look_s: float = 300.0


@dataclass(slots=True)
class Way:
    """One channel and its state. Times in epoch seconds, 0: never. target: its receiver, for display.

    offered: whether there is a receiver; None: not known yet (NOTIFY: whether the parent has an endpoint).
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
        """Tell whether the channel probably needs no help of an operator: it is configured for this, or it works."""
        if self.name != NOTIFY:
            return True
        return self.offered is not False and (bool(self.done_at) or self.failures < FAILURES_TOLD)

    def succeeded(self, now: float, detail: str, again_s: float) -> None:
        """Note a success; a registrar's hook does not run a second time for the same request."""
        self.failures, self.tried_at, self.done_at, self.detail = 0, now, now, detail
        self.next_at = float("inf") if self.name == HOOK else now + again_s

    def failed(self, now: float, detail: str, pace: Pace) -> None:
        """Note a failure; the next attempt comes after a longer interval."""
        self.failures, self.tried_at, self.detail = self.failures + 1, now, detail
        self.next_at = now + Backoff(pace.first_s, pace.last_s).delay_s(self.failures)

    def line(self) -> str:
        """Return the channel and its state in one line, for display."""
        what = {
            PUSH: f"The DS set is sent to {self.target} by dynamic update (RFC 2136)",
            HOOK: f"{self.target} is run to notify the registrar",
            NOTIFY: "The parent is notified of new CDS (NOTIFY, RFC 9859)",
        }[self.name]
        if self.failures:
            often = "once" if self.failures == 1 else f"{self.failures} times"
            return f"{what}: failed {often}, last {minute(self.tried_at)}: {self.detail}"
        if self.done_at:
            return f"{what}: {minute(self.done_at)}: {self.detail}"
        return f"{what}: {self.detail or 'not yet'}"


def ways_of(parent: Parent) -> dict[str, Way]:
    """Return the channels to this parent, in the order in which they are tried."""
    ways: dict[str, Way] = {}
    if parent.push is not None:
        ways[PUSH] = Way(PUSH, f"{parent.push.host} port {parent.push.port}")
    if parent.hook:
        ways[HOOK] = Way(HOOK, parent.hook[0])
    if parent.cds and parent.push is None:
        ways[NOTIFY] = Way(NOTIFY, "the parent", offered=None)
    return ways


class Doer:
    """Uses the channels: one method for each; each ends within its deadlines and returns (success, detail)."""

    def __init__(self, hooks: HookRunner, timing: exchange.Timing | None = None) -> None:
        self._hooks, self._timing = hooks, timing

    async def push(self, handover: Handover, parent: Parent) -> tuple[bool, str]:
        """Push the wanted set to the parent's primary."""
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
        """Run the registrar's hook; ``id`` is the same for the same request."""
        request = f"{handover.zone}{handover.task.value}-{handover.asked_at}"
        ran = await self._hooks.run(parent.hook, {"id": request, **document(handover)})
        return ran.ok, ran.detail

    async def notify(self, handover: Handover, parent: Parent) -> Notified:
        """Notify the parent of new CDS, if it takes notifications and will find all servers alike (RFC 9975)."""
        try:
            lookup = by_resolver(resolver(parent.resolver))
        except ParentUnknown as error:
            if not parent.servers:
                return Notified(False, False, str(error))
            lookup = by_servers(parent.servers, timing=self._timing)
        else:
            if parent.servers:
                lookup = by_servers(parent.servers, lookup, self._timing)

        async def differences() -> str:
            return await find_inconsistency(handover.zone, parent.public, self._timing)

        return await notify_parent(handover.zone, lookup, differences=differences)


Count = Callable[[str, str], None]
