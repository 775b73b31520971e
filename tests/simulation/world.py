"""A zone's world on a virtual clock: the daemon around the planner, secondaries, parent, operator, mishaps.

The true time is `now`; the daemon's clock is `now + offset`.  What servers serve goes to the oracle the moment it
is served.  Everything random comes from one generator, so the same seed gives the same trace.
"""

import hashlib
import heapq
from collections.abc import Callable
from random import Random
from typing import TypeVar

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.evidence import (
    Confirmation,
    Evidence,
    KeyBackup,
    ParentSight,
    SecondarySight,
    SignatureCount,
)
from dnssecd.core.keys.keyset import (
    DELETE_CDNSKEY,
    DELETE_CDS,
    REVOKE,
    Key,
    Keyset,
    KeysetError,
    SigningView,
    published,
    signing_view,
)
from dnssecd.core.keys.keystate import Event, Goal, Rec, Role, State
from dnssecd.core.keys.planner import TABLES, Tables, plan_rollover
from dnssecd.core.keys.types import Gate, GenerateKey, KeyEffect, Plan, PublishDnskey, SubmitDs
from dnssecd.core.verify.delegation import ds_gaps
from dnssecd.core.verify.keys import ZoneKey
from dnssecd.pipeline.jobs.rekey import changes_zone

from .acts import perform
from .oracle import AnchorKeeper, Bogus, Validators, Version
from .other_signer import NAME, NS, OtherSigner
from .scenario import DAY, HOUR, SIZES, Scenario, log_between
from .second_node import SecondNode
from .servers import RRSETS, ParentServer, Secondary, Zone

ORIGIN = "zone.example."
APEX = b"\x04zone\x07example\x00"
PLANS_MAX = 20_000
PATIENCE = 400 * DAY


class Stuck(AssertionError):
    """The zone did not get where its policy wants it; the message has the blockers."""


