"""Checks of the SOA record: timers that harm the zone at its secondaries and resolvers."""

from dnssecd.core.dns.names import wire_to_text
from dnssecd.core.dns.rdata import name_end
from dnssecd.core.dns.rrset import RRset, unpack

_DAY_S = 86_400


def soa_dangers(soa: RRset) -> list[str]:
    """Return, in words, SOA timers that make secondaries discard the zone or query its primary too often."""
    _, refresh, retry, expire, _ = _fields(soa)
    found = []
    if not refresh or not retry:
        found.append("refresh and retry must not be 0: secondaries would query without pause")
    if expire < refresh + retry:
        found.append(
            f"expire ({expire} s) is below refresh + retry ({refresh + retry} s): a secondary would "
            f"discard the zone before its second attempt to refresh it"
        )
    return found


def soa_contact(soa: RRset) -> str:
    """Return, in words, what is odd about the mailbox of an SOA RRset (RNAME); empty for nothing."""
    rname = unpack(soa.rdata)[0][:-20]
    rname = rname[name_end(rname, 0) :]
    if b"@" not in rname:
        return ""
    return f"the mailbox {wire_to_text(rname)} has an @; write a dot for it, and \\. for a dot before it (RFC 1035 §8)"


def soa_oddities(soa: RRset) -> list[str]:
    """Return, in words, TTL and minimum values of an SOA RRset that are probably mistakes."""
    minimum = _fields(soa)[4]
    if not soa.ttl or not minimum:
        return ["a TTL or minimum of 0: resolvers keep no negative answers of the zone (RFC 9077 §3)"]
    if min(soa.ttl, minimum) > _DAY_S:
        kept = min(soa.ttl, minimum)
        return [f"resolvers keep negative answers for {kept} s, over a day (RFC 2308 §5)"]
    return []


def _fields(soa: RRset) -> tuple[int, int, int, int, int]:
    """Return serial, refresh, retry, expire and minimum."""
    end = soa.rdata[-20:]
    serial, refresh, retry, expire, minimum = (
        int.from_bytes(end[start : start + 4], "big") for start in range(0, 20, 4)
    )
    return serial, refresh, retry, expire, minimum
