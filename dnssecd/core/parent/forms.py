"""A handover in every form that registries, registrars and parents' operators ask for."""

import html
import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from dnssecd.core.keys.keyset import DELETE_CDNSKEY, DELETE_CDS, DIGEST_SHA256, DIGEST_SHA384, ds_rdata
from dnssecd.core.parent.handover import Change, Handover, ParentKey

#: Mnemonics as IANA has them ("DNS Security Algorithm Numbers", "DS RR Type Digest Algorithms").
ALGORITHM_NAMES: Mapping[int, str] = MappingProxyType(
    {
        8: "RSASHA256",
        10: "RSASHA512",
        13: "ECDSAP256SHA256",
        14: "ECDSAP384SHA384",
        15: "ED25519",
        16: "ED448",
        18: "MLDSA44",
    }
)
DIGEST_NAMES: Mapping[int, str] = MappingProxyType(
    {1: "SHA-1", DIGEST_SHA256: "SHA-256", DIGEST_SHA384: "SHA-384"}
)
DIGESTS = (DIGEST_SHA256, DIGEST_SHA384)
DOCUMENT_VERSION = 1

_EPP = "urn:ietf:params:xml:ns:epp-1.0"
_DOMAIN = "urn:ietf:params:xml:ns:domain-1.0"
_SECDNS = "urn:ietf:params:xml:ns:secDNS-1.1"
_DSSET_BREAK = 56  # where BIND breaks a digest

_Data = Callable[[ParentKey], list[str]]


def algorithm_text(number: int) -> str:
    """Return number and mnemonic, as in "13 (ECDSAP256SHA256)"."""
    return f"{number} ({ALGORITHM_NAMES.get(number, 'unassigned')})"


def ds_text(rdata: bytes) -> str:
    """Return DS RDATA in presentation format (RFC 4034 section 5.3)."""
    return f"{int.from_bytes(rdata[:2])} {rdata[2]} {rdata[3]} {rdata[4:].hex().upper() or '00'}"


def dnskey_text(rdata: bytes) -> str:
    """Return DNSKEY RDATA in presentation format (RFC 4034 section 2.2)."""
    return f"{int.from_bytes(rdata[:2])} {rdata[2]} {rdata[3]} {b64encode(rdata[4:]).decode()}"


def ds_lines(handover: Handover, keys: Iterable[ParentKey], *digests: int) -> list[str]:
    """Return DS records as in a zone file, in each of the digests (default: SHA-256 and SHA-384)."""
    return [
        f"{handover.zone} IN DS {ds_text(ds_rdata(handover.apex, key.rdata, digest))}"
        for key in keys
        for digest in digests or DIGESTS
    ]


def dnskey_lines(handover: Handover, keys: Iterable[ParentKey]) -> list[str]:
    """Return DNSKEY records as in a zone file."""
    return [f"{handover.zone} IN DNSKEY {dnskey_text(key.rdata)}" for key in keys]


def cds_lines(handover: Handover) -> list[str]:
    """Return the CDS and CDNSKEY RRsets that ask for the same (RFC 7344; RFC 8078 section 4 for removal)."""
    if not handover.wanted:
        if not handover.having(Change.REMOVE):
            return []
        return [
            f"{handover.zone} IN CDS {ds_text(DELETE_CDS)}",
            f"{handover.zone} IN CDNSKEY {dnskey_text(DELETE_CDNSKEY)}",
        ]
    cds = [f"{handover.zone} IN CDS {ds_text(rdata)}" for rdata in handover.ds_set()]
    return cds + [f"{handover.zone} IN CDNSKEY {dnskey_text(key.rdata)}" for key in handover.wanted]


def dsset_lines(handover: Handover) -> list[str]:
    """Return the file ``dsset-ZONE`` as BIND's dnssec-signzone writes it: the set wanted, SHA-256."""
    return [f"{handover.zone}\t\tIN DS {_broken(ds_text(rdata))}" for rdata in handover.ds_set()]


def _broken(text: str) -> str:
    head, _, digest = text.rpartition(" ")
    return " ".join([head, *(digest[at : at + _DSSET_BREAK] for at in range(0, len(digest), _DSSET_BREAK))])


# Field by field


def form_ds(handover: Handover, key: ParentKey) -> list[tuple[str, str]]:
    """Return what a form that takes a DS asks for: (field, value)."""
    rows = [("Key tag", str(key.tag)), ("Algorithm", algorithm_text(key.algorithm))]
    for digest_type in DIGESTS:
        digest = ds_rdata(handover.apex, key.rdata, digest_type)[4:].hex().upper()
        rows += [
            ("or: Digest type" if digest_type != DIGESTS[0] else "Digest type", _digest_text(digest_type)),
            ("Digest", digest),
        ]
    return rows


def form_key(key: ParentKey) -> list[tuple[str, str]]:
    """Return what a form that takes a DNSKEY asks for: (field, value)."""
    return [
        ("Flags", f"{key.flags} (KSK)"),
        ("Protocol", "3"),
        ("Algorithm", algorithm_text(key.algorithm)),
        ("Public key", b64encode(key.public_key).decode()),
    ]


def _digest_text(number: int) -> str:
    return f"{number} ({DIGEST_NAMES[number]})"


# EPP


