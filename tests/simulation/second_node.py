"""A second node of the cluster, with keys of its own: the two announce them, and take the zone over from each other.

The zone's key set belongs to the owner of the moment; what was seen belongs to the node, and is lost with it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dnssecd.core.keys.keyset import ZONE, Key, KeysetError, dnskey_rdata, key_tag, used_tags
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.core.keys.node_keys import (
    HeldKey,
    NodeKey,
    choose_own,
    fits,
    follow_nodes,
    hand_over,
    signer_of,
    unsaved,
)
from dnssecd.core.keys.types import KeySpec
from dnssecd.replacing import replace

from .scenario import HOUR, SIZES

if TYPE_CHECKING:
    from .world import World

NODES = ("a", "b")
#: A node that cannot take over yet tries again after this time, so often.
AGAIN_S, TRIES = 6 * HOUR, 60
#: A node with keys that all validators have is refused at most so often in a row.
REFUSED_MAX = 8


@dataclass
class SecondNode:
    """`owner`: the node that signs; `made`: what each node's key service holds, by DNSKEY RDATA."""

    world: World
    owner: str = "a"
    joined: bool = False
    left: bool = False
    taken: int = 0
    refused: int = 0
    made: dict[str, dict[bytes, tuple[Role, HeldKey]]] = field(default_factory=lambda: {"a": {}, "b": {}})
    announced: dict[str, tuple[NodeKey, ...]] = field(default_factory=dict)
    hurried: set[bytes] = field(default_factory=set)

    @property
    def other(self) -> str:
        """The node that does not own the zone."""
        return "b" if self.owner == "a" else "a"

    def join(self) -> None:
        """Both nodes run from now on."""
        if not self.left:
            self.joined = True
            self.world.log("nodejoins")

    def leave(self) -> None:
        """The other node is taken out of the configuration."""
        self.left = self.joined
        self.joined = False
        self.world.log("nodeleaves")

    def note_ours(self) -> None:
        """Remember the keys that the owner has made."""
        for key in self.world.keyset.keys:
            if not key.foreign and not key.revoked:
                self.made[self.owner].setdefault(
                    key.rdata, (key.role, HeldKey(key.key_id, key.keystore, key.bits))
                )

    def excused(self, key: Key) -> bool:
        """Return whether a key of the other node was announced or published when a key had to be replaced at once."""
        return key.of_node and key.rdata in self.hurried

    def key_id_of(self, key: Key) -> str:
        """Return the id of a key in the key service of the node that has it."""
        held = {**self.made["a"], **self.made["b"]}
        return held[key.rdata][1].key_id if key.of_node else key.key_id

    def exchange(self) -> None:
        """The other node announces its keys, made where there are none; the owner takes them in."""
        world = self.world
        if not (self.joined or self.left) or not world.keyset.keys:
            return
        self.note_ours()
        if self.joined and world.keyset.node and world.policy.signed:
            self.announced[self.other] = tuple(self._announce())
        nodes = NODES if self.joined else (self.owner,)
        keyset, refused = follow_nodes(world.keyset, self.owner, self.announced, nodes, world.clock)
        for why in refused:
            world.log(f"refused: {why}")
        world.keyset = keyset

    def _announce(self) -> list[NodeKey]:
        keyset, mine = self.world.keyset, self.made[self.other]
        held = {rdata: one for rdata, (_, one) in mine.items()}
        choice = choose_own(keyset, self.other, self.world.policy.specs, held, self.world.clock)
        wanted = set(choice.rdatas)
        for spec in choice.lacking:
            wanted.add(self._fresh(spec))
        wanted -= self._waiting({rdata: mine[rdata][1].key_id for rdata in wanted})
        if self.world.in_emergency:
            self.hurried |= wanted
        return [NodeKey(mine[rdata][0], rdata) for rdata in sorted(wanted)]

    def _waiting(self, wanted: dict[bytes, str]) -> frozenset[bytes]:
        """Return the keys that are not announced before a person has backed them up."""
        world = self.world
        if not world.policy.require_backup:
            return frozenset()
        saved = {backup.key_id for backup in world.backups}
        waiting = unsaved(world.keyset, wanted, saved)
        for rdata in sorted(waiting):
            world.back_up_later(wanted[rdata])
        return waiting

    def _fresh(self, spec: KeySpec) -> bytes:
        """A key that the zone does not have."""
        keyset, mine = self.world.keyset, self.made[self.other]
        refused = {key.rdata for key in keyset.keys}
        for rdata, (role, one) in mine.items():
            fresh = rdata not in refused and not self._past(rdata) and not self._clashes(rdata)
            if fresh and fits(spec, role, rdata[3], one):
                return rdata
        while True:
            flags = ZONE if spec.role is Role.ZSK else ZONE | 1
            public = hashlib.shake_256(f"node {len(mine)} {self.world.rng.random()}".encode())
            rdata = dnskey_rdata(flags, spec.algorithm, public.digest(SIZES[spec.algorithm]))
            if not self._clashes(rdata):
                mine[rdata] = spec.role, HeldKey(f"{self.other}{len(mine)}", spec.keystore, spec.bits)
                return rdata

    def _past(self, rdata: bytes) -> bool:
        mark = hashlib.sha256(rdata[3:4] + rdata[4:]).hexdigest()[:32]
        return mark in self.world.keyset.past

    def _clashes(self, rdata: bytes) -> bool:
        flags = int.from_bytes(rdata[:2])
        tags = {key_tag((flags | bit).to_bytes(2) + rdata[2:]) for bit in (0, 0x80)}
        return bool(tags & used_tags(self.world.keyset))

    def take_over(self, tries: int = TRIES) -> None:
        """The other node takes the zone over, as soon as it can."""
        world = self.world
        if not self.joined or not world.keyset.node:
            return
        self.note_ours()
        held = {rdata: one for rdata, (_, one) in self.made[self.other].items()}
        try:
            after = hand_over(world.keyset, self.other, held, world.clock, world.tables.rules)
        except KeysetError as error:
            world.log(f"cannot take over: {error}")
            self.refused = self.refused + 1 if "in place of" in str(error) else 0
            if self.refused > REFUSED_MAX:
                world.stuck(f"{self.other} cannot take over: {error}")
            if tries:
                world.after(AGAIN_S, lambda: self.take_over(tries - 1))
            return
        world.log(f"takeover {self.owner} to {self.other}")
        self.announced[self.owner] = tuple(
            NodeKey(key.role, key.rdata)
            for key in world.keyset.keys
            if not key.foreign and not key.revoked and key.goal is not Goal.ABSENT
        )
        self.owner, self.taken = self.other, self.taken + 1
        world.keyset = replace(after, approved=())
        world.forget_sights()
        world.confirmations, world.asked = [], set()
        world.commit()
        world.daemon()

    def settled(self) -> bool:
        """Whether the other node could take over, or has left."""
        theirs = [key for key in self.world.keyset.keys if key.of_node]
        if self.left or not self.joined or not self.world.policy.signed:
            return not [key for key in theirs if _held(key)]
        mine = [key for key in theirs if key.signer == signer_of(self.other) and key.goal is Goal.PRESENT]
        wanted = sorted(spec.role for spec in self.world.policy.specs)
        if self.world.scenario.registry == "never":
            return {key.role for key in mine} >= set(
                wanted
            )  # without DS an old key has no successor that is ready
        if sorted(key.role for key in mine) != wanted:
            return False
        return all(self._arrived(key) for key in mine) and all(
            key.goal is Goal.PRESENT for key in theirs if _held(key)
        )

    def _arrived(self, key: Key) -> bool:
        never = self.world.scenario.registry == "never"
        recs = [rec for rec in (Rec.DNSKEY, Rec.DS) if rec in key.records and not (never and rec is Rec.DS)]
        return all(key.record(rec).state is State.OMNIPRESENT for rec in recs)


def _held(key: Key) -> bool:
    return any(key.record(rec).state is not State.HIDDEN for rec in key.records)
