"""RDATA of any type from its words, through dnspython; the judge of what the fast lane does."""

import re

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer

from dnssecd.core.rdata import BadRdata, canonical
from dnssecd.ingest import svcb
from dnssecd.ingest.errors import RecordError
from dnssecd.ingest.limits import RDATA_MAX
from dnssecd.ingest.words import shown, type_text

_GENERIC = rb"\#"
_RAW = re.compile(rb"(\\[\x20-\x7e])|\\?([\x00-\x08\x0a-\x1f\x7f-\xff])", re.DOTALL)


def rdata_wire(rtype: int, words: list[bytes], origin: bytes) -> bytes:
    """Return canonical RDATA for the words of a record after its type; names are relative to wire ``origin``.

    Raises RecordError.
    """
    if words[:1] != [_GENERIC]:
        _need_parser(rtype)
        if rtype in svcb.TYPES:
            words = svcb.prepare(words)
    text = _ascii(b" ".join(words))
    try:
        rdata = dns.rdata.from_text(
            dns.rdataclass.IN,
            dns.rdatatype.RdataType.make(rtype),
            dns.tokenizer.Tokenizer(text),
            dns.name.from_wire(origin, 0)[0],
            relativize=False,
        )
        wire = canonical(rtype, rdata.to_wire() or b"")
    except BadRdata as error:
        raise RecordError(f"bad {type_text(rtype)} RDATA: {error}") from None
    except (dns.exception.DNSException, ValueError) as error:
        raise RecordError(f"bad {type_text(rtype)} RDATA {shown(text.encode())}: {_reason(error)}") from None
    if rtype in svcb.TYPES:
        svcb.check(wire)
    if len(wire) > RDATA_MAX:
        raise RecordError(
            f"the RDATA takes {len(wire)} octets; over {RDATA_MAX} fit in no message", "shorten it"
        )
    return wire


def _need_parser(rtype: int) -> None:
    kind = dns.rdata.get_rdata_class(dns.rdataclass.IN, rtype)  # type: ignore[no-untyped-call]
    generic = kind is dns.rdata.GenericRdata
    if generic:
        cause = f"RDATA of type {type_text(rtype)} is read in the form of RFC 3597 only"
        raise RecordError(cause, f"write TYPE{rtype} \\# LENGTH HEX")


def _ascii(text: bytes) -> str:
    """Return the text with every octet outside printable ASCII as \\DDD: dnspython would take it for UTF-8."""
    return _RAW.sub(lambda match: match[1] or b"\\%03d" % match[2][0], text).decode("ascii")


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__doc__ or type(error).__name__
    return " ".join(text.split()).rstrip(".")
