"""The terms of an audit: what was observed, what a requirement is, and how single judgements are joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from dnssecd.config.model import Config, Keystore, OfflineKeystore, Pkcs11Keystore, Policy, ZoneConfig
from dnssecd.keyservice_protocol import AuditReply, StatusReply

Verdict = Literal["met", "not met", "not known"]

#: From bad to good: a requirement has the worst verdict of its parts.
VERDICTS: tuple[Verdict, ...] = ("not met", "not known", "met")

PARTS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Firing:
    """An event that fires. zone, subject: "" for none."""

    name: str
    zone: str
    subject: str
    cause: str


@dataclass(frozen=True, slots=True)
class UsedKey:
    """A key in the published key set of a zone. backed_up_at: when its last backup was confirmed, epoch seconds."""

    zone: str
    role: str
    tag: int
    keystore: str
    backed_up_at: int | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What daemon and key service report.

    status, log: None if the key service did not answer. users: the users that the key service may have; None if
    unknown. unread: zones whose keys could not be read. log_fault, log_fault_at: how the audit log went back last, and
    when the daemon saw that; "" if it never did.
    """

    now: float
    daemon_user: int
    users: frozenset[int] | None
    status: StatusReply | None
    log: AuditReply | None
    firing: tuple[Firing, ...]
    keys: tuple[UsedKey, ...]
    unread: tuple[str, ...] = ()
    log_fault: str = ""
    log_fault_at: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """The configuration of the zones under audit, and what was seen."""

    config: Config
    zones: tuple[ZoneConfig, ...]
    seen: Seen

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The policies of the zones."""
        names = dict.fromkeys(zone.policy for zone in self.zones)
        return tuple(self.config.policies[name] for name in names)

    @property
    def stores(self) -> tuple[Keystore, ...]:
        """The key stores of the policies that sign."""
        signing = (policy for policy in self.policies if policy.signed)
        names = dict.fromkeys(name for policy in signing for name in policy.keystores)
        return tuple(self.config.keystores[name] for name in names)

    @property
    def tokens(self) -> tuple[Pkcs11Keystore, ...]:
        """The key stores that are tokens."""
        return tuple(store for store in self.stores if isinstance(store, Pkcs11Keystore))

    def is_offline(self, name: str) -> bool:
        """Return whether a key store is off-line."""
        return isinstance(self.config.keystores[name], OfflineKeystore)

    def firing(self, *names: str) -> tuple[Firing, ...]:
        """Return the firing events with these names, of the daemon and of the zones under audit."""
        mine = {"", *(zone.name for zone in self.zones)}
        return tuple(event for event in self.seen.firing if event.name in names and event.zone in mine)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and what was seen as its evidence."""

    verdict: Verdict
    seen: str


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement. change: what to change where it is not met."""

    id: str
    text: str
    source: str
    change: str
    judge: Callable[[View], Judgement]


@dataclass(frozen=True, slots=True)
class Finding:
    """A requirement and its judgement."""

    requirement: Requirement
    judgement: Judgement


def met(seen: str) -> Judgement:
    """Return that a requirement is met."""
    return Judgement("met", seen)


def not_met(seen: str) -> Judgement:
    """Return that a requirement is not met."""
    return Judgement("not met", seen)


def not_known(seen: str) -> Judgement:
    """Return that dnssecd cannot see whether a requirement is met."""
    return Judgement("not known", seen)


def met_if(holds: bool, seen: str) -> Judgement:
    """Return met or not met."""
    return met(seen) if holds else not_met(seen)


def all_of(parts: Iterable[Judgement], nothing: str) -> Judgement:
    """Return the worst verdict with the evidence of the parts that have it; *nothing*: met, as there are no parts."""
    found = tuple(parts)
    if not found:
        return met(nothing)
    worst = min((part.verdict for part in found), key=VERDICTS.index)
    texts = list(dict.fromkeys(part.seen for part in found if part.verdict == worst))
    more = [f"and {len(texts) - PARTS_SHOWN} more"] if len(texts) > PARTS_SHOWN else []
    return Judgement(worst, "; ".join([*texts[:PARTS_SHOWN], *more]))


def each_policy(judge: Callable[[Policy], Judgement]) -> Callable[[View], Judgement]:
    """Return a judge of a view that judges each policy."""

    def judge_one(policy: Policy) -> Judgement:
        part = judge(policy) if policy.signed else not_met("signed = false: its zones are unsigned")
        return Judgement(part.verdict, f"policy {policy.name}: {part.seen}")

    return lambda view: all_of(map(judge_one, view.policies), "no zone is configured")
