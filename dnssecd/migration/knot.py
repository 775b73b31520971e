"""Keys of Knot DNS: the output of ``keymgr ZONE list`` (3.0 and later), in all formats except relative times.

Knot stores no states, only the time of each step. Its documentation and code define the steps: a KSK signs the DNSKEY
RRset while it is published; it is ``ready`` when its DS may be submitted and ``active`` after the DS was seen; the old
KSK is ``retire-active`` meanwhile and leaves the DNSKEY RRset at ``retire``. A ZSK signs from ``active`` to ``retire``
and stays published until ``remove``. In an algorithm rollover keys sign from ``pre-active``, before they are published,
and after ``post-active``, when they are no longer published.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dnssecd.core.dns.names import wire_to_text
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.migration.foreign import ForeignError, ForeignKey, Private, Stated
from dnssecd.migration.words import ZONE_FLAGS, algorithm, epoch, is_name, number

TIMERS = (
    "created",
    "pre-active",
    "publish",
    "ready",
    "active",
    "retire-active",
    "retire",
    "post-active",
    "revoke",
    "remove",
)
_ROLES = {"KSK": (True, False), "ZSK": (False, True), "CSK": (True, True)}
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_KEY_ID = re.compile(r"[0-9a-f]{2,128}")


@dataclass(frozen=True, slots=True)
class KnotKey:
    """A key as listed. ``timers``: epoch seconds of the steps that have a time; ``line``: its line in the list."""

    key_id: str
    ksk: bool
    zsk: bool
    tag: int
    algorithm: int
    line: int
    bits: int = 0
    public_only: bool = False
    timers: Mapping[str, int] = field(default_factory=dict)

    @property
    def role(self) -> Role:
        """The role: what the key signs."""
        return (Role.CSK if self.zsk else Role.KSK) if self.ksk else Role.ZSK

    def past(self, timer: str, now: int) -> bool:
        """Return whether a step is in the past."""
        time = self.timers.get(timer)
        return time is not None and time <= now

    def signs_zone(self, now: int) -> bool:
        """Return whether it is a ZSK or CSK between ``active`` and its end."""
        ends = ("retire-active", "retire", "remove")
        return self.zsk and self.past("active", now) and not any(self.past(end, now) for end in ends)


def read_list(text: str, source: str, zone: bytes) -> list[KnotKey]:
    """Return the keys of ``zone`` in a list (plain, ``-e`` or ``-j``). Raise ForeignError with ``source`` and line."""
    text = _COLOUR.sub("", text)
    if text.lstrip().startswith(("[", "{")):
        found = _from_json(text, source, zone)
    else:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
        found = [_from_line(line.split(), f"{source}:{number}", number) for number, line in lines]
    if not found:
        raise ForeignError(
            f"{source}: the list has no key; create it with: keymgr {wire_to_text(zone)} list -j"
        )
    seen: set[str] = set()
    for key in found:
        if key.key_id in seen:
            raise ForeignError(f"{source}:{key.line}: key {key.key_id} is listed twice; list one zone only")
        seen.add(key.key_id)
    return found


def in_use(keys: Iterable[KnotKey], now: int) -> list[KnotKey]:
    """Return the keys that are published or sign.

    Omitted: removed keys, and keys that were never published, because dnssecd generates keys when needed.
    """
    begun = ("publish", "pre-active", "active")
    return [
        key for key in keys if not key.past("remove", now) and any(key.past(timer, now) for timer in begun)
    ]


def foreign_key(
    key: KnotKey,
    keys: Sequence[KnotKey],
    zone: bytes,
    public_key: bytes,
    source: str,
    now: int,
    private: Private,
) -> ForeignKey:
    """Return a key of the list ``keys`` with its states at ``now`` (epoch s). Raise ForeignError."""
    where = f"{source}:{key.line}: key {key.key_id} ({key.tag})"
    if key.past("revoke", now):
        raise ForeignError(f"{where} is revoked (RFC 5011); import after Knot has removed it")
    if key.public_only:
        raise ForeignError(
            f"{where} is public-only: Knot does not have its private key (offline KSK, several signers), "
            "so dnssecd cannot import it"
        )
    timers = key.timers
    leaving = any(key.past(timer, now) for timer in ("retire-active", "retire", "post-active"))
    return ForeignKey(
        zone,
        key.role,
        ZONE_FLAGS | key.ksk,
        key.algorithm,
        public_key,
        source=f"Knot, {source}:{key.line}",
        bits=key.bits,
        created=min(timers.values(), default=None),
        publish=timers.get("publish"),
        active=min((timers[name] for name in ("active", "pre-active") if key.past(name, now)), default=None),
        inactive=timers.get("retire"),
        delete=timers.get("post-active", timers.get("remove")),
        ds_publish=timers.get("ready") if key.ksk else None,
        states=_states(key, keys, now),
        goal=Goal.ABSENT if leaving else Goal.PRESENT,
        private=private,
    )


# States


def _states(key: KnotKey, keys: Sequence[KnotKey], now: int) -> Mapping[Rec, Stated]:
    found = {Rec.DNSKEY: _dnskey(key, now)}
    if key.ksk:
        found[Rec.KRRSIG] = _key_signature(key, now)
        found[Rec.DS] = _ds(key, now)
    if key.zsk:
        found[Rec.ZRRSIG] = _zone_signature(key, keys, now)
    return found


def _dnskey(key: KnotKey, now: int) -> Stated:
    """Return the DNSKEY's state. A KSK leaves the RRset at ``retire``, others at ``remove`` or ``post-active``."""
    if key.past("post-active", now):
        return Stated(State.UNRETENTIVE, key.timers["post-active"])
    if key.past("retire", now) and not key.zsk:
        return Stated(State.UNRETENTIVE, key.timers["retire"])
    return _published(key, now)


