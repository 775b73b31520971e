"""``[zone.*]``: the source of a zone, who may get it, and its parent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal

from dnssecd.config.anchors import read_zone_anchors
from dnssecd.config.errors import Problems, did_you_mean
from dnssecd.config.grants import grants, update_limits
from dnssecd.config.hooks import command, read_output_file, read_published, read_review
from dnssecd.config.model import Acl, OtherSigner, ParentConfig, Peer, Policy, TsigKey, ZoneConfig
from dnssecd.config.peers import address_at, addresses, check_label, known_tsig, tsig_reference
from dnssecd.config.policies import reference
from dnssecd.config.reader import Section
from dnssecd.config.templates import Template, with_template
from dnssecd.config.values import Bad, is_below, parse_ds, parse_name, wire_length
from dnssecd.sharing import share

#: A hashed owner name adds a label of 32 octets and its length octet: 255 - 33 (RFC 5155 §3).
NSEC3_NAME_MAX = 222
_DEFAULT_QUERY = ("127.0.0.0/8", "::1")
_GROUP = re.compile(r"[A-Za-z0-9._-]{1,63}")
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)\s*%")


@dataclass(frozen=True, slots=True)
class Known:
    """The tables that a zone may refer to."""

    policies: Mapping[str, Policy]
    tsig: Mapping[str, TsigKey]
    secondaries: Mapping[str, Peer]
    primaries: Mapping[str, Peer]
    templates: Mapping[str, Template]


#: A name that no zone has: a template is checked with it before a zone is made of it.
_ANY_ZONE = "template.invalid."


def read_templates(root: Section) -> dict[str, Template]:
    """Return ``[zone-template.*]`` by name; :func:`zones` checks them."""
    found = {}
    for name, section in root.children("zone-template"):
        check_label(name, section)
        found[name] = Template(name, section.as_mapping(), section.path, section.problems, section.base)
        if section.has("template"):
            section.error("template", "a template cannot have a template", "write all its keys here")
    return found


def zones(root: Section, known: Known) -> dict[str, ZoneConfig]:
    """Return all zones by name."""
    for template in known.templates.values():
        _check_template(template, known)
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
        found[name] = read_zone(name, section, known)
    return found


def read_zone(name: str, table: Section, known: Known, problems: Problems | None = None) -> ZoneConfig:
    """Return the zone of a table, with the keys of its template; every fault is recorded.

    problems: where faults of the template are recorded; default: those of its file.
    """
    section = with_template(name, table, known.templates, problems)
    zone = _zone(name, section, known)
    section.finish()
    return zone


def _check_template(template: Template, known: Known) -> None:
    """Record the errors of a template, also of one that no zone uses. Warnings come with the zones."""
    problems = Problems(template.problems.file, "")
    written = template.section_for(_ANY_ZONE)
    given: dict[str, Any] = {}
    if written.raw("source") in (None, "file") and not written.has("file"):
        given["file"] = "any"
    probe = Section(given, template.path, problems, template.base).with_template(written)
    warned = len(template.problems.warnings)
    _zone(_ANY_ZONE, probe, known)
    probe.finish()
    del template.problems.warnings[warned:]


def _zone(name: str, section: Section, known: Known) -> ZoneConfig:
    policy = reference(section, "policy", known.policies, "default", "policy")
    _check_nsec3_length(section, name, known.policies.get(policy))
    source: Literal["file", "primaries", "dynamic"] = section.choice(
        "source", ("file", "primaries", "dynamic"), "file"
    )
    secondaries = references(section, "secondaries", known.secondaries, "secondary")
    parent = _parent(section, known)
    return ZoneConfig(
        name=name,
        policy=share(policy),
        source=source,
        file=_file(section, source),
        primaries=_primaries(section, source, known),
        allow_update=grants(section, name, source, known.tsig),
        update_limits=share(update_limits(section)),
        secondaries=share(secondaries),
        check_servers=share(_check_servers(section, secondaries, known)),
        allow_transfer=_acl(section, "allow_transfer", (), known),
        allow_query=_acl(section, "allow_query", _DEFAULT_QUERY, known),
        parent=parent,
        max_change=read_max_change(section),
        allow_missing_glue=section.flag("allow_missing_glue", False),
        max_transfer_mib=_max_transfer(section, source),
        soa_expire=_soa_expire(section, source),
        other_signers=tuple(_other_signers(section)),
        signalling=tuple(_signalling(section, name, source)),
        template=section.text("template"),
        catalog_group=_catalog_group(section),
        review=read_review(section, source),
        input_zonemd=_input_zonemd(section, source),
        input_anchor=tuple(_input_anchor(section, source)),
        signing=_signing(section, source),
        published=read_published(section),
        output_file=read_output_file(section),
        anchors=read_zone_anchors(section, name, known.policies.get(policy), parent),
    )


def _signalling(section: Section, zone: str, source: str) -> Iterator[str]:
    """Return the name servers in the zone for which signalling names (RFC 9615) are kept."""
    written = section.texts("signalling")
    if written and source == "primaries":
        section.error(
            "signalling",
            "the zone comes from its primaries, so dnssecd cannot add names to it",
            "configure it where the primaries get the zone",
        )
        return
    for text in written:
        try:
            name = parse_name(text, absolute=True)
        except Bad as bad:
            section.error("signalling", bad.what, bad.remedy)
            continue
        if is_below(name, zone):
            yield name
        else:
            section.error(
                "signalling", f"{name} is not in {zone}", "list names of name servers that lie in this zone"
            )


def _other_signers(section: Section) -> Iterator[OtherSigner]:
    """Read ``[zone.X.other_signers.NAME]``."""
    table = section.table("other_signers")
    for name, signer in table.children_here() if table is not None else ():
        check_label(name, signer)
        servers = addresses(signer, "servers")
        if not servers:
            signer.error("servers", "no server of the signer is given", 'write servers = ["192.0.2.1:53"]')
        names = []
        for written in signer.texts("ns"):
            try:
                names.append(parse_name(written))
            except Bad as bad:
                signer.error("ns", bad.what, bad.remedy)
        signer.finish()
        yield OtherSigner(name, servers, tuple(names))


def _check_nsec3_length(section: Section, name: str, policy: Policy | None) -> None:
    if policy is None or policy.denial != "nsec3":
        return
    length = wire_length(name)
    if length > NSEC3_NAME_MAX:
        section.error(
            "",
            f"the zone name has {length} bytes in wire format; NSEC3 owner names allow at most "
            f"{NSEC3_NAME_MAX} (RFC 5155 §3)",
            'use a policy with denial = "nsec"',
        )


def _file(section: Section, source: str) -> str | None:
    path = section.optional_path("file")
    if source == "file" and path is None:
        section.error("", "a zone from a file has no file", 'write file = "zones/NAME.zone"')
    if source == "primaries" and path is not None:
        section.error(
            "file", "a zone from primaries cannot have a file", 'remove file, or write source = "file"'
        )
    if source == "file" and path is not None and not _is_file(path):
        section.warn("file", f"{path} does not exist (yet)", "create the zone file; the zone waits for it")
    return None if path is None else str(path)


def _is_file(path: Path) -> bool:
    """Return whether it is a file; a name that no file can have is none (a zone's name may be too long for one)."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _primaries(section: Section, source: str, known: Known) -> tuple[str, ...]:
    names = references(section, "primaries", known.primaries, "primary")
    if source == "primaries" and not names:
        section.error("", "primaries is missing or empty", 'write primaries = ["NAME"] and [primary.NAME]')
    if source != "primaries" and section.has("primaries"):
        section.error("primaries", f'source is "{source}"', 'write source = "primaries", or remove primaries')
    return names


def _input_zonemd(section: Section, source: str) -> Literal["check", "require", "ignore"]:
    chosen: Literal["check", "require", "ignore"] = section.choice(
        "input_zonemd", ("check", "require", "ignore"), "check"
    )
    if source == "dynamic" and chosen == "require":
        section.error("input_zonemd", 'source is "dynamic"', "remove it: updates have no digest of the zone")
    return chosen


def _input_anchor(section: Section, source: str) -> Iterator[bytes]:
    """Return the DS RDATAs of ``input_anchor``."""
    if source == "dynamic" and section.has("input_anchor"):
        section.error("input_anchor", 'source is "dynamic"', "remove it: updates are not signed by DNSSEC")
    for written in section.texts("input_anchor"):
        try:
            yield parse_ds(written)
        except Bad as bad:
            section.error("input_anchor", bad.what, bad.remedy)


def _signing(section: Section, source: str) -> Literal["sign", "verify-only"]:
    chosen: Literal["sign", "verify-only"] = section.choice("signing", ("sign", "verify-only"), "sign")
    if chosen == "sign":
        return chosen
    for key in ("allow_update", "signalling", "other_signers"):
        if section.has(key):
            what = "the zone comes signed and is served as it is"
            section.error(key, what, f'remove {key}, or write signing = "sign"')
    if source == "dynamic":
        section.error("signing", 'source is "dynamic"', "a zone made by updates has no signer but dnssecd")
    return chosen


def _catalog_group(section: Section) -> str:
    group = section.text("catalog_group")
    if group and not _GROUP.fullmatch(group):
        section.error(
            "catalog_group",
            f'"{group}" has characters that a group cannot have',
            "use letters, digits, . _ -",
        )
        return ""
    return group


def _max_transfer(section: Section, source: str) -> int | None:
    if not section.has("max_transfer_mib"):
        return None
    if source != "primaries":
        section.error("max_transfer_mib", f'source is "{source}"', "remove it: it limits incoming transfers")
    return section.integer("max_transfer_mib", 4096, 1, 1 << 20)


def _soa_expire(section: Section, source: str) -> Literal["serve", "follow"]:
    chosen: Literal["serve", "follow"] = section.choice("soa_expire", ("serve", "follow"), "serve")
    if source != "primaries" and chosen != "serve":
        section.error(
            "soa_expire", f'source is "{source}"', "remove soa_expire: only zones from primaries expire"
        )
    return chosen


def references(section: Section, key: str, known: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    """Return the names in the list at *key* that are in *known*; the others are errors."""
    names = section.texts(key)
    for index, name in enumerate(names):
        if name not in known:
            section.origin_of(key).problems.error(
                section.at(key, index),
                f'there is no {kind} "{name}"',
                f"add [{kind}.{name}]; {did_you_mean(name, known)}",
            )
    return tuple(name for name in names if name in known)


def _check_servers(section: Section, secondaries: tuple[str, ...], known: Known) -> tuple[Peer, ...]:
    """Return the addresses or names of secondaries; the secondaries of the zone if none are given."""
    written = section.texts("check_servers")
    if not written:
        written = tuple(name for name in secondaries if known.secondaries[name].query)
        if secondaries and not written:
            section.error(
                "secondaries",
                "none of them may be queried (query = false), so dnssecd cannot see what is served",
                "add public servers of the zone to check_servers",
            )
    found = []
    for text in written:
        if text in known.secondaries:
            if not known.secondaries[text].query:
                section.error(
                    "check_servers",
                    f"[secondary.{text}] has query = false",
                    "give servers that answer queries",
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
    return _shared_acl(frozenset(keys), tuple(networks))


def _looks_like_network(text: str) -> bool:
    return "/" in text or ":" in text or re.fullmatch(r"[\d.]*\d", text) is not None


#: Most zones have the same lists: one object for all that are equal.
_shared_acl = lru_cache(1024)(Acl)
#: Cached: most zones have the same few networks.
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
    section.error(key, f'"{text}" is not a network', meant)
    return None


def _parent(section: Section, known: Known) -> ParentConfig:
    value = section.raw("parent")
    if isinstance(value, str):
        if value != "none":
            section.error("parent", f'"{value}" is not allowed', 'write "none" or { servers = ["…"] }')
        return share(ParentConfig(none=True))
    table = section.table("parent")
    if table is None:
        return share(ParentConfig())
    parent = ParentConfig(
        servers=addresses(table, "servers"), push=_push(table, known), hook=command(table, "hook")
    )
    table.finish()
    return parent


def _push(table: Section, known: Known) -> Peer | None:
    """Return the server for ``push``: a ``[primary.*]`` (address and TSIG key), or an address with ``push_tsig``."""
    text = table.text("push")
    tsig = tsig_reference(table, "push_tsig", known.tsig)
    if text in known.primaries:
        if tsig:
            table.error("push_tsig", f"[primary.{text}] has the TSIG key to use", "remove push_tsig")
        return known.primaries[text]
    if not text:
        return None
    return Peer("parent", address_at(table, "push", text), tsig)


def read_max_change(section: Section) -> float:
    """Return the share at ``max_change``: 0.3 for "30%"."""
    text = section.text("max_change", "30%")
    match = _PERCENT.fullmatch(text.strip())
    if match is None or float(match[1]) > 100:
        section.error(
            "max_change", f'"{text}" is not a percentage', 'write a percentage, as in "30%"; "100%" is off'
        )
        return 0.3
    return float(match[1]) / 100
