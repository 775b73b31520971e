"""Report the plan after the loss of a private key: what dnssecd does, what people do, when it is over, what it costs.

The order of the steps is that of draft-ietf-dnsop-dnssec-keyrestore; the planner finds it by its rules (``lost.py``).
"""

from msgspec import Struct

from dnssecd.core.dns.names import wire_to_text
from dnssecd.core.keys import timing
from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.core.keys.node_keys import ready_nodes
from dnssecd.core.keys.recovery import HORIZON_S, RecoveryStep, named_steps
from dnssecd.core.keys.requests import lost
from dnssecd.core.keys.rules import secured
from dnssecd.core.keys.simulate import Assumptions, Simulation, simulate
from dnssecd.core.keys.types import RolloverPolicy
from dnssecd.core.utc import moment

PEOPLE_BEFORE = (
    "Look for the private key first: a backup, another token, the medium it was on. If you restore it, run `dnssecd "
    "key lost --found`; nothing else is faster.",
    "Do not delete DNSKEY records or signatures by hand: what the lost key signed is valid until it expires.",
)
PEOPLE_AFTER = (
    "Find out why no copy of the key was left, and set require_backup = true or keep the keys in a second token.",
)
UNSECURED = (
    "No validator depends on this key: the parent has no DS. Its successor signs as soon as it is made."
)
LAST_WAY_OUT = (
    "As things stand, nothing replaces this key within 90 days. If it is not found, the only way out is to make the "
    "zone insecure: signed = false in its policy. dnssecd has the parent remove the DS first, and removes the "
    "signatures later: the zone resolves all the time. Then signed = true begins with new keys."
)


class LostPlan(Struct, frozen=True):
    """``over_at`` (epoch s): from when nothing needs the key; None: not within 90 days as things stand.

    ``expires_at``: when the first signature of the zone expires; from then on validators fail if the plan is not over.
    """

    tag: int
    over_at: int | None
    expires_at: int | None
    costs: tuple[str, ...]
    steps: tuple[RecoveryStep, ...]

    @property
    def in_time(self) -> bool:
        """Return whether it is over before the first signature expires."""
        return self.over_at is not None and (self.expires_at is None or self.over_at < self.expires_at)


def lost_plan(
    keyset: Keyset, policy: RolloverPolicy, assume: Assumptions, now: int, ref: str, expires_at: int | None
) -> LostPlan:
    """Return the plan for one key.  Raise KeysetError if there is no such key.  Pure."""
    after = lost(keyset, ref)
    key = after.find(ref)
    assert key is not None
    ahead = simulate(after, policy, assume, now, now + HORIZON_S)
    over_at = _over_at(key, ahead, now)
    before = tuple(RecoveryStep(None, "people", text) for text in (*_moves(keyset, now), *PEOPLE_BEFORE))
    steps = named_steps(ahead, over_at)
    if over_at is not None:
        steps = (*steps, RecoveryStep(over_at, "dnssecd", f"nothing needs key tag {key.tag} any more"))
    after_it = tuple(RecoveryStep(over_at, "people", text) for text in PEOPLE_AFTER)
    costs = _costs(key, keyset, policy, assume, over_at, expires_at) if _signs(key) else ()
    return LostPlan(key.tag, over_at, expires_at, costs, (*before, *steps, *after_it))


def _moves(keyset: Keyset, now: int) -> tuple[str, ...]:
    """Return the advice to let another node sign, if one can: it needs no step that validators could notice."""
    nodes = ready_nodes(keyset, now)
    if not nodes:
        return ()
    zone = wire_to_text(keyset.apex)
    return (
        f"All validators have the keys of node {' and of node '.join(nodes)}. Let that node sign first: `dnssecd zone "
        f"move {zone} {nodes[0]}`. Then `dnssecd key retire {zone} --key-tag TAG` there, for each lost key, in place "
        "of the steps below. No answer fails, and the zone can change all the time.",
    )


def _signs(key: Key) -> bool:
    return key.krrsig.visible or key.zrrsig.visible


def _over_at(key: Key, ahead: Simulation, now: int) -> int | None:
    """Return when the last of the key's kinds of signature is replaced by its successor's."""
    ends = []
    for rec in (Rec.KRRSIG, Rec.ZRRSIG):
        if not key.record(rec).visible:
            continue
        gone = [
            span.start
            for span in ahead.spans
            if (span.ref, span.rec) == (key.ref, rec) and span.state in (State.UNRETENTIVE, State.HIDDEN)
        ]
        if not gone:
            return None
        ends.append(min(gone))
    return max(ends, default=now)


def _costs(
    key: Key,
    keyset: Keyset,
    policy: RolloverPolicy,
    assume: Assumptions,
    over_at: int | None,
    expires_at: int | None,
) -> tuple[str, ...]:
    if not secured(keyset):
        return (UNSECURED,)
    costs = []
    if over_at is None:
        costs.append(LAST_WAY_OUT)
    if expires_at is not None and (over_at is None or over_at >= expires_at):
        costs.append(
            f"THE ZONE FAILS AT {moment(expires_at)}, when the first signature expires, unless the key is found or "
            "the parent acts earlier than assumed. The last way out is to have the parent remove the DS in time: the "
            "zone is then insecure, but it resolves."
        )
    if key.krrsig.visible:
        costs += _costs_of_set(key, keyset)
    if key.zrrsig.visible:
        costs += _costs_of_data(key, keyset, policy, assume)
    if policy.manual or policy.freeze:
        costs.append("Approvals and freeze windows do not apply to this rollover.")
    return tuple(costs)


def _costs_of_set(key: Key, keyset: Keyset) -> list[str]:
    costs = [
        "The DNSKEY RRset cannot change until the parent has the DS of the successor: no other rollover begins.",
        "No CDS is published until then, as no key that the parent knows could sign it. Add the DS at the parent by "
        "hand, by push or by hook; keep the DS of the lost key. If the parent reads CDS: ask it to read none now.",
    ]
    if not any(
        _is_standby(other, Role.KSK, key) and other.ds.state is State.OMNIPRESENT for other in keyset.keys
    ):
        costs.append("There is no standby key whose DS the parent has already (standby_ksk = true).")
    return costs


def _costs_of_data(key: Key, keyset: Keyset, policy: RolloverPolicy, assume: Assumptions) -> list[str]:
    ready = any(
        _is_standby(other, Role.ZSK, key) and other.dnskey.state is State.OMNIPRESENT for other in keyset.keys
    )
    if ready and not key.krrsig.visible:
        return ["The standby ZSK signs at once; signatures by the lost key are replaced as they come due."]
    seconds = timing.ipub(policy.propagation_delay, max(policy.dnskey_ttl, assume.ttl_dnskey))
    return [
        "The content of the zone cannot change until the successor signs: new input and updates are refused.",
        f"For about {seconds} s after the successor's DNSKEY is published, validators with an older DNSKEY RRset "
        "cannot check the SOA, which only the successor can sign: for them negative answers fail. Positive answers do "
        "not. A standby ZSK spares the zone this (standby_zsk = true).",
    ]


def _is_standby(other: Key, role: Role, key: Key) -> bool:
    fits = other.role in (role, key.role) and other.algorithm == key.algorithm
    return other.goal is Goal.STANDBY and fits and not other.lost and other.ref != key.ref
