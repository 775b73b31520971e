"""BIND's keys: ``K<zone>+<algorithm>+<tag>.key``, and with dnssec-policy the ``.state`` file.

Private files are not read here. Without ``.state`` the times in the comments of ``.key`` are used.
"""

from base64 import b64decode
from collections.abc import Sequence
from datetime import UTC, datetime

from dnssecd.core.dns.names import BadName, text_to_wire, wire_to_text
from dnssecd.core.keys.keyset import REVOKE, SEP, ZONE
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.migration.foreign import ForeignError, ForeignKey, Stated
from dnssecd.replacing import replace

PROTOCOL = 3


class RevokedKey(ForeignError):
    """A key with the REVOKE bit (RFC 5011): the zone can migrate after this key has left the DNSKEY RRset."""


#: Fields of `.state` and times in `.key`, by the field of ForeignKey.
_TIMES = {
    "created": ("generated", "created"),
    "publish": ("published", "publish"),
    "active": ("active", "activate"),
    "inactive": ("retired", "inactive"),
    "delete": ("removed", "delete"),
    "revoke": ("revoked", "revoke"),
    "ds_publish": ("dspublish",),
    "ds_delete": ("dsremoved",),
}
_GOALS = {"omnipresent": Goal.PRESENT, "hidden": Goal.ABSENT}


def parse_key(key: str, state: str | None, zone: bytes, source: str) -> ForeignKey:
    """Return the key described by the text of ``.key`` and of ``.state`` (None: absent). Raise ForeignError.

    ``zone``: the zone's name in lower-case wire form; the key must belong to it. Without ``.state`` a SEP key counts as
    KSK: see ``with_roles``.
    """
    flags, algorithm, public_key = _dnskey(key, zone, source)
    fields = _fields("\n".join(line.lstrip("; ") for line in key.splitlines() if line.startswith(";")))
    if state is not None:
        fields |= _fields(state)
    times = {name: _time(fields, words, source) for name, words in _TIMES.items()}
    found = ForeignKey(
        zone,
        _role(fields, flags, source),
        flags,
        algorithm,
        public_key,
        source,
        int(length) if (length := fields.get("length", "0")).isdigit() else 0,
        created=times["created"],
        publish=times["publish"],
        active=times["active"],
        inactive=times["inactive"],
        delete=times["delete"],
        revoke=times["revoke"],
        ds_publish=times["ds_publish"],
        ds_delete=times["ds_delete"],
        states={rec: stated for rec in Rec if (stated := _stated(fields, rec, source)) is not None},
        goal=_GOALS.get(fields.get("goalstate", "")),
    )
    return found if algorithm in (5, 7, 8, 10) else replace(found, bits=0)


def with_roles(keys: Sequence[ForeignKey]) -> tuple[ForeignKey, ...]:
    """Return the keys of one zone with roles set without ``.state``: a SEP key is a CSK if its algorithm has no ZSK."""
    others = {key.algorithm for key in keys if key.role is not Role.KSK}
    return tuple(
        replace(key, role=Role.CSK)
        if key.role is Role.KSK and not key.states and key.algorithm not in others
        else key
        for key in keys
    )


def _fields(text: str) -> dict[str, str]:
    """Return the values of ``Name: value`` lines by lower-case name."""
    found = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and not line.startswith(";"):
            found[name.strip().lower()] = value.strip().lower()
    return found


def _time(fields: dict[str, str], words: tuple[str, ...], source: str) -> int | None:
    for word in words:
        value = fields.get(word, "")
        if value:
            return _moment(value.split()[0], f"{source}: {word}")
    return None


def _moment(text: str, what: str) -> int:
    try:
        return int(datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise ForeignError(f"{what}: {text[:40]!r} is not a time") from None


def _role(fields: dict[str, str], flags: int, source: str) -> Role:
    ksk, zsk = fields.get("ksk"), fields.get("zsk")
    if ksk is None or zsk is None:
        return Role.KSK if flags & SEP else Role.ZSK
    try:
        role = {("yes", "no"): Role.KSK, ("no", "yes"): Role.ZSK, ("yes", "yes"): Role.CSK}[ksk, zsk]
    except KeyError:
        raise ForeignError(f"{source}: the .state file gives neither KSK nor ZSK") from None
    if bool(flags & SEP) is (role is Role.ZSK):
        raise ForeignError(f"{source}: flags {flags} do not match the role {role.value}")
    return role


def _stated(fields: dict[str, str], rec: Rec, source: str) -> Stated | None:
    word = fields.get(f"{rec.value}state")
    if word is None or word == "na":
        return None
    try:
        state = State(word)
    except ValueError:
        raise ForeignError(f"{source}: {rec.value} state {word[:40]!r} is not known") from None
    return Stated(state, _time(fields, (f"{rec.value}change",), source))


def _dnskey(text: str, zone: bytes, source: str) -> tuple[int, int, bytes]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(";")]
    words = lines[0].split() if len(lines) == 1 else []
    start = next((at for at, word in enumerate(words) if word.upper() == "DNSKEY"), 0)
    if not start or len(words) < start + 5:
        raise ForeignError(f"{source}: not one DNSKEY record")
    try:
        if text_to_wire(words[0].lower()) != zone:
            raise ForeignError(f"{source}: the key belongs to {words[0]}, not to {wire_to_text(zone)}")
        flags, protocol, algorithm = map(int, words[start + 1 : start + 4])
        public_key = b64decode("".join(words[start + 4 :]), validate=True)
    except (BadName, ValueError) as error:
        raise (
            error
            if isinstance(error, ForeignError)
            else ForeignError(f"{source}: not a DNSKEY record: {error}")
        ) from None
    if not flags & ZONE or protocol != PROTOCOL:
        raise ForeignError(f"{source}: flags {flags}, protocol {protocol}: not a zone key (RFC 4034 §2.1)")
    if flags & REVOKE:
        raise RevokedKey(
            f"{source}: the key is revoked (RFC 5011); migrate after it has left the zone, without this file"
        )
    return flags, algorithm, public_key