def _published(key: KnotKey, now: int) -> Stated:
    """Return the state of a published DNSKEY.

    Knot takes the next step only after all caches have the key; the first keys take all steps at the same time.
    """
    if not key.past("publish", now):
        return Stated(State.HIDDEN)
    publish = key.timers["publish"]
    later = [key.timers[name] for name in ("ready", "active") if key.past(name, now)]
    known = [time for time in later if time > publish]
    return Stated(State.OMNIPRESENT, min(known)) if known else Stated(State.RUMOURED, publish)


def _key_signature(key: KnotKey, now: int) -> Stated:
    """Return the state of the signature over DNSKEY. It ends at ``retire``, with the DNSKEY (a CSK's a bit later)."""
    for end in ("post-active", "retire"):
        if key.past(end, now):
            return Stated(State.UNRETENTIVE, key.timers[end])
    return _published(key, now)


def _ds(key: KnotKey, now: int) -> Stated:
    """Return the DS's state. Knot waits for the TTL of the DNSKEY, not of the DS: caches may have an old DS."""
    if key.past("post-active", now) and not key.past("retire-active", now):
        return Stated(State.UNRETENTIVE, key.timers["post-active"])
    for end in ("retire-active", "retire"):
        if key.past(end, now):
            return Stated(State.UNRETENTIVE, key.timers[end])
    if key.past("active", now):
        return Stated(State.OMNIPRESENT, key.timers["active"])
    return Stated(State.RUMOURED, key.timers["ready"]) if key.past("ready", now) else Stated(State.HIDDEN)


def _zone_signature(key: KnotKey, keys: Sequence[KnotKey], now: int) -> Stated:
    timers = key.timers
    if key.past("post-active", now):
        return Stated(State.OMNIPRESENT, timers.get("active", timers["post-active"]))
    if key.past("retire", now):
        return Stated(State.UNRETENTIVE, timers["retire"])
    replaced = any(other.signs_zone(now) and other.algorithm == key.algorithm for other in keys)
    if key.past("retire-active", now):
        if replaced:
            return Stated(State.UNRETENTIVE, timers["retire-active"])
        return Stated(State.OMNIPRESENT, timers.get("active", timers["retire-active"]))
    if key.past("pre-active", now):
        if key.past("publish", now) and timers["publish"] > timers["pre-active"]:
            return Stated(State.OMNIPRESENT, timers["publish"])
        return Stated(State.RUMOURED, timers["pre-active"])
    if key.past("active", now):
        return Stated(State.RUMOURED, timers["active"])
    if key.ksk and key.past("ready", now) and not replaced:
        return Stated(State.RUMOURED, timers["ready"])
    return Stated(State.HIDDEN)


