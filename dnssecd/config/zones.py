"""``[zone.*]``: where a zone comes from, who may have it, who its parent is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal

from dnssecd.config.errors import did_you_mean
from dnssecd.config.grants import grants, update_limits
from dnssecd.config.model import Acl, ParentConfig, Peer, Policy, TsigKey, ZoneConfig
from dnssecd.config.peers import address_at, addresses, known_tsig, tsig_reference
from dnssecd.config.policies import reference
from dnssecd.config.reader import Section
from dnssecd.config.values import Bad, parse_name, wire_length

#: A hashed owner name adds a label of 32 octets and its length octet: 255 - 33 (RFC 5155 §3).
NSEC3_NAME_MAX = 222
_DEFAULT_QUERY = ("127.0.0.0/8", "::1")
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)\s*%")


@dataclass(frozen=True, slots=True)
class Known:
    """What a zone may refer to."""

    policies: dict[str, Policy]
    tsig: dict[str, TsigKey]
    secondaries: dict[str, Peer]
    primaries: dict[str, Peer]


def zones(root: Section, known: Known) -> dict[str, ZoneConfig]:
    found: dict[str, ZoneConfig] = {}
    for written, section in root.children("zone"):
        try:
            name = parse_name(written)
        except Bad as bad:
            section.error("", bad.what, bad.remedy)
            name = "."
        else:
            if name in found:
                section.error("", f"the zone {name} is configured twice", "remove one of the two")
        found[name] = _zone(name, section, known)
        section.finish()
    return found


def _zone(name: str, section: Section, known: Known) -> ZoneConfig:
    policy = reference(section, "policy", known.policies, "default", "policy")
    _check_nsec3_length(section, name, known.policies.get(policy))
    source: Literal["file", "primaries", "dynamic"] = section.choice(
        "source", ("file", "primaries", "dynamic"), "file"
    )
    secondaries = _references(section, "secondaries", known.secondaries, "secondary")
    return ZoneConfig(
        name=name,
        policy=policy,
        source=source,
        file=_file(section, source),
        primaries=_primaries(section, source, known),
        allow_update=grants(section, name, source, known.tsig),
        update_limits=update_limits(section),
        secondaries=secondaries,
        check_servers=_check_servers(section, secondaries, known),
        allow_transfer=_acl(section, "allow_transfer", (), known),
        allow_query=_acl(section, "allow_query", _DEFAULT_QUERY, known),
        parent=_parent(section, known),
        max_change=_max_change(section),
        allow_missing_glue=section.flag("allow_missing_glue", False),
        max_transfer_mib=_max_transfer(section, source),
        soa_expire=_soa_expire(section, source),
    )


def _check_nsec3_length(section: Section, name: str, policy: Policy | None) -> None:
    if policy is None or policy.denial != "nsec3":
        return
    length = wire_length(name)
    if length > NSEC3_NAME_MAX:
        section.error(
            "",
            f"the zone name has {length} octets on the wire; NSEC3 owner names leave room for "
            f"{NSEC3_NAME_MAX} (RFC 5155 §3)",
            'use a policy with denial = "nsec"',
        )


def _file(section: Section, source: str) -> Path | None:
    path = section.optional_path("file")
    if source == "file" and path is None:
        section.error("", "a zone from a file has no file", 'write file = "zones/NAME.zone"')
    if source == "primaries" and path is not None:
        section.error("file", "a zone from primaries has no file", 'remove file, or write source = "file"')
    if source == "file" and path is not None and not path.is_file():
        section.warn("file", f"{path} is not there (yet)", "put the zone file there; the zone waits for it")
    return path


def _primaries(section: Section, source: str, known: Known) -> tuple[str, ...]:
    names = _references(section, "primaries", known.primaries, "primary")
    if source == "primaries" and not names:
        section.error("", "no primaries are named", 'write primaries = ["NAME"] and [primary.NAME]')
    if source != "primaries" and section.has("primaries"):
        section.error("primaries", f'source is "{source}"', 'write source = "primaries", or remove primaries')
    return names


def _max_transfer(section: Section, source: str) -> int | None:
    if not section.has("max_transfer_mib"):
        return None
    if source != "primaries":
        section.error("max_transfer_mib", f'source is "{source}"', "remove it: it bounds transfers in")
    return section.integer("max_transfer_mib", 4096, 1, 1 << 20)


def _soa_expire(section: Section, source: str) -> Literal["serve", "follow"]:
    chosen: Literal["serve", "follow"] = section.choice("soa_expire", ("serve", "follow"), "serve")
    if source != "primaries" and chosen != "serve":
        section.error(
            "soa_expire", f'source is "{source}"', "remove soa_expire: only what comes from primaries expires"
        )
    return chosen


def _references(section: Section, key: str, known: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    names = section.texts(key)
    for index, name in enumerate(names):
        if name not in known:
            section.problems.error(
                section.at(key, index),
                f'there is no {kind} "{name}"',
                f"add [{kind}.{name}]; {did_you_mean(name, known)}",
            )
    return tuple(name for name in names if name in known)


def _check_servers(section: Section, secondaries: tuple[str, ...], known: Known) -> tuple[Peer, ...]:
    """Addresses or names of secondaries; the zone's secondaries where none are written."""
    written = section.texts("check_servers")
    if not written:
        written = tuple(name for name in secondaries if known.secondaries[name].query)
        if secondaries and not written:
            section.error(
                "secondaries",
                "none of them may be queried (query = false), so nobody can tell what is served",
                "name public servers of the zone in check_servers",
            )
    found = []
    for text in written:
        if text in known.secondaries:
            if not known.secondaries[text].query:
                section.error(
                    "check_servers",
                    f"[secondary.{text}] has query = false",
                    "name servers that answer queries",
                )
            found.append(known.secondaries[text])
        else:
            found.append(Peer(text, address_at(section, "check_servers", text)))
    return tuple(found)


