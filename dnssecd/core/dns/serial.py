"""Serial number arithmetic (RFC 1982) and the choice of the next serial."""

MODULUS = 1 << 32
HALF = 1 << 31


def compare(a: int, b: int) -> int:
    """Return -1, 0 or 1 for a before, equal to or after b (RFC 1982 §3.2).

    For the undefined case (distance exactly 2**31) the answer is -1: neither is after the other, so "is a
    after b" must be false.
    """
    if a == b:
        return 0
    return 1 if 0 < (a - b) % MODULUS < HALF else -1


def is_after(a: int, b: int) -> bool:
    """Tell whether serial ``a`` is later than ``b``."""
    return compare(a, b) > 0


def increment(serial: int) -> int:
    """Return the serial after ``serial``; 0 is skipped, since some servers read it as "no serial"."""
    return (serial + 1) % MODULUS or 1


def latest(*serials: int) -> int:
    """Return the latest of serials that lie within half the number space of one another."""
    best = serials[0]
    for serial in serials[1:]:
        if is_after(serial, best):
            best = serial
    return best


def next_serial(scheme: str, published: int | None, input_serial: int, now: int, date: int) -> int:
    """Return the serial of the next version.

    scheme: ``increment``, ``unixtime`` or ``date``; published: the latest serial that a server may have seen,
    or None; now: epoch seconds; date: today as YYYYMMDD (UTC). The result is always after ``published``.
    """
    if scheme == "increment":
        wanted = input_serial
    elif scheme == "unixtime":
        wanted = now % MODULUS
    elif scheme == "date":
        wanted = date * 100
    else:
        raise ValueError(f"unknown serial scheme {scheme!r}")
    if published is None:
        return wanted
    return wanted if is_after(wanted, published) else increment(published)
