"""Owner keys: zone-relative names as byte strings whose plain order is DNSSEC canonical order (RFC 4034 §6.1).

An owner key lists the labels of a name from the zone apex down, lower-cased. Inside a label the octet 00 is
written 01 01 and 01 is written 01 02; each label ends with 00. The apex is the empty string. It follows that

* comparing two keys as bytes compares the names canonically;
* a name's descendants are exactly the keys that start with its key;
* the keys of a subtree are one half-open range, see :func:`subtree_end`.

Wire names are uncompressed (RFC 1035 §3.1) and, in the core, lower-cased.
"""

from collections.abc import Iterator

APEX = b""
ROOT_WIRE = b"\x00"

#: Sorts after every owner key: no label can begin with FF FF … and end there, since each ends with 00.
AFTER_ALL = b"\xff" * 256

_LOWER = bytes(c + 32 if 65 <= c <= 90 else c for c in range(256))
_LENGTH = [bytes((length,)) for length in range(256)]
_TEXT_SPECIAL = frozenset(b'"().;\\@$')


class BadName(ValueError):
    """A name is malformed or lies outside the zone."""


def lower(wire: bytes) -> bytes:
    """Return a wire name (or any ASCII) with A–Z lower-cased; length octets are at most 63: they never change."""
    return wire.translate(_LOWER)


def labels(wire: bytes) -> list[bytes]:
    """Return the labels of an uncompressed wire name, leftmost first, without the root label."""
    out = []
    position = 0
    while length := wire[position]:
        position += 1
        out.append(wire[position : position + length])
        position += length
    return out


def escape_label(label: bytes) -> bytes:
    """Return one lower-cased label as it stands in an owner key, without the ending 00."""
    if b"\x00" in label or b"\x01" in label:
        return label.replace(b"\x01", b"\x01\x02").replace(b"\x00", b"\x01\x01")
    return label


def _unescape_label(escaped: bytes) -> bytes:
    if b"\x01" in escaped:
        return escaped.replace(b"\x01\x01", b"\x00").replace(b"\x01\x02", b"\x01")
    return escaped


def owner_key(wire: bytes, origin: bytes) -> bytes:
    """Return the owner key of wire name ``wire`` in the zone ``origin`` (lower-cased wire name).

    Raises BadName when the name is not at or below the origin.
    """
    name = lower(wire)
    if name == origin:
        return APEX
    if not is_subdomain(name, origin):
        raise BadName(f"{wire_to_text(wire)} is not in the zone {wire_to_text(origin)}")
    relative = labels(name[: len(name) - len(origin)] + b"\x00")
    relative.reverse()
    return b"".join([escape_label(label) + b"\x00" for label in relative])


def is_subdomain(name: bytes, origin: bytes) -> bool:
    """Tell whether lower-cased wire ``name`` is at or below lower-cased wire ``origin``."""
    if not name.endswith(origin):
        return False
    position, cut = 0, len(name) - len(origin)
    while position < cut:
        position += name[position] + 1
    return position == cut


def key_labels(key: bytes) -> list[bytes]:
    """Return the unescaped labels of an owner key, from the apex down."""
    return [_unescape_label(part) for part in key.split(b"\x00")[:-1]]


def key_to_wire(key: bytes, origin: bytes) -> bytes:
    """Return the uncompressed wire name of an owner key in the zone ``origin``."""
    if not key:
        return origin
    if b"\x01" not in key:
        label, _, below = key.partition(b"\x00")
        if not below:
            return _LENGTH[len(label)] + label + origin
        parts = key.split(b"\x00")
        parts.reverse()
        return b"".join([_LENGTH[len(part)] + part for part in parts[1:]]) + origin
    return b"".join([_LENGTH[len(label)] + label for label in reversed(key_labels(key))]) + origin


def parent_key(key: bytes) -> bytes:
    """Return the owner key of the name one label up; the apex has none (ValueError)."""
    if not key:
        raise ValueError("the apex has no parent inside the zone")
    return key[: key.rfind(b"\x00", 0, len(key) - 1) + 1]