def _acl(section: Section, key: str, default: tuple[str, ...], known: Known) -> Acl:
    keys: set[str] = set()
    networks: list[IPv4Network | IPv6Network] = []
    for text in section.texts(key, default):
        if _looks_like_network(text):
            network = _network(section, key, text)
            if network is not None:
                networks.append(network)
        elif name := known_tsig(section, key, text, known.tsig):
            keys.add(name)
    return Acl(frozenset(keys), tuple(networks))


def _looks_like_network(text: str) -> bool:
    return "/" in text or ":" in text or re.fullmatch(r"[\d.]*\d", text) is not None


#: The same few networks are written, or are the default, in every zone.
_ip_network = lru_cache(1024)(ip_network)


def _network(section: Section, key: str, text: str) -> IPv4Network | IPv6Network | None:
    try:
        return _ip_network(text)
    except ValueError:
        pass
    try:
        meant = f'did you mean "{ip_network(text, strict=False)}"?'
    except ValueError:
        meant = 'write "192.0.2.0/24", "2001:db8::/32" or the name of a TSIG key'
    section.error(key, f'"{text}" is no network', meant)
    return None


def _parent(section: Section, known: Known) -> ParentConfig:
    value = section.raw("parent")
    if isinstance(value, str):
        if value != "none":
            section.error("parent", f'"{value}" is not a choice', 'write "none" or { servers = ["…"] }')
        return ParentConfig(none=True)
    table = section.table("parent")
    if table is None:
        return ParentConfig()
    parent = ParentConfig(
        servers=addresses(table, "servers"), push=_push(table, known), hook=command(table, "hook")
    )
    table.finish()
    return parent


def _push(table: Section, known: Known) -> Peer | None:
    """The name of a ``[primary.*]`` (address and TSIG key), or an address with ``push_tsig``."""
    text = table.text("push")
    tsig = tsig_reference(table, "push_tsig", known.tsig)
    if text in known.primaries:
        if tsig:
            table.error("push_tsig", f"[primary.{text}] says which key to use", "remove push_tsig")
        return known.primaries[text]
    if not text:
        return None
    return Peer("parent", address_at(table, "push", text), tsig)


def command(section: Section, key: str) -> tuple[str, ...]:
    """A command as text (split like a shell would, never run by one) or as a list. Empty: none."""
    value = section.raw(key)
    if isinstance(value, list):
        parts = list(section.texts(key))
    else:
        try:
            parts = shlex.split(section.text(key))
        except ValueError as error:
            section.error(key, f"the command cannot be read ({error})", "close the quotes, or write a list")
            return ()
    if section.has(key) and not parts:
        section.error(key, "the command is empty", f'write {key} = "/path/to/program"')
    elif parts:
        parts[0] = str(section.base / parts[0]) if "/" in parts[0] else parts[0]
    return tuple(parts)


def _max_change(section: Section) -> float:
    text = section.text("max_change", "30%")
    match = _PERCENT.fullmatch(text.strip())
    if match is None or float(match[1]) > 100:
        section.error("max_change", f'"{text}" is no share', 'write a percentage, as in "30%"; "100%" is off')
        return 0.3
    return float(match[1]) / 100
