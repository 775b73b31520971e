"""Parse RDATA of any type with dnspython; this is the reference for the fast lane."""

import re
from collections.abc import Callable

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer

from dnssecd.core.dns.rdata import BadRdata, canonical
from dnssecd.core.dns.rdata_strict import COMPLETE, check
from dnssecd.core.dns.rrtypes import CDNSKEY, ZONEMD
from dnssecd.ingest import svcb, text_forms
from dnssecd.ingest.errors import RecordError
from dnssecd.ingest.limits import RDATA_MAX
from dnssecd.ingest.plainwords import uint
from dnssecd.ingest.rdataforms import GENERIC, refused
from dnssecd.ingest.words import shown, type_text

#: Digest octets by hash algorithm: SHA-384, SHA-512 (RFC 8976 §5.3).
_ZONEMD_DIGESTS = {1: 48, 2: 64}
_ZONEMD_DIGEST_MIN = 12
#: The checks of updates apply here too, as in named-checkzone, except for a CDNSKEY of a private algorithm,
#: which named-checkzone accepts. SVCB and HTTPS have svcb.check, whose message names the parameter.
_UNCHECKED = svcb.TYPES
_PRIVATEDNS = 253
_RAW = re.compile(rb"(\\[\x20-\x7e])|\\?([\x00-\x08\x0a-\x1f\x7f-\xff])", re.DOTALL)


def rdata_wire(rtype: int, words: list[bytes], origin: bytes) -> bytes:
    """Return canonical RDATA for the words of a record after its type; names are relative to wire ``origin``.

    Raises RecordError.
    """
    if words[:1] == [GENERIC]:
        wire = _checked(rtype, words, lambda: _generic(rtype, words, origin))
    elif rtype == ZONEMD:
        return _zonemd(words)
    elif rtype in text_forms.FORMS:
        wire = _checked(rtype, words, lambda: text_forms.FORMS[rtype](words, origin))
    elif rtype in svcb.TYPES:
        wire = _checked(rtype, words, lambda: _svcb(rtype, words, origin))
    else:
        kind, given = text_forms.for_dnspython(rtype, words)
        _need_parser(kind)
        wire = _checked(rtype, words, lambda: text_forms.meant(rtype, words, _parsed(kind, given, origin)))
    if rtype in svcb.TYPES:
        svcb.check(wire)
    if len(wire) > RDATA_MAX:
        raise RecordError(
            f"the RDATA takes {len(wire)} octets; a message has room for {RDATA_MAX}", "shorten it"
        )
    return wire


def _checked(rtype: int, words: list[bytes], read: Callable[[], bytes]) -> bytes:
    """Return RDATA in canonical form, checked; raises RecordError."""
    try:
        wire = canonical(rtype, read())
        if rtype not in _UNCHECKED and not (rtype == CDNSKEY and wire[3] == _PRIVATEDNS):
            check(rtype, wire)
    except RecordError:
        raise
    except BadRdata as error:
        raise RecordError(f"bad {type_text(rtype)} RDATA: {error}") from None
    except text_forms.WRONG as error:
        raise refused(rtype, words, _reason(error)) from None
    return wire


def _parsed(rtype: int, words: list[bytes], origin: bytes) -> bytes:
    rdata = dns.rdata.from_text(
        dns.rdataclass.IN,
        dns.rdatatype.RdataType.make(rtype),
        dns.tokenizer.Tokenizer(_ascii(b" ".join(words))),
        dns.name.from_wire(origin, 0)[0],
        relativize=False,
    )
    return rdata.to_wire() or b""


def _svcb(rtype: int, words: list[bytes], origin: bytes) -> bytes:
    given, restore = svcb.prepare(words)
    return restore(_parsed(rtype, given, origin))


def _generic(rtype: int, words: list[bytes], origin: bytes) -> bytes:
    r"""RFC 3597 §5: ``\# LENGTH HEX``; dnspython checks the types that this package does not check completely."""
    if rtype not in COMPLETE:
        return _parsed(rtype, words, origin)
    wire = bytes.fromhex(b"".join(words[2:]).decode("ascii"))
    if uint(words[1], 2**16 - 1) != len(wire):
        raise ValueError(f"the length is {shown(words[1])}, but there are {len(wire)} octets")
    return wire


def _zonemd(words: list[bytes]) -> bytes:
    """RFC 8976 §2.2: dnspython refuses the reserved scheme and hash 0, but they may be below the apex."""
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
        raise RecordError(f"a ZONEMD digest of {len(digest)} octets does not match its hash algorithm")
    return numbers[0].to_bytes(4, "big") + bytes(numbers[1:]) + digest


def _need_parser(rtype: int) -> None:
    kind = dns.rdata.get_rdata_class(dns.rdataclass.IN, rtype)  # type: ignore[no-untyped-call]
    generic = kind is dns.rdata.GenericRdata
    if generic:
        cause = f"RDATA of type {type_text(rtype)} must be written in the form of RFC 3597"
        raise RecordError(cause, f"write TYPE{rtype} \\# LENGTH HEX")


def _ascii(text: bytes) -> str:
    r"""Return the text with every octet outside printable ASCII as \DDD: dnspython would take it for UTF-8."""
    return _RAW.sub(lambda match: match[1] or b"\\%03d" % match[2][0], text).decode("ascii")


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__doc__ or type(error).__name__
    return " ".join(text.split()).rstrip(".")