def epp_ds(handover: Handover) -> list[str]:
    """Return a whole EPP <update> with dsData (RFC 5910 section 5.2.5): what is to be removed and added."""
    return _epp_update(
        handover,
        lambda key: [
            "<secDNS:dsData>",
            f"  <secDNS:keyTag>{key.tag}</secDNS:keyTag>",
            f"  <secDNS:alg>{key.algorithm}</secDNS:alg>",
            f"  <secDNS:digestType>{DIGEST_SHA256}</secDNS:digestType>",
            f"  <secDNS:digest>{ds_rdata(handover.apex, key.rdata)[4:].hex().upper()}</secDNS:digest>",
            "</secDNS:dsData>",
        ],
    )


def epp_key(handover: Handover) -> list[str]:
    """Return the same with keyData (RFC 5910 section 4.2), for registries that make the DS themselves."""
    return _epp_update(
        handover,
        lambda key: [
            "<secDNS:keyData>",
            f"  <secDNS:flags>{key.flags}</secDNS:flags>",
            "  <secDNS:protocol>3</secDNS:protocol>",
            f"  <secDNS:alg>{key.algorithm}</secDNS:alg>",
            f"  <secDNS:pubKey>{b64encode(key.public_key).decode()}</secDNS:pubKey>",
            "</secDNS:keyData>",
        ],
    )


def _epp_update(handover: Handover, data: _Data) -> list[str]:
    name = html.escape(handover.zone.rstrip(".") or ".")
    return [
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>',
        f'<epp xmlns="{_EPP}">',
        " <command>",
        "  <update>",
        f'   <domain:update xmlns:domain="{_DOMAIN}">',
        f"    <domain:name>{name}</domain:name>",
        "   </domain:update>",
        "  </update>",
        "  <extension>",
        f'   <secDNS:update xmlns:secDNS="{_SECDNS}">',
        *(f"    {line}" for line in _epp_changes(handover, data)),
        "   </secDNS:update>",
        "  </extension>",
        " </command>",
        "</epp>",
    ]


def _epp_changes(handover: Handover, data: _Data) -> list[str]:
    """<rem> before <add> (RFC 5910 section 5.2.5); to remove all there is <all>."""
    added, removed = handover.having(Change.ADD), handover.having(Change.REMOVE)
    lines: list[str] = []
    if removed and not handover.wanted:
        lines += ["<secDNS:rem>", "  <secDNS:all>true</secDNS:all>", "</secDNS:rem>"]
    elif removed:
        lines += ["<secDNS:rem>", *_each(removed, data), "</secDNS:rem>"]
    if added:
        lines += ["<secDNS:add>", *_each(added, data), "</secDNS:add>"]
    return lines


def _each(keys: Iterable[ParentKey], data: _Data) -> list[str]:
    return [f"  {line}" for key in keys for line in data(key)]


# JSON


def document(handover: Handover) -> dict[str, Any]:
    """Return the handover for programs; a registrar hook gets it on standard input.

    `ds` is the whole set that the parent is to have (SHA-256), `keys` every key with what is to happen to it.
    Times are epoch seconds, null where there is none.
    """
    return {
        "version": DOCUMENT_VERSION,
        "zone": handover.zone,
        "task": handover.task.value,
        "reason": handover.reason,
        "asked_at": handover.asked_at or None,
        "due_at": handover.due_at or None,
        "ds": [ds_document(rdata) for rdata in handover.ds_set()],
        "keys": [_key_document(handover, key) for key in handover.keys],
    }


def ds_document(rdata: bytes) -> dict[str, Any]:
    """Return one DS for programs."""
    return {
        "key_tag": int.from_bytes(rdata[:2]),
        "algorithm": rdata[2],
        "algorithm_name": ALGORITHM_NAMES.get(rdata[2], str(rdata[2])),
        "digest_type": rdata[3],
        "digest_type_name": DIGEST_NAMES.get(rdata[3], str(rdata[3])),
        "digest": rdata[4:].hex().upper(),
    }


def _key_document(handover: Handover, key: ParentKey) -> dict[str, Any]:
    """Return a key as JSON, without DS if it must not be handed over yet."""
    digests = () if key.change is Change.LATER else DIGESTS
    return {
        "change": key.change.value,
        "role": key.role,
        "key_tag": key.tag,
        "flags": key.flags,
        "protocol": 3,
        "algorithm": key.algorithm,
        "algorithm_name": ALGORITHM_NAMES.get(key.algorithm, str(key.algorithm)),
        "public_key": b64encode(key.public_key).decode(),
        "ds": [ds_document(ds_rdata(handover.apex, key.rdata, digest)) for digest in digests],
    }


def json_lines(handover: Handover) -> list[str]:
    """Return the document as JSON text, a DS or key to a line."""
    lines = ["{"]
    rows = document(handover)
    for name, value in rows.items():
        comma = "" if name == list(rows)[-1] else ","
        if isinstance(value, list) and value:
            texts = [json.dumps(each, ensure_ascii=False) for each in value]
            lines += [f' "{name}": [', *(f"  {text}," for text in texts[:-1]), f"  {texts[-1]}", f" ]{comma}"]
        else:
            lines.append(f' "{name}": {json.dumps(value, ensure_ascii=False)}{comma}')
    return [*lines, "}"]
