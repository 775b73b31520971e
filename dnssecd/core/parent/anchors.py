"""Which keys of a zone may be given out as trust anchors, and since and until when.

For zones whose validators have anchors of their own: islands of security, and zones that follow RFC 5011. To the
planner such an anchor is a DS, and its rules hold for both: a set of DS that may be held leads to a key that is in
every DNSKEY RRset that a cache can hold, and signs it. So the anchors to give are the keys whose DS is submitted: they
come after DNSKEY and signature are everywhere, or beside a key of which that is true (one that stands by), and they go
in the step in which the successor comes. Then the key stays in the zone until an operator confirms that no validator
has the anchor, or for the hold-down times of RFC 5011.

A key that is compromised is not given, even if no other key can be given yet.
"""

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.core.keys.keystate import Goal, Role, State
from dnssecd.replacing import replace


class Standing(StrEnum):
    """What may be done with a key as a trust anchor."""

    GIVEN = "given"
    LATER = "later"
    ENDED = "ended"


class Anchor(Struct, frozen=True):
    """One KSK or CSK, without the REVOKE bit. ``since``, ``until``: epoch seconds; ``until`` None: no end is known.

    ``why``: why it is not given yet, or no longer; "" for one that is given.
    """

    key: Key
    standing: Standing
    since: int
    until: int | None = None
    why: str = ""


class Anchors(Struct, frozen=True):
    """The trust anchors of a zone. ``zone``: its name, text, absolute; ``apex``: wire form.

    ``rfc5011``: validators that follow RFC 5011 replace the anchors themselves.
    """

    zone: str
    apex: bytes
    rfc5011: bool
    anchors: tuple[Anchor, ...]

    def having(self, standing: Standing) -> tuple[Anchor, ...]:
        """Return the anchors of one standing."""
        return tuple(one for one in self.anchors if one.standing is standing)

    @property
    def given(self) -> tuple[Anchor, ...]:
        """The anchors that a validator may be configured with now."""
        return self.having(Standing.GIVEN)


def anchors_of(zone: str, keyset: Keyset, *, rfc5011: bool) -> Anchors:
    """Judge every KSK and CSK of a zone. Pure; the order is that of key tags."""
    keys = sorted(
        (key for key in keyset.keys if key.role is not Role.ZSK and not key.revoked),
        key=lambda key: (key.tag, key.public_key),
    )
    found = list(_judge_all(keyset, keys))
    given = [one.key for one in found if one.standing is Standing.GIVEN]
    if not any(map(_leads, given)):
        why = "no key that may be given is in every DNSKEY RRset with its signature yet"
        found = [
            replace(one, standing=Standing.LATER, why=why) if one.standing is Standing.GIVEN else one
            for one in found
        ]
    return Anchors(zone, keyset.apex, rfc5011, tuple(found))


def _judge_all(keyset: Keyset, keys: list[Key]) -> Iterator[Anchor]:
    for key in keys:
        since = key.active or key.announced or key.created
        if key.compromised:
            yield Anchor(key, Standing.ENDED, since, since, "its private key is compromised")
        elif key.ds.visible:
            yield Anchor(key, Standing.GIVEN, since)
        elif key.ds.step_in:
            why = "another key replaces it" if keyset.signed else "the zone becomes insecure"
            yield Anchor(key, Standing.ENDED, since, max(since, key.ds.published or key.ds.changed), why)
        elif key.goal is not Goal.ABSENT:
            yield Anchor(key, Standing.LATER, since, why=_reason_to_wait(key))


def _leads(key: Key) -> bool:
    """Tell whether every DNSKEY RRset that can be held has the key and its signature.

    A DS that came after both shows that; a server that was seen with an old version since does not change it.
    """
    both = key.dnskey, key.krrsig
    if all(record.state is State.OMNIPRESENT for record in both) or key.foreign:
        return key.dnskey.visible
    return all(record.visible and record.step_in < key.ds.step_in for record in both)


def _reason_to_wait(key: Key) -> str:
    if not key.dnskey.visible:
        return "its DNSKEY is not published yet"
    if key.dnskey.state is not State.OMNIPRESENT:
        return "caches may hold a DNSKEY RRset without it"
    if key.krrsig.state is not State.OMNIPRESENT and not key.foreign:
        return "caches may hold a DNSKEY RRset without its signature"
    return "the rollover has not put it in the place of its predecessor yet"