# Listings


def _from_json(text: str, source: str, zone: bytes) -> list[KnotKey]:
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f"{source}:{error.lineno}" if isinstance(error, json.JSONDecodeError) else source
        raise ForeignError(f"{where}: not the JSON of keymgr list -j, or truncated") from None
    if not isinstance(listed, list):
        raise ForeignError(f"{source}:1: not a list of keys, as keymgr list -j prints")
    lines = enumerate(text.split("\n"), start=1)
    starts = [number for number, line in lines if line.lstrip().startswith("{")]
    if len(starts) != len(listed):
        starts = list(range(1, len(listed) + 1))
    keys = []
    for line, entry in zip(starts, listed, strict=True):
        where = f"{source}:{line}"
        if not isinstance(entry, dict):
            raise ForeignError(f"{where}: not a key")
        if entry.get("trash"):
            continue  # deleted keys, which later versions list too
        if not is_name(str(entry.get("zone")), zone):
            raise ForeignError(
                f"{where}: the key belongs to {entry.get('zone')}, not to {wire_to_text(zone)}"
            )
        keys.append(_from_fields({name: _text(value) for name, value in entry.items()}, where, line))
    return keys


def _text(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _from_line(words: list[str], where: str, line: int) -> KnotKey:
    fields = dict(word.partition("=")[::2] for word in words[1:] if "=" in word)
    fields["id"] = words[0]
    bare = [word for word in words[1:] if "=" not in word]
    if "tag" in fields:
        return _from_fields(fields, where, line)
    if len(bare) < 3 or bare[1] not in _ROLES:
        raise ForeignError(f"{where}: not a line of keymgr list: {' '.join(words)[:60]!r}")
    fields["ksk"], fields["zsk"] = map(_text, _ROLES[bare[1]])
    fields["tag"] = bare[0]
    fields["algorithm"], _, size = bare[2].partition("/")
    fields.setdefault("size", size or "0")
    for flag in ("public-only", "missing"):
        fields[flag] = _text(flag in bare[3:])
    return _from_fields(fields, where, line)


def _from_fields(fields: Mapping[str, str], where: str, line: int) -> KnotKey:
    try:
        key_id, tag, name = fields["id"], fields["tag"], fields["algorithm"]
        ksk, zsk = _yes(fields["ksk"], where), _yes(fields["zsk"], where)
    except KeyError as error:
        raise ForeignError(f"{where}: the key has no {error}; list with keymgr list -j") from None
    if not _KEY_ID.fullmatch(key_id):
        raise ForeignError(f"{where}: {key_id[:60]!r} is not a key id (hexadecimal)")
    if not ksk and not zsk:
        raise ForeignError(f"{where}: key {key_id} is neither KSK nor ZSK")
    if _yes(fields.get("missing", "no"), where):
        raise ForeignError(f"{where}: Knot does not have the private key of {key_id}")
    times = {timer: _time(fields[timer], timer, where) for timer in TIMERS if timer in fields}
    return KnotKey(
        key_id,
        ksk,
        zsk,
        number(tag, "key tag", where, 0xFFFF),
        algorithm(name, f"{where}: key {key_id}"),
        line,
        bits=number(fields.get("size", "0"), "size", where, 1 << 16),
        public_only=_yes(fields.get("public-only", "no"), where),
        timers={timer: time for timer, time in times.items() if time},
    )


def _yes(word: str, where: str) -> bool:
    if word not in ("yes", "no"):
        raise ForeignError(f"{where}: {word[:20]!r} is neither yes nor no")
    return word == "yes"


def _time(text: str, timer: str, where: str) -> int:
    if text[:1] in ("+", "-"):
        raise ForeignError(f"{where}: {timer}={text[:30]} is relative to now; list with keymgr list -j")
    return epoch(text, f"{where}: {timer}")
