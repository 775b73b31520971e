"""The response of a ceremony: RRsets and the RRSIGs that the KSKs made for them.

As text it is JSON::

    {"format": "dnssecd-skr", "version": 1,
     "response": {"zone", "number", "request", "made", "from", "to",
                  "sets": [{"type": "DNSKEY", "ttl", "records": ["256 3 13 …"], "rrsigs": ["DNSKEY 13 2 …"]}]}}

"number" and "request" are the request's number and hash. The hash of a response is made as that of a request.
"""

import hashlib
import json
from typing import Any

from msgspec import Struct

from dnssecd.core.ceremony.request import BadDocument, Fields, canonical, read_document, stamp
from dnssecd.core.dns.key_records import TYPES, BadRecord, owner_of, rdata_of, rdata_text
from dnssecd.core.dns.names import wire_to_text
from dnssecd.core.dns.rrtypes import DNSKEY, RRSIG, type_text
from dnssecd.core.keys.keyset import SEP
from dnssecd.core.keys.signed_ahead import AheadSet

FORMAT = "dnssecd-skr"
VERSION = 1
SETS_MAX = 20_000
RECORDS_MAX = 64
RRSIGS_MAX = 8_000


class Response(Struct, frozen=True):
    """What was signed. ``request``: hash of the request in hex ("": of another format, which has none).

    ``file_hash``: SHA-256 of the file, for a form that has no hash of its own.
    """

    zone: bytes
    sets: tuple[AheadSet, ...]
    made: int = 0
    start: int = 0
    stop: int = 0
    number: int = 0
    request: str = ""
    file_hash: bytes = b""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the response."""
        return self.file_hash or hashlib.sha256(canonical(_body(self))).digest()

    @property
    def dnskeys(self) -> tuple[bytes, ...]:
        """All DNSKEY RDATA in its DNSKEY RRsets."""
        found = (rdata for each in self.sets if each.rtype == DNSKEY for rdata in each.rdatas)
        return tuple(sorted(set(found)))

    @property
    def ksks(self) -> tuple[bytes, ...]:
        """DNSKEY RDATA of the keys with the SEP flag."""
        return tuple(rdata for rdata in self.dnskeys if rdata[1] & SEP)

    @property
    def zsks(self) -> tuple[bytes, ...]:
        """DNSKEY RDATA of the keys without the SEP flag."""
        return tuple(rdata for rdata in self.dnskeys if not rdata[1] & SEP)


def write_response(response: Response) -> str:
    """Return the response as text."""
    document = {"format": FORMAT, "version": VERSION, "response": _body(response)}
    return json.dumps(document, indent=1) + "\n"


def _body(response: Response) -> dict[str, Any]:
    return {
        "zone": wire_to_text(response.zone),
        "number": response.number,
        "request": response.request,
        "made": stamp(response.made),
        "from": stamp(response.start),
        "to": stamp(response.stop),
        "sets": [
            {
                "type": type_text(each.rtype),
                "ttl": each.ttl,
                "records": [rdata_text(each.rtype, rdata) for rdata in each.rdatas],
                "rrsigs": [rdata_text(RRSIG, rrsig) for rrsig in each.rrsigs],
            }
            for each in response.sets
        ],
    }


def read_response(text: str) -> Response:
    """Return the response in a text; raise BadDocument."""
    document = read_document(text, FORMAT, VERSION, "response")
    body = Fields(document["response"], "response")
    try:
        return Response(
            zone=owner_of(body.text("zone")),
            number=body.number("number"),
            request=body.text("request"),
            made=body.time("made"),
            start=body.time("from"),
            stop=body.time("to"),
            sets=tuple(_set(each) for each in body.tables("sets", SETS_MAX)),
        )
    except BadRecord as error:
        raise BadDocument(str(error)) from None


def _set(fields: Fields) -> AheadSet:
    name = fields.text("type")
    rtype = TYPES.get(name)
    if rtype is None or rtype == RRSIG:
        raise BadDocument(f"{fields.where}: {name} is no RRset of a ceremony")
    records = fields.texts("records", RECORDS_MAX)
    rrsigs = fields.texts("rrsigs", RRSIGS_MAX)
    rdatas = tuple(sorted({rdata_of(rtype, text.split()) for text in records}))
    if not rdatas or len(rdatas) != len(records):
        raise BadDocument(f"{fields.where}: an empty {name} RRset, or a record twice")
    made = tuple(rdata_of(RRSIG, text.split()) for text in rrsigs)
    return AheadSet(rtype, fields.number("ttl"), rdatas, made)
