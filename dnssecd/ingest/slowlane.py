"""RDATA of any type from its words, through dnspython; the judge of what the fast lane does."""

import re

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer

from dnssecd.core.dns.rdata import BadRdata, canonical
from dnssecd.core.dns.rdata_strict import check
from dnssecd.core.dns.rrtypes import CDNSKEY, ZONEMD
from dnssecd.ingest import svcb
from dnssecd.ingest.errors import RecordError
from dnssecd.ingest.limits import RDATA_MAX
from dnssecd.ingest.plainwords import uint
from dnssecd.ingest.rdataforms import GENERIC, refused
from dnssecd.ingest.words import shown, type_text

#: Digest octets by hash algorithm: SHA-384, SHA-512 (RFC 8976 §5.3).
_ZONEMD_DIGESTS = {1: 48, 2: 64}
_ZONEMD_DIGEST_MIN = 12
#: What is checked in updates is checked here, too, as named-checkzone does; but not what it takes: a DHCID of two
#: octets, a CDNSKEY of a private algorithm. For SVCB and HTTPS there is svcb.check, which names the parameter.
_UNCHECKED = frozenset({49, *svcb.TYPES})
_PRIVATEDNS = 253
#: Its mnemonics are taken in any case, as by BIND, Knot and NSD.
CERT = 37
_RAW = re.compile(rb"(\\[\x20-\x7e])|\\?([\x00-\x08\x0a-\x1f\x7f-\xff])", re.DOTALL)


def rdata_wire(rtype: int, words: list[bytes], origin: bytes) -> bytes:
    """Return canonical RDATA for the words of a record after its type; names are relative to wire ``origin``.

    Raises RecordError.
    """
    if words[:1] != [GENERIC]:
        _need_parser(rtype)
        if rtype == ZONEMD:
            return _zonemd(words)
        if rtype in svcb.TYPES:
            words = svcb.prepare(words)
        elif rtype == CERT:
            words = [words[0].upper(), *words[1:]] if words else words
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
        if rtype not in _UNCHECKED and not (rtype == CDNSKEY and wire[3] == _PRIVATEDNS):
            check(rtype, wire)
    except BadRdata as error:
        raise RecordError(f"bad {type_text(rtype)} RDATA: {error}") from None
    except (dns.exception.DNSException, ValueError) as error:
        raise refused(rtype, words, _reason(error)) from None
    if rtype in svcb.TYPES:
        svcb.check(wire)
    if len(wire) > RDATA_MAX:
        raise RecordError(
            f"the RDATA takes {len(wire)} octets; over {RDATA_MAX} fit in no message", "shorten it"
        )
    return wire


def _zonemd(words: list[bytes]) -> bytes:
    """RFC 8976 §2.2; the reserved scheme and hash 0, which dnspython refuses, may stand below the apex."""
    try:
        serial, scheme, algorithm = words[:3]
        numbers = uint(serial, 2**32 - 1), uint(scheme, 255), uint(algorithm, 255)
        digest = bytes.fromhex(b"".join(words[3:]).decode("ascii"))
    except ValueError:
        text = shown(b" ".join(words))
        raise RecordError(
            f"bad ZONEMD RDATA {text}", "write SERIAL SCHEME HASH-ALGORITHM HEX-DIGEST"
        ) from None
    if len(digest) != _ZONEMD_DIGESTS.get(numbers[2], len(digest)) or len(digest) < _ZONEMD_DIGEST_MIN:
        raise RecordError(f"a ZONEMD digest of {len(digest)} octets does not go with its hash algorithm")
    return numbers[0].to_bytes(4, "big") + bytes(numbers[1:]) + digest


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