class World:
    """Run it; it raises Bogus or Stuck, or comes to rest."""

    def __init__(self, scenario: Scenario, seed: int, tables: Tables = TABLES) -> None:
        self.scenario, self.tables = scenario, tables
        self.rng = Random(f"world {seed}")
        self.now = 0.0
        self.start = 1_700_000_000
        self.offset = self.base = 0.0
        self.clock_sure = True
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.count = 0
        self.trace: list[str] = []
        self.oracle = Validators(ORIGIN)
        self.keepers: list[AnchorKeeper] = []
        # the daemon: what it keeps
        self.policy = scenario.policy
        self.keyset = Keyset(APEX)
        self.zone = Zone()
        self.serial = 2**32 - 3
        self.committed = 0
        self.pending: list[tuple[float, int]] = []  # RRsets to sign again: (when, which)
        self.generating: dict[str, float] = {}
        self.confirmations: list[Confirmation] = []
        self.backups: list[KeyBackup] = []
        # the daemon: what it has seen
        self.sights: dict[str, SecondarySight] = {}
        self.parent_sights: dict[str, ParentSight] = {}
        self.seen_ds: set[bytes] = set()
        self.polling = False
        self.poll_gap = scenario.poll
        self.plan: Plan | None = None
        # the others
        self.ttl_zone, self.ttl_ds = scenario.ttl_zone, scenario.ttl_ds
        self.secondaries = [Secondary(f"ns{n}") for n in range(scenario.secondaries)]
        self.parents = [ParentServer(f"parent{n}") for n in range(scenario.parents)]
        self.registry: frozenset[bytes] = frozenset()
        self.registry_serial = -1
        self.registry_busy = False
        self.gave_up = False  # the policy wanted the zone insecure, and the parent may act on that late
        self.plans = self.wakes = 0
        self.asked: set[str] = set()
        others = Random(f"other signer {seed}")
        self.other = OtherSigner(self, log_between(others, 1, 2 * DAY), int(log_between(others, 60, 2 * DAY)))
        self.node = SecondNode(self)
        self.last_policy: object = None  # the latest change of policy, put off while a lost key holds it up

    # The clock

    @property
    def clock(self) -> int:
        """What the daemon takes the time to be."""
        return int(self.start + self.now + self.offset)

    def at(self, when: float, what: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.heap, (max(when, self.now), self.count, what))

    def after(self, delay: float, what: Callable[[], None]) -> None:
        self.at(self.now + delay, what)

    def log(self, text: str) -> None:
        self.trace.append(f"{self.now / DAY:9.4f} {text}")

    def run(self) -> None:
        """From the first key to the end of all acts, then until all is as the last policy wants it."""
        for act in self.scenario.acts:
            self.at(act.at, lambda act=act: perform(self, act))  # type: ignore[misc]
        for parent in self.parents:
            self.oracle.serve_ds(parent.name, parent.ds, self.ttl_ds, 0.0)
        self.commit()
        self.at(0, self.daemon)
        while self.heap and self.plans < PLANS_MAX:
            when, _, what = heapq.heappop(self.heap)
            if when > self.scenario.quiet_at + PATIENCE:
                break
            self.now = when
            what()
            if self.now > self.scenario.quiet_at and self.settled():
                return
        raise Stuck(f"not settled at {self.now / DAY:.1f} d: " + "; ".join(self.why()))

    def why(self) -> list[str]:
        return [
            f"{b.gate}/{b.rule} {b.tag} {b.rec} {b.event} {b.missing}"
            for b in (self.plan.blockers if self.plan else ())
        ]

    def settled(self) -> bool:
        """Whether keys are exactly those wanted, each of their records known everywhere."""
        if self.plan is None or self.generating or not self.clock_sure:
            return False
        keys = [
            key
            for key in self.keyset.keys
            if not key.foreign and any(key.record(rec).state is not State.HIDDEN for rec in key.records)
        ]
        if not self.other.settled() or not self.node.settled():
            return False
        if not self.policy.signed:
            return not keys
        wanted = [spec.role for spec in self.policy.specs]
        for spec in self.policy.specs:
            if self.policy.standby_zsk if spec.role is Role.ZSK else self.policy.standby_ksk:
                wanted.append(spec.role)
        if sorted(wanted) != sorted(key.role for key in keys):
            return False
        return all(self._arrived(key) for key in keys)

    def _arrived(self, key: Key) -> bool:
        if not any(spec.fits(key) for spec in self.policy.specs):
            return False
        standby = (Rec.DNSKEY,) if key.role is Role.ZSK else (Rec.DS,)
        recs: tuple[Rec, ...] = key.records if key.goal is Goal.PRESENT else standby
        if self.scenario.registry == "never" and key.ds.state is State.RUMOURED:
            recs = tuple(rec for rec in recs if rec is not Rec.DS)
        return all(key.record(rec).state is State.OMNIPRESENT for rec in recs)

    # The daemon

    def daemon(self) -> None:
        """Plan and act until nothing changes."""
        for _ in range(20):
            self.plans += 1
            self.node.exchange()
            plan = plan_rollover(self.keyset, self.policy, self.evidence(), self.clock, self.tables)
            self.plan = plan
            changed = plan.keyset != self.keyset or plan.republish
            if changed and self.rng.random() < self.scenario.crash:
                self.log("crash before commit")
                self.restart()
                self.after(60, self.daemon)
                return
            if not plan.republish and changes_zone(self.keyset, plan.keyset, cds=True):
                raise Bogus("a key set that changes the published zone is stored without a new version")
            self.keyset = plan.keyset
            self.note(plan)
            if plan.republish:
                self.commit()
            if not changed:
                break
        else:
            raise Stuck("twenty plans in a row changed something")
        self.believe()
        for request in plan.effects:
            if isinstance(request, GenerateKey):
                self.generate(request)
        self.wakes += 1
        if plan.next_wake is not None:
            self.after(max(plan.next_wake - self.clock, 1), lambda wake=self.wakes: self.wake(wake))  # type: ignore[misc]
        self.see_to_people(plan)

    def wake(self, number: int) -> None:
        """The planner's own wake-up, unless it has planned since."""
        if number == self.wakes:
            self.daemon()

    def note(self, plan: Plan) -> None:
        for effect in plan.effects:
            if isinstance(effect, KeyEffect):
                self.log(f"{type(effect).__name__} {effect!r}")
            if isinstance(effect, PublishDnskey | SubmitDs) and self.policy.require_backup:
                self.must_be_backed_up(plan, effect.ref)

    def must_be_backed_up(self, plan: Plan, ref: str) -> None:
        """No key is used without a backup, unless it replaces one that is compromised or lost.

        A revoked key is used for nothing: if it is lost, its revocation ends, and nothing has to replace it.
        """
        used = plan.keyset.find(ref)
        assert used is not None
        if used.revoked:
            return
        key_id = self.node.key_id_of(used)
        if _in_emergency(plan.keyset):
            self.node.hurried.add(used.rdata)
            return
        if self.node.excused(used):
            return
        if not any(backup.key_id == key_id for backup in self.backups):
            self.fail(f"{ref} is used without a backup")

    @property
    def in_emergency(self) -> bool:
        """Whether a compromised or lost key may be in use: then no key waits for its backup."""
        return _in_emergency(self.keyset)

    def believe(self) -> None:
        for key in self.keyset.keys:
            for rec in key.records:
                if rec is Rec.DS and not self.policy.parent:
                    continue  # an anchor of an island is as good as hidden once validators have another
                if (
                    rec is Rec.DS
                    and key.ds.state is State.HIDDEN
                    and not self.seen_ds & self.oracle.ds_of(key.rdata)
                ):
                    continue  # withdrawn before any server had it: no look tells that a registry still adds it
                self.oracle.believe(key.rdata, rec.value, key.record(rec).state.value, self.now)

    def evidence(self) -> Evidence:
        sights = tuple(self.sights.get(s.name, SecondarySight(s.name)) for s in self.secondaries)
        parents = tuple(self.parent_sights.get(p.name, ParentSight(p.name)) for p in self.parents)
        return Evidence(
            serial=self.serial,
            committed=self.committed,
            secondaries=sights,
            parents=parents if self.scenario.parents_known else (),
            confirmations=tuple(self.confirmations),
            signatures=tuple(
                self.signature_count(key) for key in self.keyset.keys if Rec.ZRRSIG in key.records
            ),
            ttl_dnskey=self.policy.dnskey_ttl,
            ttl_zone=self.ttl_zone,
            ttl_negative=self.scenario.ttl_negative,
            clock_sure=self.clock_sure,
            backups=tuple(self.backups),
            signers=self.other.sights() if self.other.joined else (),
            signer_ns=((NAME, (NS,)),),
            ns=("ns.ours.example.", NS) if self.other.in_zone else ("ns.ours.example.",),
        )

    def signature_count(self, key: Key) -> SignatureCount:
        made = sum(key.rdata in signers for signers in self.zone.signed_by)
        return SignatureCount(key.ref, made, RRSETS - made)

    def generate(self, request: GenerateKey) -> None:
        if request.request_id in self.generating:
            return
        delay = self.scenario.generate_delay * self.rng.random()
        self.generating[request.request_id] = self.now + delay
        self.after(delay, lambda: self.generated(request))

    def generated(self, request: GenerateKey) -> None:
        self.generating.pop(request.request_id, None)
        if request.role.value not in self.keyset_wants():
            self.after(1, self.daemon)
            return
        for attempt in range(9):
            seed = f"{request.request_id} {self.rng.random()} {attempt}".encode()
            public = hashlib.shake_256(seed).digest(SIZES[request.algorithm])
            try:
                self.keyset = commands.generated(
                    self.keyset, request, f"{request.request_id}#{self.count}", public, self.clock
                )
                break
            except KeysetError:
                continue
        self.log(f"generated {request.request_id} tag {self.keyset.keys[-1].tag} because {request.reason}")
        self.daemon()

    def keyset_wants(self) -> set[str]:
        """The requests the planner still makes (one may have been overtaken by a change of policy)."""
        plan = plan_rollover(self.keyset, self.policy, self.evidence(), self.clock, self.tables)
        return {effect.role.value for effect in plan.effects if isinstance(effect, GenerateKey)}

    def commit(self) -> None:
        """Make a zone version of what the key set wants, and tell the secondaries."""
        view = signing_view(self.keyset)
        zone = frozenset(_rdata(self.keyset, key.key_id, key.flags) for key in view.zone_keys)
        retiring = frozenset(_rdata(self.keyset, key.key_id, key.flags) for key in view.retiring_keys)
        lost = frozenset(_rdata(self.keyset, key.key_id, key.flags) for key in view.lost_keys)
        if zone & lost:
            self._sign_without(zone, retiring, lost)
        else:
            self._sign(zone, retiring, view.urgent)
        cds_signers = frozenset(_rdata(self.keyset, key.key_id, key.flags) for key in view.cds_keys)
        data = [(f"rrset{n}", self._ttl_of(n), signers) for n, signers in enumerate(self.zone.signed_by)]
        if view.cds and not zone & lost:  # like the SOA it may be signed by a key that is not everywhere yet
            data.append(("cds", self.policy.dnskey_ttl, cds_signers))
        version = Version(
            frozenset(view.dnskey_rdatas),
            frozenset(_rdata(self.keyset, key.key_id, key.flags) for key in view.dnskey_keys),
            self.policy.dnskey_ttl,
            self.scenario.ttl_negative,
            tuple(data),
        )
        self.pass_the_gate(view, version)
        self.must_not_sign(view, version, lost)
        self.serial = (self.serial + 1) % 2**32 or 1
        self.committed = self.clock
        self.keep_anchors()
        self.zone.versions.append((self.serial, version, frozenset(view.cds), self.wanted_ds()))
        self.keyset = published(self.keyset, self.serial, self.clock)
        self.log(f"commit serial {self.serial}")
        self.poll_gap = self.scenario.poll
        self.other.follow()
        if not self.secondaries:
            self.oracle.serve("primary", version, self.now)
            self.scan_soon()
        for secondary in self.secondaries:
            lag = self.scenario.secondary_lag * self.rng.random()
            self.at(max(self.now + lag, secondary.out_until), lambda s=secondary: self.transfer(s))  # type: ignore[misc]

    def pass_the_gate(self, view: SigningView, version: Version) -> None:
        """The CDS of each version stand for keys that sign, as the verifier demands before publication."""
        deletes = view.cds == (DELETE_CDS,)
        assert deletes == (view.cdnskey == (DELETE_CDNSKEY,)), "the delete forms stand together"
        if view.cds and not deletes:
            signing = [ZoneKey(rdata) for rdata in version.dnskey_signers if not rdata[1] & REVOKE]
            gaps = ds_gaps(view.cds, self.keyset.apex, signing)
            assert gaps == [], f"verification would refuse the CDS of serial {self.serial + 1}: {gaps}"

    def must_not_sign(self, view: SigningView, version: Version, lost: frozenset[bytes]) -> None:
        """Lost keys make no signature: what has one by them is as it was in the version before."""
        before = self.zone.versions[-1][1] if self.zone.versions else None
        if version.dnskey_signers & lost:
            assert before is not None
            if (
                version.dnskeys != before.dnskeys
                or not version.dnskey_signers & lost <= before.dnskey_signers
            ):
                self.fail("a lost key would have to sign the DNSKEY RRset")
        if version.dnskeys and not version.dnskey_signers:
            self.fail("no key would sign the DNSKEY RRset")
        able = [key for key in (view.soa_keys or view.zone_keys) if key not in view.lost_keys]
        if {key.algorithm for key in view.zone_keys} - {key.algorithm for key in able}:
            self.fail("a lost key would have to sign the SOA")

    def fail(self, why: str) -> None:
        raise Bogus(f"at {self.now / DAY:.4f} d: {why}")

    def stuck(self, why: str) -> None:
        raise Stuck(f"at {self.now / DAY:.4f} d: {why}")

    def keep_anchors(self) -> None:
        """While RFC 5011 is promised, validators rely on it; each begins with the keys announced then."""
        if not (self.policy.rfc5011 and self.policy.signed and self.keyset.signed):
            self.keepers = []
        elif len(self.keepers) < 3:
            keys = [key for key in self.keyset.keys if Rec.DS in key.records and key.goal is not Goal.ABSENT]
            anchors = frozenset(key.rdata for key in keys if key.dnskey.state is State.OMNIPRESENT)
            if any(key.krrsig.state is State.OMNIPRESENT for key in keys):
                keeper = AnchorKeeper(f"validator{self.count}", anchors)
                self.keepers.append(keeper)
                self.after(self.rng.uniform(0, HOUR), lambda: self.keeper_polls(keeper, True))

    def keeper_polls(self, keeper: AnchorKeeper, first: bool = False) -> None:
        served = [s.version for s in self.secondaries if s.version >= 0] or [len(self.zone.versions) - 1]
        version = self.zone.versions[self.rng.choice(served)][1]
        if keeper not in self.keepers or (
            first and not keeper.valid & version.dnskeys & version.dnskey_signers
        ):
            self.keepers = [other for other in self.keepers if other is not keeper]
            return
        self.at(keeper.poll(version, self.now), lambda: self.keeper_polls(keeper))

    def _ttl_of(self, rrset: int) -> int:
        return max(1, self.ttl_zone // (1 + 3 * rrset)) if rrset < RRSETS - 1 else self.scenario.ttl_negative

    def _sign(self, zone: frozenset[bytes], retiring: frozenset[bytes], urgent: bool) -> None:
        algorithms = {key[3] for key in zone}
        todo = []
        for n, signers in enumerate(self.zone.signed_by):
            kept = frozenset(
                key for key in signers if key in zone or (key in retiring and key[3] in algorithms)
            )
            self.zone.signed_by[n] = kept
            if kept != zone:
                todo.append(n)
        complete = all({key[3] for key in signers} >= algorithms for signers in self.zone.signed_by)
        resign = 0.0 if urgent or (not complete and self.rng.random() < 0.7) else self.scenario.resign
        self.pending = []
        for n in todo:
            delay = resign * self.rng.random()
            if delay < 1:
                self.zone.signed_by[n] = zone
            else:
                self.pending.append((self.now + delay, n))
                self.at(self.now + delay, self.resign_due)

    def _sign_without(
        self, zone: frozenset[bytes], retiring: frozenset[bytes], lost: frozenset[bytes]
    ) -> None:
        """Keep what lost keys signed; the others sign beside it."""
        self.pending = []
        for n, signers in enumerate(self.zone.signed_by):
            kept = frozenset(key for key in signers if key in zone | retiring)
            made = kept | (zone - lost)
            if {key[3] for key in zone} - {key[3] for key in made}:
                self.fail("a lost key would have to sign zone data")
            self.zone.signed_by[n] = made

    def resign_due(self) -> None:
        """The signatures of some RRsets are replaced."""
        due = [n for when, n in self.pending if when <= self.now]
        if not due or not self.clock_sure:
            if due:
                self.after(HOUR, self.resign_due)
            return
        view = signing_view(self.keyset)
        if set(view.lost_keys) & set(view.zone_keys):
            return  # the swap to the successor signs all
        zone = frozenset(_rdata(self.keyset, key.key_id, key.flags) for key in view.zone_keys)
        later = [(when, n) for when, n in self.pending if when > self.now]
        for n in due:
            self.zone.signed_by[n] = zone
        self.commit()
        self.pending = [item for item in later if self.zone.signed_by[item[1]] != zone]
        for when, _ in self.pending:
            self.at(when, self.resign_due)
        self.daemon()

    def forget_sights(self) -> None:
        self.sights, self.parent_sights = {}, {}
        for server in self.other.servers:
            server.sight = None

    def restart(self) -> None:
        self.log("restart")
        if self.scenario.forgetful:
            self.forget_sights()
        self.generating = {}

    def poll(self) -> None:
        """Ask every secondary for its serial and every parent server for its DS set."""
        self.polling = False
        for secondary in self.secondaries:
            if secondary.out_until <= self.now and secondary.version >= 0 and self.rng.random() < 0.9:
                serial = self.zone.versions[secondary.version][0]
                self.sights[secondary.name] = SecondarySight(secondary.name, serial, self.clock)
        for parent in self.parents:
            if parent.out_until <= self.now and self.rng.random() < 0.9:
                ds = tuple(sorted(parent.ds))
                self.seen_ds.update(ds)
                self.parent_sights[parent.name] = ParentSight(
                    parent.name,
                    ds,
                    self.ttl_ds,
                    self.clock,
                    ns=self.other.ns_of(parent.name),
                    ns_ttl=self.other.ns_ttl,
                )
        self.other.poll()
        self.daemon()

    # The secondaries and the parent

    def transfer(self, secondary: Secondary) -> None:
        newest = len(self.zone.versions) - 1
        if secondary.out_until > self.now:
            self.at(secondary.out_until, lambda: self.transfer(secondary))
        elif secondary.version < newest:
            secondary.version = newest
            self.oracle.serve(secondary.name, self.zone.versions[newest][1], self.now)
            self.scan_soon()

    def wanted_ds(self) -> frozenset[bytes]:
        return frozenset(
            ds
            for key in self.keyset.keys
            if key.ds.visible
            for ds in self.oracle.ds_of(key.rdata)
            if ds[3] == 2
        )

    def scan_soon(self) -> None:
        """The registry (or a person) looks some time after something has changed."""
        if not self.registry_busy:
            self.registry_busy = True
            self.after(self.scenario.registry_delay * self.rng.uniform(0.1, 1), self.registry_acts)

    def registry_acts(self) -> None:
        self.registry_busy = False
        if self.scenario.registry == "cds":
            self.scan_cds()
        elif self.scenario.registry == "person":
            self.type_in()

    def scan_cds(self) -> None:
        """RFC 7344: read CDS at one server, refuse what is older than what was accepted.

        With a lost KSK there is none, and with a lost ZSK none that asks for an insecure zone: a person asks the
        registry, which then reads no older ones.
        """
        insecure = not self.keyset.signed
        if any(
            key.lost and (key.krrsig.visible or (insecure and key.zrrsig.visible)) for key in self.keyset.keys
        ):
            self.registry_serial = len(self.zone.versions)
            self.type_in()
            return
        served = [s.version for s in self.secondaries if s.version >= 0] or [len(self.zone.versions) - 1]
        index = self.rng.choice(served)
        cds = self.zone.versions[index][2]
        if index < self.registry_serial:
            self.scan_soon()
        elif cds:
            self.registry_serial = index
            self.register(frozenset() if cds == {bytes(5)} else cds)
        if index < len(self.zone.versions) - 1:
            self.scan_soon()

    def type_in(self) -> None:
        """A person looks at `ds show`: adds what is wanted, removes the rest some time later."""
        wanted = self.wanted_ds()
        if wanted == self.registry:
            return
        if wanted - self.registry and self.registry - wanted and self.rng.random() < 0.5:
            self.register(self.registry | wanted)
            self.registry_busy = True
            self.after(self.scenario.registry_delay * self.rng.uniform(0.1, 1), self.registry_acts)
        elif wanted or self.registry:
            self.register(wanted)

    def register(self, ds: frozenset[bytes]) -> None:
        if ds == self.registry:
            return
        self.registry = ds
        self.log(f"registry has DS {sorted(int.from_bytes(d[:2]) for d in ds)}")
        self.gave_up = self.gave_up and (not ds or not self.policy.signed)
        if not ds and self.keyset.signed and self.policy.signed and not self.gave_up:
            raise Bogus(f"at {self.now / DAY:.4f} d: the zone lost its last DS, but is to be secure")
        for parent in self.parents:
            lag = self.scenario.parent_lag * self.rng.random()
            self.at(max(self.now + lag, parent.out_until), lambda p=parent: self.parent_serves(p))  # type: ignore[misc]

    def parent_serves(self, parent: ParentServer) -> None:
        if parent.out_until > self.now:
            self.at(parent.out_until, lambda: self.parent_serves(parent))
        elif parent.ds != self.registry:
            parent.ds = self.registry
            self.oracle.serve_ds(parent.name, parent.ds, self.ttl_ds, self.now)
            if not self.scenario.parents_known:
                self.after(self.rng.uniform(0, DAY), self.confirm)

    # People

    def see_to_people(self, plan: Plan) -> None:
        """Approvals are given, servers polled while something is awaited of them."""
        self.other.heed({blocker.rule for blocker in plan.blockers})
        tokens = [blocker.token for blocker in plan.blockers if blocker.gate is Gate.APPROVAL]
        for token in tokens:
            if token in self.asked:
                continue
            self.asked.add(token)
            self.after(self.rng.uniform(0, 2 * DAY), lambda token=token: self.approve(token))  # type: ignore[misc]
        for blocker in plan.blockers if self.scenario.registry == "never" and not self.policy.parent else ():
            if (
                any(missing.whom == "an operator" for missing in blocker.missing)
                and blocker.ref not in self.asked
            ):
                self.asked.add(blocker.ref)
                present = blocker.event is Event.SETTLE
                self.after(self.rng.uniform(0, 5 * DAY), lambda ref=blocker.ref, p=present: self.say(ref, p))  # type: ignore[misc]
        asked = {missing.whom for blocker in plan.blockers for missing in blocker.missing}
        asks = self.scenario.registry == "person" and asked & {"the parent", "an operator"}
        if asks and "the parent" not in self.asked:
            self.asked.add("the parent")
            self.after(self.rng.uniform(0, 5 * DAY), self.confirm)
        for blocker in plan.blockers:
            key = self.keyset.find(blocker.ref)
            if blocker.gate is Gate.BACKUP and key is not None:
                self.back_up_later(key.key_id)
        waits = any(blocker.missing for blocker in plan.blockers)
        if not self.polling:
            self.polling = True
            self.poll_gap = min(self.poll_gap * 1.3, DAY)
            self.after(self.poll_gap * self.rng.uniform(0.5, 1) if waits else 5 * DAY, self.poll)
        if waits:
            self.scan_soon()

    def back_up_later(self, key_id: str) -> None:
        """Once for each key: a person makes a backup some days later."""
        if f"backup {key_id}" not in self.asked:
            self.asked.add(f"backup {key_id}")
            self.after(self.rng.uniform(0, 3 * DAY), lambda: self.back_up(key_id))

    def back_up(self, key_id: str) -> None:
        self.backups.append(KeyBackup(key_id, self.clock, "a file"))
        self.daemon()

    def say(self, ref: str, present: bool) -> None:
        """The word of a person who looks after the validators of an island of trust."""
        self.confirmations.append(Confirmation(ref, present, self.clock, "an operator"))
        self.asked.discard(ref)
        self.daemon()

    def approve(self, token: str) -> None:
        self.asked.discard(token)
        if token not in self.keyset.approved:
            self.keyset = commands.approve(self.keyset, token)
            self.daemon()

    def confirm(self) -> None:
        """A person has looked at all the parent's servers."""
        self.asked.discard("the parent")
        self.oracle.now = self.now
        if any(parent.ds != self.registry for parent in self.parents):
            return
        if not self.policy.parent and self.oracle.held("ds") != [self.registry]:
            self.after(
                max(self.ttl_ds, 600), self.confirm
            )  # of an island one tells what validators trust, not what was asked
            return
        for key in self.keyset.keys:
            present = bool(self.oracle.ds_of(key.rdata) & self.registry)
            self.confirmations.append(Confirmation(key.ref, present, self.clock, "an operator"))
        self.daemon()


def _in_emergency(keyset: Keyset) -> bool:
    return any(
        (key.compromised or key.lost)
        and any(key.record(rec).state is not State.HIDDEN for rec in key.records)
        for key in keyset.keys
    )


def _rdata(keyset: Keyset, key_id: str, flags: int) -> bytes:
    return next(key.rdata for key in keyset.keys if key.key_id == key_id and key.flags == flags)


W = TypeVar("W", bound=World)


def run_shown(world: W, what: str) -> W:
    """Run a world; where it fails, print what it is and the end of its trace."""
    try:
        world.run()
    except AssertionError:
        print(what)
        print("\n".join(world.trace[-60:]))
        raise
    return world