def ancestors(key: bytes) -> Iterator[bytes]:
    """Yield the owner keys strictly above ``key``, nearest first, ending with the apex."""
    while key:
        key = parent_key(key)
        yield key


def label_count(key: bytes) -> int:
    """Return how many labels the key has below the apex."""
    return key.count(b"\x00")


def wire_label_count(wire: bytes) -> int:
    """Return the number of labels of a wire name without the root label (RFC 4034 §3.1.3 before wildcards)."""
    count = position = 0
    while length := wire[position]:
        count += 1
        position += length + 1
    return count


def is_wildcard(key: bytes) -> bool:
    """Tell whether the leftmost label is ``*`` (RFC 4592 §2.1.1)."""
    return key == b"*\x00" or key.endswith(b"\x00*\x00")


def wildcard_key(key: bytes) -> bytes:
    """Return the owner key of the wildcard directly below ``key``."""
    return key + b"*\x00"


def subtree_end(key: bytes) -> bytes:
    """Return the first possible key after all descendants of ``key``, the exclusive end of its subtree."""
    return AFTER_ALL if not key else key[:-1] + b"\x01"


def wire_to_text(wire: bytes) -> str:
    """Return a wire name in presentation format, absolute (RFC 1035 §5.1 escapes)."""
    parts = labels(wire)
    if not parts:
        return "."
    return "".join(_label_to_text(label) + "." for label in parts)


def _label_to_text(label: bytes) -> str:
    out = []
    for octet in label:
        if octet in _TEXT_SPECIAL:
            out.append("\\" + chr(octet))
        elif 33 <= octet <= 126:
            out.append(chr(octet))
        else:
            out.append(f"\\{octet:03d}")
    return "".join(out)


def key_to_text(key: bytes, origin: bytes) -> str:
    """Return the absolute name of an owner key in presentation format, for messages and exports."""
    return wire_to_text(key_to_wire(key, origin))


def full_name(text: str) -> str:
    """Return a presentation name as zones are named everywhere: in lower case, with the final dot.

    The text may lack the final dot; that it is a name is not checked. An escaped dot ends no name.
    """
    plain = text.lower()
    before = plain.removesuffix(".")
    escaped = (len(before) - len(before.rstrip("\\"))) % 2 == 1
    return plain if plain.endswith(".") and not escaped else plain + "."


def text_to_wire(text: str) -> bytes:
    """Return the lower-cased wire form of an absolute presentation name such as ``example.com.``.

    For configuration and command arguments; a missing final dot is taken as absolute. Raises BadName.
    """
    if text == ".":
        return ROOT_WIRE
    out = bytearray()
    label = bytearray()
    position = 0
    ended = False
    while position < len(text):
        char = text[position]
        ended = False
        if char == ".":
            _append_label(out, label, text)
            label = bytearray()
            ended = True
        elif char == "\\":
            octet, width = _escape(text, position)
            label.append(octet)
            position += width
        elif ord(char) > 126 or ord(char) < 33:
            raise BadName(f"{text!r}: character {char!r} in a name must be written as an A-label or \\DDD")
        else:
            label.append(ord(char))
        position += 1
    if not ended:
        _append_label(out, label, text)
    out.append(0)
    if len(out) > 255:
        raise BadName(f"{text!r} is longer than 255 octets")
    return lower(bytes(out))


def _append_label(out: bytearray, label: bytearray, text: str) -> None:
    if not label:
        raise BadName(f"{text!r} has an empty label")
    if len(label) > 63:
        raise BadName(f"{text!r} has a label longer than 63 octets")
    out.append(len(label))
    out += label


def _escape(text: str, position: int) -> tuple[int, int]:
    digits = text[position + 1 : position + 4]
    if len(digits) == 3 and digits.isdigit():
        if int(digits) > 255:
            raise BadName(f"{text!r}: \\{digits} is not an octet")
        return int(digits), 3
    if not digits or digits[0].isdigit():
        raise BadName(f"{text!r} has a bad escape")
    return ord(digits[0]), 1
