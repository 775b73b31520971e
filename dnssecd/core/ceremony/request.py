"""The request to a ceremony: which ZSKs there will be, which DNSKEY RRsets may be needed, and when.

As text it is JSON::

    {"format": "dnssecd-ksr", "version": 1,
     "request": {"zone", "number", "made", "from", "to", "dnskey_ttl", "cds", "previous",
                 "zsk": [{"name", "tag", "dnskey"}], "ksk": [{"name", "tag", "dnskey", "state", "online"}],
                 "cds_sets": [["ksk1"], ["ksk1", "ksk2"]],
                 "plan": [{"from", "set": ["zsk1"]}],
                 "slots": [{"inception", "expiration", "sets": [["zsk1"], ["zsk1", "zsk2"]]}]},
     "proofs": [{"tag", "algorithm", "signature"}]}

Times are ``2026-11-24T03:30:00Z``. The hash of a request is SHA-256 over the value of "request" as JSON without spaces
and with ordered keys. Each proof is a signature by a ZSK over an RRSIG preimage of type covered 0 that holds the
hash: it shows that the private key is there, and can never validate as data.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from dnssecd.core.dns.key_records import BadRecord, owner_of, rdata_of, rdata_text
from dnssecd.core.dns.names import wire_to_text
from dnssecd.core.dns.rrtypes import DNSKEY
from dnssecd.core.keys.keyset import SEP, key_tag

FORMAT = "dnssecd-ksr"
VERSION = 1
DOCUMENT_OCTETS_MAX = 16 * 1024 * 1024
SLOTS_MAX = 2_000
SETS_MAX = 64
KEYS_MAX = 512


class BadDocument(ValueError):
    """A request or response that cannot be read; the message says what is wrong with it."""


class Slot(Struct, frozen=True):
    """The times of RRSIGs (epoch s), and the sets of ZSKs (DNSKEY RDATA) that may be published while they are valid."""

    inception: int
    expiration: int
    sets: tuple[tuple[bytes, ...], ...]


class Planned(Struct, frozen=True):
    """From when on (epoch s) the signer expects to publish a set of ZSKs, if all goes as usual."""

    start: int
    zsks: tuple[bytes, ...]


class KnownKsk(Struct, frozen=True):
    """A KSK as the signer has it: DNSKEY RDATA, and the state of its records for people.

    ``online``: its private key is at the signer; the RRsets are wanted with it and without it.
    """

    rdata: bytes
    state: str = ""
    online: bool = False


class ZskProof(Struct, frozen=True):
    """A ZSK's signature over the request's hash."""

    tag: int
    algorithm: int
    signature: bytes


class Request(Struct, frozen=True):
    """What is asked. ``number`` counts requests of a zone; ``previous``: hash of the response imported last ("": none).

    ``start`` and ``stop`` (epoch s) are the period; ``ttl`` (s) is that of all three RRsets. ``cds_sets``: the keys
    (DNSKEY RDATA, among ``ksks``) of the CDS RRset that is published, and of those that follow by the plan.
    ``file_hash``: SHA-256 of the file, for a form that has no hash of its own.
    """

    zone: bytes
    number: int
    made: int
    start: int
    stop: int
    ttl: int
    zsks: tuple[bytes, ...]
    slots: tuple[Slot, ...]
    plan: tuple[Planned, ...] = ()
    ksks: tuple[KnownKsk, ...] = ()
    cds: bool = True
    cds_sets: tuple[tuple[bytes, ...], ...] = ()
    previous: str = ""
    proofs: tuple[ZskProof, ...] = ()
    file_hash: bytes = b""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the request without its proofs."""
        return self.file_hash or hashlib.sha256(canonical(_body(self))).digest()

    @property
    def sets(self) -> tuple[tuple[bytes, ...], ...]:
        """All different sets of ZSKs, in the order in which they first appear."""
        return tuple(dict.fromkeys(zsks for slot in self.slots for zsks in slot.sets))


