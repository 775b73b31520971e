"""Parse words in the lists of other signers: algorithms, times, numbers, names. Errors have their position."""

from datetime import UTC, datetime

from dnssecd.config.algorithms import algorithm_number
from dnssecd.core.dns.names import BadName, text_to_wire
from dnssecd.migration.foreign import ForeignError

ZONE_FLAGS = 0x0100
_FORMS = ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y%m%d%H%M%S")


def algorithm(text: str, where: str) -> int:
    """Return the number of an algorithm given as mnemonic or number. Raise ForeignError for an unsupported one."""
    try:
        return algorithm_number(text)
    except KeyError:
        raise ForeignError(f"{where}: algorithm {text[:40]!r} is not known") from None
    except ValueError as error:
        raise ForeignError(
            f"{where}: algorithm {text}: {error}; roll to another algorithm with your current signer, then import"
        ) from None


def number(text: str, what: str, where: str, most: int) -> int:
    """Return a decimal number of at most ``most``. Raise ForeignError."""
    if not (text.isascii() and text.isdigit() and len(text) < 12) or int(text) > most:
        raise ForeignError(f"{where}: {text[:40]!r} is not a {what}")
    return int(text)


def epoch(text: str, where: str) -> int:
    """Return epoch seconds, given as such or as a date in UTC. Raise ForeignError."""
    if text.isascii() and text.isdigit() and len(text) < 12:
        return int(text)
    for form in _FORMS:
        try:
            return max(int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()), 0)
        except ValueError:
            continue
    raise ForeignError(f"{where}: {text[:40]!r} is not a time (epoch seconds or YYYY-MM-DDTHH:MM:SSZ)")


def is_name(text: str, zone: bytes) -> bool:
    """Return whether a name, with or without its final dot, is ``zone`` (lower-case wire form)."""
    try:
        return text_to_wire(text) == zone
    except BadName:
        return False
