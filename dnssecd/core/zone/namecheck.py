"""Names that are probably mistakes: a missing final dot in RDATA, an address as a name, octets over 127."""

import re

from dnssecd.core.dns import rrtypes as t
from dnssecd.core.dns.names import ROOT_WIRE, wire_to_text
from dnssecd.core.dns.rdata import name_end
from dnssecd.core.dns.rrset import unpack

_SVCB, _HTTPS = 64, 65

#: Where the name begins in the RDATA of a type. NS is not here: a server in the zone without address is an
#: error.
TARGET_AT = {t.CNAME: 0, t.DNAME: 0, t.MX: 2, t.SRV: 6, _SVCB: 2, _HTTPS: 2}
_MAIL_AND_SERVICES = frozenset({t.MX, t.SRV})
#: Four labels of digits at the beginning of a name, or a first label with a colon.
_ADDRESS = re.compile(rb"(?:[\x01-\x03][0-9]{1,3}){4}[^0-9]|[\x02-\x27][0-9a-f:]{0,38}:")
#: An octet that all of them contain, as a fast first test.
_PERHAPS_ADDRESS = re.compile(rb"[0-9][\x01-\x03][0-9]|:")

EIGHT_BIT = "the name has octets over 127; write an internationalized name in its ASCII form (xn--…)"


def target_oddity(rtype: int, packed: bytes, origin: bytes) -> str:
    """Return what is odd about the target of a packed RRset whose type is in TARGET_AT; empty for nothing."""
    doubled = origin[:-1] + origin
    if doubled not in packed and not (rtype in _MAIL_AND_SERVICES and _PERHAPS_ADDRESS.search(packed)):
        return ""
    start = TARGET_AT[rtype]
    for rdata in unpack(packed):
        name = rdata[start : name_end(rdata, start)]
        if origin != ROOT_WIRE and name.endswith(doubled):
            return f"the target {wire_to_text(name)} repeats the zone's name; is a final dot missing in the zone file?"
        if rtype in _MAIL_AND_SERVICES and _ADDRESS.match(name):
            return (
                f"the target {wire_to_text(name)} is an address; a host name belongs there (RFC 1035 §3.3.9)"
            )
    return ""