def canonical(value: object) -> bytes:
    """Return JSON without spaces and with ordered keys: what hashes are made of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def hash_of_file(text: str) -> bytes:
    """Return what ``sha256sum`` says of a file with this text."""
    return hashlib.sha256(text.encode()).digest()


def stamp(when: int) -> str:
    """Return ``2026-11-24T03:30:00Z``."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_request(request: Request) -> str:
    """Return the request as text."""
    proofs = [
        {"tag": proof.tag, "algorithm": proof.algorithm, "signature": proof.signature.hex()}
        for proof in request.proofs
    ]
    document = {"format": FORMAT, "version": VERSION, "request": _body(request), "proofs": proofs}
    return json.dumps(document, indent=1) + "\n"


def _body(request: Request) -> dict[str, Any]:
    names = {rdata: f"zsk{number}" for number, rdata in enumerate(request.zsks, 1)}
    ksk_names = {ksk.rdata: f"ksk{number}" for number, ksk in enumerate(request.ksks, 1)}
    return {
        "zone": wire_to_text(request.zone),
        "number": request.number,
        "made": stamp(request.made),
        "from": stamp(request.start),
        "to": stamp(request.stop),
        "dnskey_ttl": request.ttl,
        "cds": request.cds,
        "previous": request.previous,
        "zsk": [
            {"name": name, "tag": key_tag(rdata), "dnskey": rdata_text(DNSKEY, rdata)}
            for rdata, name in names.items()
        ],
        "ksk": [
            {
                "name": ksk_names[ksk.rdata],
                "tag": key_tag(ksk.rdata),
                "dnskey": rdata_text(DNSKEY, ksk.rdata),
                "state": ksk.state,
                "online": ksk.online,
            }
            for ksk in request.ksks
        ],
        "cds_sets": [[ksk_names[rdata] for rdata in rdatas] for rdatas in request.cds_sets],
        "plan": [
            {"from": stamp(each.start), "set": [names[rdata] for rdata in each.zsks]} for each in request.plan
        ],
        "slots": [
            {
                "inception": stamp(slot.inception),
                "expiration": stamp(slot.expiration),
                "sets": [[names[rdata] for rdata in zsks] for zsks in slot.sets],
            }
            for slot in request.slots
        ],
    }


def read_request(text: str) -> Request:
    """Return the request in a text; raise BadDocument."""
    document = read_document(text, FORMAT, VERSION, "request")
    body = Fields(document["request"], "request")
    named = {each.text("name"): _dnskey(each, sep=False) for each in body.tables("zsk", KEYS_MAX)}
    ksks = {each.text("name"): _known_ksk(each) for each in body.tables("ksk", KEYS_MAX)}
    request = Request(
        zone=_zone(body.text("zone")),
        number=body.number("number"),
        made=body.time("made"),
        start=body.time("from"),
        stop=body.time("to"),
        ttl=body.number("dnskey_ttl"),
        zsks=tuple(named.values()),
        slots=tuple(_slot(each, named) for each in body.tables("slots", SLOTS_MAX)),
        plan=tuple(
            Planned(each.time("from"), _named(each, each.texts("set", SETS_MAX), named))
            for each in body.tables("plan", SLOTS_MAX)
        ),
        ksks=tuple(ksks.values()),
        cds=body.flag("cds"),
        cds_sets=tuple(
            _named(body, row, {name: ksk.rdata for name, ksk in ksks.items()})
            for row in body.rows("cds_sets", SETS_MAX, least=0)
        ),
        previous=body.text("previous"),
        proofs=tuple(_proof(each) for each in Fields(document, "").tables("proofs", KEYS_MAX)),
    )
    if canonical(_body(request)) != canonical(document["request"]):
        raise BadDocument(
            "the request has fields that this version does not know, or is not as it was written"
        )
    return request


def _slot(fields: "Fields", named: dict[str, bytes]) -> Slot:
    sets = tuple(_named(fields, row, named) for row in fields.rows("sets", SETS_MAX))
    return Slot(fields.time("inception"), fields.time("expiration"), sets)


def _named(fields: "Fields", row: list[str], named: dict[str, bytes]) -> tuple[bytes, ...]:
    try:
        return tuple(named[name] for name in row)
    except KeyError as error:
        raise BadDocument(f"{fields.where}: a set names {error}, which is not among the keys") from None


