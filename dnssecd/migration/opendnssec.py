"""Keys of OpenDNSSEC 2: the output of ``ods-enforcer key list`` with ``-v`` and with ``-d``, plain or ``-p``.

Its enforcer has the same four states of the same four records as dnssecd (both follow Mekking and Schaeffer), so the
states are exact. The private keys stay in their token and are found by CKA_ID.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dnssecd.core.dns.names import wire_to_text
from dnssecd.core.keys.keystate import RECORDS, Goal, Rec, Role, State
from dnssecd.migration.foreign import ForeignError, ForeignKey, Private, Stated
from dnssecd.migration.words import ZONE_FLAGS, algorithm, is_name, number
from dnssecd.replacing import replace

COMMANDS = "ods-enforcer key list -v -a -p; ods-enforcer key list -d -a -p"
_NOISE = ("sock set to", "Keys:", "Zone:", "Database set to")
_LIFE = frozenset(("generate", "publish", "ready", "active", "retire", "dead", "unknown", "mixed"))
_COLUMNS = (Rec.DS, Rec.DNSKEY, Rec.KRRSIG, Rec.ZRRSIG)
_FIELDS = 9


@dataclass(frozen=True, slots=True)
class OdsKey:
    """A key as listed. From ``-v``: life, bits, algorithm, repository, tag; from ``-d``: states."""

    cka_id: str
    role: Role
    line: int
    life: str = ""
    bits: int = 0
    algorithm: int = 0
    repository: str = ""
    tag: int = 0
    states: Mapping[Rec, State] = field(default_factory=dict)


def read_list(text: str, source: str, zone: bytes) -> list[OdsKey]:
    """Return the keys of ``zone`` in both lists, one after the other in any order; skip keys of other zones.

    Raise ForeignError with ``source`` and line, and with the list that is missing.
    """
    found: dict[str, OdsKey] = {}
    for line, content in enumerate(text.splitlines(), start=1):
        if not content.strip() or content.startswith(_NOISE):
            continue
        where = f"{source}:{line}"
        words = _words(content, where)
        if not is_name(words[0], zone):
            continue
        key = _states(words, where, line) if _is_states(words) else _life(words, where, line)
        found[key.cka_id] = _merged(found.get(key.cka_id), key, where)
    if not found:
        raise ForeignError(
            f"{source}: no key of {wire_to_text(zone)} is listed; create the list with: {COMMANDS}"
        )
    for key in found.values():
        _check_complete(key, source)
    return list(found.values())


def in_use(keys: Sequence[OdsKey]) -> list[OdsKey]:
    """Return the keys of which caches may have a record; keys made in advance and keys to be purged are omitted."""
    return [key for key in keys if any(state is not State.HIDDEN for state in key.states.values())]


def foreign_key(key: OdsKey, zone: bytes, public_key: bytes, source: str) -> ForeignKey:
    """Return a key of the list with its states. The list does not have their start times."""
    leaving = key.life in ("retire", "dead") or (
        key.life in ("mixed", "unknown") and State.UNRETENTIVE in key.states.values()
    )
    return ForeignKey(
        zone,
        key.role,
        ZONE_FLAGS | (key.role is not Role.ZSK),
        key.algorithm,
        public_key,
        source=f"OpenDNSSEC, {source}:{key.line}",
        bits=key.bits,
        states={rec: Stated(state) for rec, state in key.states.items()},
        goal=Goal.ABSENT if leaving else Goal.PRESENT,
        private=Private(cka_id=key.cka_id),
    )


def _words(content: str, where: str) -> list[str]:
    """Return the nine fields of a line of either list, plain or parsable."""
    if ";" in content:
        words = [word.strip() for word in content.split(";")]
    else:
        words = content.split()
        start, stop = 3, len(words) - 5
        if (
            len(words) > _FIELDS and words[2] in _LIFE
        ):  # the date of the next transition, or "waiting for ds-seen"
            words = [*words[:start], " ".join(words[start:stop]), *words[stop:]]
    if 2 < len(words) < _FIELDS and words[2] in _LIFE:
        raise ForeignError(
            f"{where}: the short list does not identify the keys; create the list with: {COMMANDS}"
        )
    if len(words) != _FIELDS:
        raise ForeignError(f"{where}: not a line of ods-enforcer key list -v or -d: {content[:60]!r}")
    return words


def _is_states(words: Sequence[str]) -> bool:
    return words[2] not in _LIFE


def _life(words: Sequence[str], where: str, line: int) -> OdsKey:
    """Parse a line of ``-v``: zone, type, state, next transition, size, algorithm, CKA_ID, repository, key tag."""
    if words[8] == "-1" or words[7] == "NOT_ALLOCATED":
        raise ForeignError(
            f"{where}: the list has no key tag or repository; check that OpenDNSSEC can reach its HSM"
        )
    return OdsKey(
        _cka_id(words[6], where),
        _role(words[1], where),
        line,
        life=words[2],
        bits=number(words[4], "key size", where, 1 << 16),
        algorithm=algorithm(words[5], f"{where}: key {words[6]}"),
        repository=words[7],
        tag=number(words[8], "key tag", where, 0xFFFF),
    )


def _states(words: Sequence[str], where: str, line: int) -> OdsKey:
    """Parse a line of ``-d``: zone, role, DS, DNSKEY, RRSIGDNSKEY, RRSIG, published, active, CKA_ID."""
    role = _role(words[1], where)
    states = {}
    for rec, word in zip(_COLUMNS, words[2:6], strict=True):
        if rec in RECORDS[role]:
            states[rec] = _state(word, rec, where)
        elif word not in ("NA", "hidden"):
            raise ForeignError(
                f"{where}: a {role.value.upper()} has no {rec.value}, but its state is {word[:20]!r}"
            )
    return OdsKey(_cka_id(words[8], where), role, line, states=states)


def _state(word: str, rec: Rec, where: str) -> State:
    try:
        return State(word)
    except ValueError:
        raise ForeignError(f"{where}: {word[:20]!r} is not a state of a {rec.value}") from None


def _role(word: str, where: str) -> Role:
    try:
        return Role(word.lower())
    except ValueError:
        raise ForeignError(f"{where}: {word[:20]!r} is not KSK, ZSK or CSK") from None


def _cka_id(word: str, where: str) -> str:
    try:
        if bytes.fromhex(word):
            return word.lower()
    except ValueError:
        pass
    raise ForeignError(f"{where}: {word[:60]!r} is not a CKA_ID (hexadecimal)")


def _merged(known: OdsKey | None, key: OdsKey, where: str) -> OdsKey:
    if known is None:
        return key
    if known.role is not key.role or bool(known.states) == bool(key.states):
        raise ForeignError(f"{where}: key {key.cka_id} is listed twice, or once with another role")
    if known.states:
        return replace(key, states=known.states, line=known.line)
    return replace(known, states=key.states)


def _check_complete(key: OdsKey, source: str) -> None:
    if not key.states:
        raise ForeignError(
            f"{source}:{key.line}: no states of key {key.cka_id}: add ods-enforcer key list -d -a -p"
        )
    if not key.life:
        raise ForeignError(
            f"{source}:{key.line}: no algorithm of key {key.cka_id}: add ods-enforcer key list -v -a -p"
        )
