"""Keys of PowerDNS: ``cryptokeys`` of the API (JSON), or ``pdnsutil show-zone`` or ``list-keys`` (4.2 and later).

PowerDNS stores no times and no states: a key is active or not, published or not. KSKs sign the DNSKEY RRset, ZSKs all
other RRsets; if an algorithm has keys of one kind only, they do both and are called CSK. A key that is published but
not active may be new or old: it is treated as leaving, which is safe in both cases.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dnssecd.core.dns.names import wire_to_text
from dnssecd.core.keys.keyset import key_tag
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.migration.foreign import ForeignError, ForeignKey, Private, Stated
from dnssecd.migration.words import ZONE_FLAGS, algorithm, is_name, number
from dnssecd.replacing import replace

_SEP = 0x0001
_SHOWN = re.compile(
    r"ID = (\d+) \((KSK|ZSK|CSK)\), flags = (\d+), tag = (\d+), algo = (\d+), bits = (\d+)\s+"
    r"(Active|Inactive)(?:\s+(Published|Unpublished))?\s"
)
_RECORD = re.compile(r"[A-Z]+ DNSKEY = (\S+) IN DNSKEY (\d+ \d+ \d+ [A-Za-z0-9+/= ]+);")
_LISTED = re.compile(
    r"(\S+)\s+(KSK|ZSK|CSK)\s+(?:(Act)\s+)?(?:(Pub)\s+)?(\d+)\s+(\S+)\s+(\d+)\s+cryptokeys\s+(\d+)\s*$"
)


@dataclass(frozen=True, slots=True)
class PdnsKey:
    """A key as listed. ``rdata``: DNSKEY RDATA, ``private``: the private key, if they are in the list."""

    ident: int
    kind: Role
    flags: int
    algorithm: int
    bits: int
    active: bool
    published: bool
    line: int
    tag: int = 0
    rdata: bytes = b""
    private: bytes = field(default=b"", repr=False)


def read_list(text: str, source: str, zone: bytes) -> list[PdnsKey]:
    """Return the keys of ``zone``. Raise ForeignError with ``source`` and line.

    JSON is the answer of ``/zones/ZONE/cryptokeys`` or ``…/cryptokeys/ID``, several answers one after the other, or a
    list of them; an answer about one key has its private key.
    """
    if text.lstrip().startswith(("[", "{")):
        found = _merged(_from_json(text, source), source)
    elif re.search(r"^-{20,}\s*$", text, re.MULTILINE):
        found = _from_list(text, source, zone)
    else:
        found = _from_show(text, source, zone)
    if not found:
        name = wire_to_text(zone)
        raise ForeignError(
            f"{source}: no key of {name} is listed; create the list with: pdnsutil show-zone {name}"
        )
    seen: set[int] = set()
    for key in found:
        if key.ident in seen:
            raise ForeignError(f"{source}:{key.line}: key {key.ident} is listed twice")
        seen.add(key.ident)
    return found


def in_use(keys: Iterable[PdnsKey]) -> list[PdnsKey]:
    """Return the keys that are published or sign; no server shows the others."""
    return [key for key in keys if key.active or key.published]


def role(key: PdnsKey) -> Role:
    """Return the role of the key. PowerDNS says CSK if all active keys of an algorithm are of one kind."""
    if key.active or key.kind is not Role.CSK:
        return key.kind
    return Role.CSK if key.flags & _SEP else Role.ZSK


def foreign_key(key: PdnsKey, zone: bytes, public_key: bytes, source: str, private: Private) -> ForeignKey:
    """Return a key with its current states. Raise ForeignError if it cannot migrate."""
    what = role(key)
    where = f"{source}:{key.line}: key {key.ident} ({key.tag})"
    if bool(key.flags & _SEP) is (what is Role.ZSK) or key.flags & ~(ZONE_FLAGS | _SEP):
        raise ForeignError(
            f"{where} is a {what.value.upper()} with flags {key.flags}, which dnssecd does not support; "
            "replace it with PowerDNS by another key (pdnsutil add-zone-key), then import"
        )
    shown = Stated(State.RUMOURED if key.published else State.HIDDEN)
    made = Stated(State.RUMOURED if key.active else State.UNRETENTIVE)
    states = {Rec.DNSKEY: shown}
    if what is not Role.KSK:
        states[Rec.ZRRSIG] = made
    if what is not Role.ZSK:
        states[Rec.KRRSIG] = made
        if key.active:
            states[Rec.DS] = shown
    return ForeignKey(
        zone,
        what,
        key.flags,
        key.algorithm,
        public_key,
        source=f"PowerDNS, {source}:{key.line}",
        bits=key.bits,
        states=states,
        goal=Goal.PRESENT if key.active else Goal.ABSENT,
        private=private,
    )


def label_in_token(private: bytes) -> str:
    """Return the label of a key in a token ("" for others) from the "private key" that PowerDNS exports."""
    fields = dict(
        line.partition(":")[::2] for line in private.decode("utf-8", "replace").splitlines() if ":" in line
    )
    return fields.get("Label", "").strip() if "Engine" in fields else ""


# pdnsutil


def _from_show(text: str, source: str, zone: bytes) -> list[PdnsKey]:
    found: list[PdnsKey] = []
    for line, content in enumerate(text.splitlines(), start=1):
        where = f"{source}:{line}"
        if content.startswith("Zone is presigned"):
            raise ForeignError(
                f"{where}: PowerDNS does not sign this zone (presigned); import the keys of the signer that does"
            )
        if content.startswith("ID ="):
            shown = _SHOWN.match(content + " ")
            if shown is None:
                raise ForeignError(f"{where}: not a key as pdnsutil show-zone prints it: {content[:60]!r}")
            found.append(_shown(shown, where, line))
        elif record := _RECORD.match(content):
            if not found or not is_name(record[1], zone):
                raise ForeignError(
                    f"{where}: a DNSKEY of {record[1]}, not of {wire_to_text(zone)} after the line of its key"
                )
            found[-1] = replace(found[-1], rdata=_rdata(record[2], where))
    return found


def _shown(shown: re.Match[str], where: str, line: int) -> PdnsKey:
    return PdnsKey(
        number(shown[1], "key id", where, 1 << 31),
        Role(shown[2].lower()),
        number(shown[3], "flags", where, 0xFFFF),
        algorithm(shown[5], f"{where}: key {shown[1]}"),
        number(shown[6], "key size", where, 1 << 16),
        active=shown[7] == "Active",
        published=shown[8] != "Unpublished",
        line=line,
        tag=number(shown[4], "key tag", where, 0xFFFF),
    )


def _from_list(text: str, source: str, zone: bytes) -> list[PdnsKey]:
    found = []
    for line, content in enumerate(text.splitlines(), start=1):
        where = f"{source}:{line}"
        if not content.strip() or content.startswith("---") or content.startswith("Zone "):
            continue
        listed = _LISTED.match(content)
        if listed is None:
            raise ForeignError(f"{where}: not a key as pdnsutil list-keys prints it: {content[:60]!r}")
        if not is_name(listed[1], zone):
            continue
        kind = Role(listed[2].lower())
        found.append(
            PdnsKey(
                number(listed[7], "key id", where, 1 << 31),
                kind,
                ZONE_FLAGS | (kind is not Role.ZSK),
                algorithm(listed[6], f"{where}: key {listed[7]}"),
                number(listed[5], "key size", where, 1 << 16),
                active=listed[3] is not None,
                published=listed[4] is not None,
                line=line,
                tag=number(listed[8], "key tag", where, 0xFFFF),
            )
        )
    return found


# API


def _from_json(text: str, source: str) -> list[PdnsKey]:
    decoder, keys, at, line, counted = json.JSONDecoder(), [], 0, 1, 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        line, counted = line + text.count("\n", counted, at), at
        try:
            answer, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            line = error.lineno if isinstance(error, json.JSONDecodeError) else line
            raise ForeignError(f"{source}:{line}: not JSON, or truncated") from None
        entries = answer if isinstance(answer, list) else [answer]
        keys += [_from_entry(entry, f"{source}:{line}", line) for entry in entries]
    return keys


def _from_entry(entry: object, where: str, line: int) -> PdnsKey:
    if not isinstance(entry, dict) or entry.get("type") != "Cryptokey":
        said = entry.get("error") if isinstance(entry, dict) else None
        raise ForeignError(f"{where}: not a cryptokey of the API" + (f": {str(said)[:80]}" if said else ""))
    try:
        ident, kind, active, published = (entry[name] for name in ("id", "keytype", "active", "published"))
        flags, bits, text = entry["flags"], entry["bits"], entry["dnskey"]
        known = Role(str(kind))
    except (KeyError, ValueError) as error:
        raise ForeignError(f"{where}: a field of the cryptokey is missing or unknown: {error}") from None
    if not (isinstance(active, bool) and isinstance(published, bool)):
        raise ForeignError(f"{where}: key {ident}: active and published must be true or false")
    rdata = _rdata(str(text), where)
    return PdnsKey(
        number(str(ident), "key id", where, 1 << 31),
        known,
        number(str(flags), "flags", where, 0xFFFF),
        algorithm(str(rdata[3]), f"{where}: key {ident}"),
        number(str(bits), "key size", where, 1 << 16),
        active,
        published,
        line,
        tag=key_tag(rdata),
        rdata=rdata,
        private=str(entry.get("privatekey", "")).encode(),
    )


def _merged(keys: Sequence[PdnsKey], source: str) -> list[PdnsKey]:
    """Return one entry for each key: merge the list with the answers about single keys, which have private keys."""
    found: dict[int, PdnsKey] = {}
    for key in keys:
        known = found.get(key.ident)
        if known is not None and replace(known, private=b"", line=0) != replace(key, private=b"", line=0):
            raise ForeignError(f"{source}:{key.line}: key {key.ident} is listed twice with different data")
        if known is None or key.private:
            found[key.ident] = key if known is None else replace(known, private=key.private)
    return list(found.values())


def _rdata(text: str, where: str) -> bytes:
    """Return DNSKEY RDATA from presentation form (RFC 4034 §2.2)."""
    words = text.split(None, 3)
    try:
        flags, protocol, kind, encoded = int(words[0]), int(words[1]), int(words[2]), words[3]
        public = base64.b64decode("".join(encoded.split()), validate=True)
        return flags.to_bytes(2) + bytes((protocol, kind)) + public
    except (ValueError, IndexError, OverflowError, binascii.Error):
        raise ForeignError(f"{where}: not a DNSKEY: {text[:60]!r}") from None