def _known_ksk(fields: "Fields") -> KnownKsk:
    return KnownKsk(_dnskey(fields, sep=True), fields.text("state"), fields.flag("online"))


def _proof(fields: "Fields") -> ZskProof:
    return ZskProof(fields.number("tag"), fields.number("algorithm"), fields.octets("signature"))


def _dnskey(fields: "Fields", *, sep: bool) -> bytes:
    try:
        rdata = rdata_of(DNSKEY, fields.text("dnskey").split())
    except BadRecord as error:
        raise BadDocument(f"{fields.where}: {error}") from None
    if key_tag(rdata) != fields.number("tag"):
        raise BadDocument(f"{fields.where}: the key's tag is {key_tag(rdata)}")
    if bool(rdata[1] & SEP) is not sep:
        raise BadDocument(f"{fields.where}: the flags of key {key_tag(rdata)} do not fit its place")
    return rdata


def _zone(text: str) -> bytes:
    try:
        return owner_of(text)
    except BadRecord as error:
        raise BadDocument(f"zone: {error}") from None


def read_document(text: str, form: str, version: int, part: str) -> dict[str, Any]:
    """Return the JSON object of a text in this format and version; raise BadDocument."""
    if len(text) > DOCUMENT_OCTETS_MAX:
        raise BadDocument(f"more than {DOCUMENT_OCTETS_MAX} octets")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadDocument(f"not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("format") != form:
        found = document.get("format") if isinstance(document, dict) else None
        raise BadDocument(f'its format is "{found}", not "{form}"')
    if document.get("version") != version:
        raise BadDocument(f"version {document.get('version')} of the format; this dnssecd reads {version}")
    if not isinstance(document.get(part), dict):
        raise BadDocument(f'there is no "{part}"')
    return document


class Fields:
    """A JSON object read field by field; each method raises BadDocument for a value of another kind."""

    def __init__(self, values: dict[str, Any], where: str) -> None:
        self._values, self.where = values, where

    def text(self, name: str) -> str:
        """Return a text."""
        value = self._values.get(name)
        if not isinstance(value, str):
            raise self._bad(name, "a text")
        return value

    def number(self, name: str) -> int:
        """Return a number from 0 to 2^32 - 1."""
        value = self._values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 32:
            raise self._bad(name, "a number")
        return value

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self._values.get(name)
        if not isinstance(value, bool):
            raise self._bad(name, "true or false")
        return value

    def time(self, name: str) -> int:
        """Return a time as epoch seconds."""
        try:
            parsed = datetime.strptime(self.text(name), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise self._bad(name, "a time like 2026-11-24T03:30:00Z") from None
        return int(parsed.timestamp())

    def octets(self, name: str) -> bytes:
        """Return octets written as hex digits."""
        try:
            return bytes.fromhex(self.text(name))
        except ValueError:
            raise self._bad(name, "hex digits") from None

    def tables(self, name: str, most: int) -> list["Fields"]:
        """Return a list of objects."""
        value = self._values.get(name)
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self._bad(name, "a list of objects")
        if len(value) > most:
            raise self._bad(name, f"a list of at most {most}")
        return [Fields(each, f"{name}[{number}]") for number, each in enumerate(value)]

    def texts(self, name: str, most: int) -> list[str]:
        """Return a list of texts."""
        value = self._values.get(name)
        if not isinstance(value, list) or len(value) > most or not all(isinstance(x, str) for x in value):
            raise self._bad(name, f"a list of at most {most} texts")
        return value

    def rows(self, name: str, most: int, least: int = 1) -> list[list[str]]:
        """Return a list of lists of texts."""
        value = self._values.get(name)
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise self._bad(name, f"a list of {least} to {most} lists")
        for row in value:
            if not isinstance(row, list) or len(row) > most or not all(isinstance(x, str) for x in row):
                raise self._bad(name, "a list of lists of texts")
        return value

    def _bad(self, name: str, kind: str) -> BadDocument:
        place = f"{self.where}: " if self.where else ""
        return BadDocument(f'{place}"{name}" is not {kind}')
