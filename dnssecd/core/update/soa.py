"""The SOA record in an update: which client serials are accepted, and which timers harm the zone."""

from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.serial import MODULUS, increment, is_after
from dnssecd.core.update.types import REFUSED, SERIAL_STEP_MAX, UpdateFailed, UpdatePolicy
from dnssecd.core.zone.soacheck import soa_contact, soa_dangers, soa_oddities


def client_soa(rdata: bytes, held: bytes, policy: UpdatePolicy) -> tuple[bytes, str]:
    """Return the SOA RDATA to use for a client's, and a note about it.

    ``held``: the zone's SOA RDATA; the client's serial is after it. A serial too far ahead is ignored: two
    such steps wrap the serial around, and secondaries that missed the first step never transfer the zone
    again (RFC 1982).
    """
    serial, now = soa_rdata_serial(rdata), soa_rdata_serial(held)
    farthest = policy.serial_max
    if farthest is None:
        farthest = (now + SERIAL_STEP_MAX) % MODULUS
    if not is_after(serial, farthest):
        return rdata, ""
    own = increment(now)
    rdata = rdata[:-20] + own.to_bytes(4, "big") + rdata[-16:]
    return rdata, f"serial {serial} is too far after {now}: the zone keeps its own serial"


def judge_soa(new: RRset, old: RRset | None) -> list[str]:
    """Return notes on a new SOA RRset; raise UpdateFailed if its timers would harm the zone.

    Unchanged fields are not checked.
    """
    if old is not None and old.ttl == new.ttl and _without_serial(old.rdata) == _without_serial(new.rdata):
        return []
    dangers = soa_dangers(new)
    if dangers and (old is None or dangers != soa_dangers(old)):
        raise UpdateFailed(REFUSED, f"the SOA record: {dangers[0]}", notable=True)
    contact = soa_contact(new)
    return [f"the SOA record: {oddity}" for oddity in (*soa_oddities(new), contact) if oddity]


def _without_serial(rdata: bytes) -> bytes:
    return rdata[:-20] + rdata[-16:]


def soa_rdata_serial(rdata: bytes) -> int:
    """Return the serial of SOA RDATA."""
    return int.from_bytes(rdata[-20:-16], "big")
