"""Catalog zones (RFC 9432): a zone whose records name other zones, its members.

A member is the PTR RRset at ``LABEL.zones.CATALOG``; below it are its properties: the group (TXT at ``group.``) and the
catalog that it changes to (PTR at ``coo.``). ``version.CATALOG`` says in a TXT record which form this is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256

from msgspec import Struct

from dnssecd.core.dns.names import key_labels, wire_to_text
from dnssecd.core.dns.rrset import RRset, unpack
from dnssecd.core.dns.rrtypes import PTR, TXT

VERSION = b"2"
_LABEL_DIGITS = 32
_SOA = "3600 600 1209600 300"  # RFC 9432 §4.1 asks for no particular timers


class BrokenCatalog(ValueError):
    """The zone is no catalog that may be followed (RFC 9432 §5.1): the members stay as they were."""


class Member(Struct, frozen=True):
    """A member. label: its label in the catalog, text. groups: its group property, usually one or none.

    coo: the catalog that the member changes to, "" for none.
    """

    zone: str
    label: str
    groups: tuple[str, ...] = ()
    coo: str = ""


def member_label(zone: str) -> str:
    """Return the label of a member (RFC 9432 §4.1: unique in the catalog), always the same for a zone.

    A secondary resets the state of a zone whose label changes. Serials of a zone never decrease here, also when it was
    removed in between, so no reset is needed.
    """
    return sha256(zone.encode()).hexdigest()[:_LABEL_DIGITS]


def zone_file_name(catalog: str) -> str:
    """Return the file name for a catalog."""
    return f"{catalog.rstrip('.').replace('/', '%2F')}.zone"


def catalog_text(catalog: str, members: Mapping[str, str]) -> str:
    """Return the zone file of a catalog. members: zone name → group, "" for none."""
    lines = [
        f"$ORIGIN {catalog}",
        "$TTL 300",
        f"@ IN SOA invalid. invalid. 1 {_SOA}",
        "@ IN NS invalid.",
        f'version IN TXT "{VERSION.decode()}"',
    ]
    for zone, group in sorted(members.items()):
        label = member_label(zone)
        lines.append(f"{label}.zones IN PTR {zone}")
        if group:
            lines.append(f'group.{label}.zones IN TXT "{group}"')
    return "\n".join(lines) + "\n"


def read_catalog(rrsets: Iterable[RRset], members_max: int | None = None) -> dict[str, Member]:
    """Return the members in the content of a catalog, by zone name. Raise BrokenCatalog.

    Records that RFC 9432 does not define are ignored. With more than members_max members, reading ends at once.
    """
    version: list[bytes] | None = None
    zones: dict[bytes, str] = {}
    groups: dict[bytes, tuple[str, ...]] = {}
    changes: dict[bytes, str] = {}
    for rrset in rrsets:
        labels = key_labels(rrset.owner)
        if labels == [b"version"] and rrset.rtype == TXT:
            version = unpack(rrset.rdata)
        elif labels[:1] == [b"zones"] and len(labels) == 2 and rrset.rtype == PTR:
            zones[labels[1]] = _only(rrset, labels[1])
            if members_max is not None and len(zones) > members_max:
                raise BrokenCatalog(f"it has more than {members_max} members (consume.max_members)")
        elif labels[:1] == [b"zones"] and len(labels) == 3:
            if labels[2] == b"group" and rrset.rtype == TXT:
                groups[labels[1]] = tuple(map(_strings, unpack(rrset.rdata)))
            elif labels[2] == b"coo" and rrset.rtype == PTR:
                changes[labels[1]] = _only(rrset, labels[1])
    _check_version(version)
    members: dict[str, Member] = {}
    for label, zone in zones.items():
        text = label.decode("ascii", "backslashreplace")
        if zone in members:
            raise BrokenCatalog(f"{zone} is a member twice, as {members[zone].label} and {text}")
        members[zone] = Member(zone, text, groups.get(label, ()), changes.get(label, ""))
    return members


def _check_version(version: list[bytes] | None) -> None:
    if version is None:
        raise BrokenCatalog("it has no TXT record at the name version (RFC 9432 §4.2.1)")
    if len(version) != 1:
        raise BrokenCatalog("it has several TXT records at the name version")
    if version[0] != bytes([len(VERSION)]) + VERSION:
        shown = _strings(version[0])[:20]
        raise BrokenCatalog(f'its version is "{shown}", and dnssecd knows version 2 only (RFC 9432)')


def _only(rrset: RRset, label: bytes) -> str:
    names = unpack(rrset.rdata)
    if len(names) != 1:
        shown = label.decode("ascii", "backslashreplace")
        raise BrokenCatalog(f"the member {shown} has {len(names)} PTR records instead of one")
    return wire_to_text(names[0])


def _strings(rdata: bytes) -> str:
    """Return the strings of TXT RDATA as one text."""
    text, position = b"", 0
    while position < len(rdata):
        end = position + 1 + rdata[position]
        text += rdata[position + 1 : end]
        position = end
    return text.decode("ascii", "backslashreplace")
