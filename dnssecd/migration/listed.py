"""One listing of another signer's keys, whichever signer it is of, as keys that can be brought in.

A listing need not have the public keys: DNSKEY records may stand among its lines (from dig, the signed zone, `keymgr
ZONE dnskey`, `ods-enforcer key export`), else the user who imports a private key names its public key.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from dnssecd.core.keys.keyset import REVOKE, dnskey_rdata, key_tag
from dnssecd.migration import knot, opendnssec, powerdns
from dnssecd.migration.foreign import ForeignError, ForeignKey, Private
from dnssecd.migration.words import is_name

_RECORD = re.compile(
    r"(?P<owner>[^\s;]+)(?:\s+\d+)?(?:\s+IN)?\s+DNSKEY\s+(?P<flags>\d{1,5})\s+3\s+(?P<kind>\d{1,3})\s+"
    r"\(?(?P<key>[A-Za-z0-9+/= \t]+)\)?\s*(?:;.*)?$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A key of a listing.  `key.public_key` is empty where the listing does not have it; `tag` is what it says.

    `private` is the private key, where the listing has it; else `key.private` says where it is.
    """

    key: ForeignKey
    tag: int
    private: bytes = field(default=b"", repr=False)

    def completed(self, public_key: bytes) -> ForeignKey:
        """The key with its public key; ForeignError where that is another key's."""
        key = replace(self.key, public_key=public_key)
        if key.tag != self.tag:
            raise ForeignError(
                f"{key.source}: the key listed has key tag {self.tag}, the private key found for it {key.tag}"
            )
        return key


def read(system: str, text: str, source: str, zone: bytes, keys: str, now: int) -> list[Listed]:
    """The keys of `zone` that are in use, as `system` (one of `SYSTEMS`) lists them; ForeignError.

    `keys`: the directory of the private keys, "" where there is none: they are in a token then, or in the listing.
    """
    text, records = _without_records(text, zone)
    found = SYSTEMS[system](text, source, zone, keys.rstrip("/"), now)
    if not found:
        raise ForeignError(
            f"{source}: none of the keys listed is published or signs; is the zone signed there?"
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
                f"{source}:{key.line}: the private key of key {key.ident} is not in the listing; "
                "name the directory with what pdnsutil export-zone-key printed"
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
    """The listing with empty lines where DNSKEY records stood, and the RDATA of those of `zone`."""
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
    """Its public key is that of the record with its flags, algorithm and tag, if there is one such."""
    key = listed.key
    if key.public_key:
        return replace(listed, key=listed.completed(key.public_key))
    head = dnskey_rdata(key.flags, key.algorithm, b"")
    found = [rdata for rdata in records if rdata.startswith(head) and key_tag(rdata) == listed.tag]
    if len(found) > 1:
        raise ForeignError(f"{key.source}: {len(found)} DNSKEY records have key tag {listed.tag}")
    assert not key.flags & REVOKE, "revoked keys are refused by the readers"
    return replace(listed, key=replace(key, public_key=found[0][4:])) if found else listed
