"""The regexp field of NAPTR (RFC 3402 §3.2): a substitution expression with a POSIX extended regular expression.

This check is strict because BIND and other servers abort the whole transfer if they refuse the field.
"""

import re

_CLASSES = rb"\[:(?:alnum|alpha|blank|cntrl|digit|graph|lower|print|punct|space|upper|xdigit):\]"
_BRACKET = re.compile(rb"\[\^?(\]?(?:" + _CLASSES + rb"|[^\[\]])*)\]", re.DOTALL)
_RANGE = re.compile(rb"(.)-(.)", re.DOTALL)
_BOUND = re.compile(rb"\{(\d{1,3})(?:(,)(\d{1,3})?)?\}")
_BOUND_MAX = 255


def is_substitution(text: bytes) -> bool:
    """Tell whether text is delimiter, ERE, delimiter, replacement, delimiter, then nothing or ``i``."""
    delimiter = text[:1]
    if not delimiter or delimiter in b"0123456789\\i\x00" or b"\x00" in text:
        return False
    parts = _split(text[1:], delimiter)
    if parts is None:
        return False
    expression, replacement, flags = parts
    groups = _groups(expression)
    return groups is not None and not flags.strip(b"i") and _highest_reference(replacement) <= groups


def _split(text: bytes, delimiter: bytes) -> list[bytes] | None:
    """Return the three parts of what follows the first delimiter, None when there are fewer or more."""
    parts = [b""]
    position = 0
    while position < len(text):
        octet = text[position : position + 1]
        if octet == delimiter:
            parts.append(b"")
        elif octet == b"\\":
            parts[-1] += text[position : position + 2]
            position += 1
        else:
            parts[-1] += octet
        position += 1
    return parts if len(parts) == 3 and position == len(text) else None


def _highest_reference(replacement: bytes) -> int:
    """Return the highest back reference; a reference to group 0 counts as too high, since there is none."""
    digits = re.findall(rb"\\(.)", replacement, re.DOTALL)
    return max((10 if digit == b"0" else int(digit) for digit in digits if digit.isdigit()), default=0)


def _groups(expression: bytes) -> int | None:
    """Return how many groups an extended regular expression has, None when it is malformed."""
    position = groups = depth = 0
    has_atom = may_repeat = False
    while position < len(expression):
        octet = expression[position : position + 1]
        bound = _BOUND.match(expression, position)
        if octet in b"*+?" or bound:
            if not may_repeat or (bound and not _is_bound(bound)):
                return None
            position += len(bound[0]) if bound else 1
            may_repeat = False
            continue
        width = 1
        if octet == b"[":
            width = _bracket_width(expression, position)
        elif octet == b"\\":
            width = _escape_width(expression, position, groups)
        if not width:
            return None
        if octet == b"(":
            groups, depth = groups + 1, depth + 1
        elif octet in b")|" and (not has_atom or (octet == b")" and not depth)):
            return None
        elif octet == b")":
            depth -= 1
        has_atom = octet not in b"(|"
        may_repeat = octet not in b"(|^$"
        position += width
    return groups if has_atom and not depth else None


def _is_bound(bound: re.Match[bytes]) -> bool:
    low = int(bound[1])
    high = int(bound[3]) if bound[3] else low
    return low <= high <= _BOUND_MAX


def _bracket_width(expression: bytes, position: int) -> int:
    """Return the octets a bracket expression takes, 0 when it is malformed or has a descending range."""
    match = _BRACKET.match(expression, position)
    if match is None or not match[1]:
        return 0
    plain = re.sub(_CLASSES, b"", match[1])
    if any(low > high for low, high in _RANGE.findall(plain)):
        return 0
    return len(match[0])


def _escape_width(expression: bytes, position: int, groups: int) -> int:
    escaped = expression[position + 1 : position + 2]
    if not escaped or (escaped in b"123456789" and int(escaped) > groups):
        return 0
    return 2
