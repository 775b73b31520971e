"""Another signer of the zone (RFC 8901, model 2): its servers, its people, and the delegation's NS.

It signs with keys of its own, publishes our zone-signing keys some time after they are in a version of ours, is brought
into the delegation when the program advises it, and leaves some time after its keys were asked to go.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dnssecd.core.keys.evidence import SignerSight
from dnssecd.core.keys.foreign_keys import add_foreign, remove_foreign
from dnssecd.core.keys.keyset import KeysetError
from dnssecd.core.keys.keystate import Role, State

from .oracle import Version
from .scenario import DAY, HOUR, MINUTE, SIZES
from .servers import RRSETS

if TYPE_CHECKING:
    from .world import World

NAME, NS = "other", "ns.other.example."


@dataclass
class Server:
    """One of its servers: the zone-signing keys of ours that it publishes, and what was seen of it.

    ``ready``: when it takes our keys over for the first time.
    """

    name: str
    ready: float = 0.0
    ours: frozenset[bytes] = frozenset()
    theirs: frozenset[bytes] = frozenset()
    data_by: bytes = b""
    sight: SignerSight | None = None


@dataclass
class OtherSigner:
    """`in_zone`: its NS is in the zone; `at_parents`: the parent's servers whose delegation has it."""

    world: World
    lag: float
    ns_ttl: int
    ksk: bytes = b""
    zsk: bytes = b""
    extra: list[bytes] = field(default_factory=list)  # other ZSKs of its own that it publishes
    servers: list[Server] = field(default_factory=lambda: [Server("other0"), Server("other1")])
    joined: bool = False
    leaving: bool = False
    live: bool = False
    in_zone: bool = False
    zone_version: int = -1  # our version that took its NS out
    at_parents: set[str] = field(default_factory=set)
    advised: bool = False

    def make_key(self, flags: int, algorithm: int) -> bytes:
        seed = f"other {flags} {self.world.rng.random()}".encode()
        public = hashlib.shake_256(seed).digest(SIZES[algorithm])
        return flags.to_bytes(2) + bytes((3, algorithm)) + public

    def join(self) -> None:
        """It hands over its keys; they are imported."""
        world = self.world
        algorithms = {key.algorithm for key in world.keyset.keys if not key.foreign and key.krrsig.visible}
        if self.joined or not algorithms or not world.policy.signed:
            return
        algorithm = sorted(algorithms)[0]
        self.ksk, self.zsk = self.make_key(257, algorithm), self.make_key(256, algorithm)
        self.extra = []
        try:
            keyset = add_foreign(world.keyset, self.ksk, NAME, world.clock)
            world.keyset = add_foreign(keyset, self.zsk, NAME, world.clock)
        except KeysetError as error:
            world.log(f"refused: {error}")
            return
        self.joined, self.leaving, self.advised = True, False, False
        world.oracle.foreign |= {self.ksk, self.zsk}
        world.log("otherjoins")
        for server in self.servers:
            server.ours, server.theirs = frozenset(), frozenset({self.ksk, self.zsk})
            server.data_by = self.zsk
            server.ready = world.now + 20 * self.lag * world.rng.random()
            world.at(server.ready, lambda server=server: self.update(server))  # type: ignore[misc]

    def follow(self) -> None:
        """Each server takes over our keys, and its own, some time after they changed."""
        for server in self.servers if self.joined else ():
            lag = self.lag * self.world.rng.random()
            self.world.after(lag, lambda server=server: self.update(server))  # type: ignore[misc]

    def update(self, server: Server) -> None:
        if not self.joined or self.world.now < server.ready:
            return
        version = self.world.zone.versions[-1][1]
        signing = {key for _, _, signers in version.data for key in signers}
        csks = {key.rdata for key in self.world.keyset.keys if key.role is Role.CSK}
        server.ours = frozenset(key for key in version.dnskeys if not key[1] & 1 or key in signing | csks)
        server.ours -= self.world.oracle.foreign
        server.theirs = frozenset({self.ksk, self.zsk, *self.extra})
        server.data_by = self.zsk
        if self.live:
            self.serve(server)

    def serve(self, server: Server) -> None:
        world = self.world
        signers = frozenset({server.data_by})
        data = tuple((f"rrset{n}", world._ttl_of(n), signers) for n in range(RRSETS))
        version = Version(
            server.theirs | server.ours,
            frozenset({self.ksk}),
            world.policy.dnskey_ttl,
            world.scenario.ttl_negative,
            data,
        )
        world.oracle.serve(server.name, version, world.now)

    def poll(self) -> None:
        """The daemon looks at the servers; a key counts from when it was first seen without a gap."""
        for server in self.servers:
            if not self.joined or self.world.rng.random() < 0.1:
                continue
            before = dict(server.sight.dnskeys or ()) if server.sight else {}
            now = self.world.clock
            keys = tuple((key, before.get(key, now)) for key in sorted(server.theirs | server.ours))
            server.sight = SignerSight(server.name, NAME, keys, self.world.policy.dnskey_ttl, now)

    def sights(self) -> tuple[SignerSight, ...]:
        return tuple(server.sight or SignerSight(server.name, NAME) for server in self.servers)

    def heed(self, rules: set[str]) -> None:
        """Its NS go in when the program says so, some time later."""
        if "signer-ns" in rules and not self.advised and not self.leaving:
            self.advised = True
            self.world.after(self.world.rng.uniform(0, 2 * DAY), self.enter)

    def enter(self) -> None:
        if self.leaving or not self.joined:
            return
        self.world.log("otherserves")
        self.live = self.in_zone = True
        self.at_parents = {parent.name for parent in self.world.parents}
        for server in self.servers:
            self.serve(server)
        self.world.commit()
        self.world.daemon()

    def roll(self) -> None:
        """Its ZSK rolls: the new one is imported, signs when all our sets have it, and the old one goes."""
        if not self.joined or self.leaving or self.extra:
            return
        new = self.make_key(256, self.zsk[3])
        try:
            self.world.keyset = add_foreign(self.world.keyset, new, NAME, self.world.clock)
        except KeysetError:
            return
        self.world.oracle.foreign.add(new)
        self.extra = [new]
        self.world.log("otherrolls")
        self.follow()
        self.world.daemon()
        self.world.after(HOUR + self.lag + self.world.policy.dnskey_ttl, lambda: self.sign_with(new))

    def sign_with(self, new: bytes) -> None:
        if not self.joined or self.leaving:
            return
        key = next((key for key in self.world.keyset.keys if key.rdata == new), None)
        if key is None or key.dnskey.state is not State.OMNIPRESENT:
            self.world.after(DAY / 2, lambda: self.sign_with(new))
            return
        old, self.zsk, self.extra = self.zsk, new, [self.zsk]
        tag = next(key.tag for key in self.world.keyset.keys if key.rdata == old)
        self.follow()
        self.world.keyset = remove_foreign(self.world.keyset, self.world.clock, signer=NAME, tag=tag)
        self.world.daemon()
        wait = self.lag + max(self.world.scenario.ttl_zone * 2, self.world.scenario.ttl_negative)
        self.world.after(wait + HOUR, lambda: self.drop(old))

    def drop(self, old: bytes) -> None:
        if self.joined and not self.leaving:
            self.extra = [key for key in self.extra if key != old]
            self.follow()

    def leave(self) -> None:
        """Its keys are asked to go; its NS go some time later, then its servers are asked no more."""
        if not self.joined or self.leaving:
            return
        self.world.log("otherleaves")
        self.leaving = True
        self.world.keyset = remove_foreign(self.world.keyset, self.world.clock, signer=NAME)
        self.world.daemon()
        self.world.after(self.world.rng.uniform(0, 4 * DAY), self.leave_zone)

    def leave_zone(self) -> None:
        if self.in_zone:
            self.in_zone = False
            self.world.commit()
        self.zone_version = len(self.world.zone.versions) - 1
        for parent in self.world.parents:
            lag = self.world.scenario.parent_lag * self.world.rng.random()
            self.world.after(lag, lambda name=parent.name: self.leave_parent(name))  # type: ignore[misc]
        self.world.daemon()

    def leave_parent(self, name: str) -> None:
        self.at_parents.discard(name)
        if not self.at_parents:
            self.out_of_delegation()

    def out_of_delegation(self) -> None:
        """From when neither parent nor zone has its NS, it is asked for the TTL of those."""
        if any(secondary.version < self.zone_version for secondary in self.world.secondaries):
            self.world.after(MINUTE, self.out_of_delegation)
            return
        if not self.world.scenario.parents_known:
            self.say_gone()
        self.world.after(self.ns_ttl, self.stop)

    def say_gone(self) -> None:
        try:
            self.world.keyset = remove_foreign(self.world.keyset, self.world.clock, signer=NAME, ns_gone=True)
        except KeysetError:
            return
        self.world.daemon()

    def stop(self) -> None:
        self.live = False
        for server in self.servers:
            self.world.oracle.leave(server.name, self.world.now)

    def ns_of(self, parent: str) -> tuple[str, ...]:
        return ("ns.ours.example.", NS) if parent in self.at_parents else ("ns.ours.example.",)

    def settled(self) -> bool:
        """Whether its keys are all there, and it serves; or all gone."""
        keys = [key for key in self.world.keyset.keys if key.foreign and not key.of_node]
        used = [key for key in keys if any(key.record(rec).state is not State.HIDDEN for rec in key.records)]
        if self.leaving or not self.joined:
            return not used
        states = {key.record(rec).state for key in used for rec in key.records}
        return self.live and not self.extra and states == {State.OMNIPRESENT} and len(used) == 2
