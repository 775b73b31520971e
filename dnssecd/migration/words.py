"""Words of other signers' listings: algorithms, times, numbers, names.  Errors name where they stand."""

from datetime import UTC, datetime

from dnssecd.config.algorithms import algorithm_number
from dnssecd.core.dns.names import BadName, text_to_wire
from dnssecd.migration.foreign import ForeignError

ZONE_FLAGS = 0x0100
_FORMS = ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y%m%d%H%M%S")


def algorithm(text: str, where: str) -> int:
    """The number of an algorithm given as mnemonic or number; ForeignError for one that is not signed with here."""
    try:
        return algorithm_number(text)
    except KeyError:
        raise ForeignError(f"{where}: algorithm {text[:40]!r} is not known") from None
    except ValueError as error:
        raise ForeignError(
            f"{where}: algorithm {text}: {error}; roll over to another with the signer you have, then import"
        ) from None


def number(text: str, what: str, where: str, most: int) -> int:
    """A decimal number of at most `most`."""
    if not (text.isascii() and text.isdigit() and len(text) < 12) or int(text) > most:
        raise ForeignError(f"{where}: {text[:40]!r} is not a {what}")
    return int(text)


def epoch(text: str, where: str) -> int:
    """Epoch seconds from such, or from a date in UTC."""
    if text.isascii() and text.isdigit() and len(text) < 12:
        return int(text)
    for form in _FORMS:
        try:
            return max(int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()), 0)
        except ValueError:
            continue
    raise ForeignError(f"{where}: {text[:40]!r} is not a time (epoch seconds or YYYY-MM-DDTHH:MM:SSZ)")


def is_name(text: str, zone: bytes) -> bool:
    """Whether a name, with or without its final dot, is that of `zone` (lower-case wire form)."""
    try:
        return text_to_wire(text if text.endswith(".") else text + ".") == zone
    except BadName:
        return False
