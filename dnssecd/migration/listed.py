"""A list of another signer's keys as keys that can be imported, the same for all signers.

A list may lack the public keys: the file can also contain DNSKEY records (from dig, the signed zone, ``keymgr ZONE
dnskey``, ``ods-enforcer key export``). Otherwise the public key is derived from the private key.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dnssecd.core.keys.keyset import REVOKE, dnskey_rdata, key_tag
from dnssecd.migration import knot, opendnssec, powerdns
from dnssecd.migration.foreign import ForeignError, ForeignKey, Private
from dnssecd.migration.words import is_name
from dnssecd.replacing import replace

_RECORD = re.compile(
    r"(?P<owner>[^\s;]+)(?:\s+\d+)?(?:\s+IN)?\s+DNSKEY\s+(?P<flags>\d{1,5})\s+3\s+(?P<kind>\d{1,3})\s+"
    r"\(?(?P<key>[A-Za-z0-9+/= \t]+)\)?\s*(?:;.*)?$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A key of a list. ``key.public_key`` is empty if the list does not have it; ``tag``: the key tag in the list.

    ``private`` is the private key if it is in the list; otherwise ``key.private`` is its location.
    """

    key: ForeignKey
    tag: int
    private: bytes = field(default=b"", repr=False)

    def completed(self, public_key: bytes) -> ForeignKey:
        """Return the key with its public key. Raise ForeignError for the public key of another key."""
        key = replace(self.key, public_key=public_key)
        if key.tag != self.tag:
            raise ForeignError(
                f"{key.source}: the listed key has key tag {self.tag}, its private key has key tag {key.tag}"
            )
        return key


def read(system: str, text: str, source: str, zone: bytes, keys: str, now: int) -> list[Listed]:
    """Return the keys of ``zone`` in use that ``system`` (one of ``SYSTEMS``) lists. Raise ForeignError.

    ``keys``: the directory of the private keys; "": they are in a token or in the list.
    """
    text, records = _without_records(text, zone)
    found = SYSTEMS[system](text, source, zone, keys.rstrip("/"), now)
    if not found:
        raise ForeignError(
            f"{source}: no listed key is published or signs; check that this signer signs the zone"
        )
    return [_with_public(one, records) for one in found]


def _knot(text: str, source: str, zone: bytes, keys: str, now: int) -> list[Listed]:
    listed = knot.in_use(knot.read_list(text, source, zone), now)
    found = []
    for key in listed:
        private = Private(path=f"{keys}/{key.key_id}.pem") if keys else Private(cka_id=key.key_id)
        found.append(Listed(knot.foreign_key(key, listed, zone, b"", source, now, private), key.tag))
    return found


def _opendnssec(text: str, source: str, zone: bytes, keys: str, now: int) -> list[Listed]:
    if keys:
        raise ForeignError("OpenDNSSEC has its keys in a token, not in a directory")
    listed = opendnssec.in_use(opendnssec.read_list(text, source, zone))
    return [Listed(opendnssec.foreign_key(key, zone, b"", source), key.tag) for key in listed]


def _powerdns(text: str, source: str, zone: bytes, keys: str, now: int) -> list[Listed]:
    found = []
    for key in powerdns.in_use(powerdns.read_list(text, source, zone)):
        private = Private(path="" if key.private else f"{keys}/{key.ident}.private")
        if not keys and not key.private:
            raise ForeignError(
                f"{source}:{key.line}: the private key of key {key.ident} is not in the list; "
                "give the directory with the output of pdnsutil export-zone-key"
            )
        public_key = key.rdata[4:]
        foreign = powerdns.foreign_key(key, zone, public_key, source, private)
        found.append(Listed(foreign, key.tag, key.private))
    return found


#: Reader by the name of the signer.
SYSTEMS: Mapping[str, Callable[[str, str, bytes, str, int], list[Listed]]] = {
    "knot": _knot,
    "opendnssec": _opendnssec,
    "powerdns": _powerdns,
}


# DNSKEY records


def _without_records(text: str, zone: bytes) -> tuple[str, dict[bytes, None]]:
    """Return the list with DNSKEY records replaced by empty lines, and the RDATA of those of ``zone``."""
    records: dict[bytes, None] = {}
    lines = text.splitlines()
    for number, line in enumerate(lines):
        record = _RECORD.match(line)
        if record is None:
            continue
        lines[number] = ""
        rdata = _rdata(record)
        if rdata is not None and is_name(record["owner"], zone):
            records[rdata] = None
    return "\n".join(lines), records


def _rdata(record: re.Match[str]) -> bytes | None:
    try:
        public_key = base64.b64decode("".join(record["key"].split()), validate=True)
        return dnskey_rdata(int(record["flags"]), int(record["kind"]), public_key)
    except (binascii.Error, OverflowError, ValueError):
        return None


def _with_public(listed: Listed, records: Mapping[bytes, None]) -> Listed:
    """Return the key with the public key of the record that has its flags, algorithm and tag, if there is one."""
    key = listed.key
    if key.public_key:
        return replace(listed, key=listed.completed(key.public_key))
    head = dnskey_rdata(key.flags, key.algorithm, b"")
    found = [rdata for rdata in records if rdata.startswith(head) and key_tag(rdata) == listed.tag]
    if len(found) > 1:
        raise ForeignError(f"{key.source}: {len(found)} DNSKEY records have key tag {listed.tag}")
    assert not key.flags & REVOKE, "the readers refuse revoked keys"
    return replace(listed, key=replace(key, public_key=found[0][4:])) if found else listed
