"""What a node publishes of its configuration, and what differs between two nodes: named, section by section.

Secrets are left out: of commands and URLs, which may contain passwords, there is a digest. What belongs to the host
is left out as well: ``[server]``, ``[metrics]``, ``[log]``, ``[signer]``, ``[roles]``, the name of the node, where its
key files are, and which tokens it has for itself (``sharing = "own"``). Paths below the directory of the configuration
file are compared relative to it.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import lru_cache
from hashlib import scrypt, sha256
from pathlib import Path
from typing import Any

from dnssecd.config.diff import field_names
from dnssecd.config.errors import where_text
from dnssecd.config.model import Config, Pkcs11Keystore, Secret, SoftwareKeystore

#: Section, as in the file → key → value as text.
Settings = Mapping[str, Mapping[str, str]]
_TABLES = {
    "keystores": "keystore",
    "tsig": "tsig",
    "secondaries": "secondary",
    "primaries": "primary",
    "policies": "policy",
    "zones": "zone",
}
_OCTETS_MAX = 64 << 20
#: Where the host keeps its keys.
_OF_HOST = frozenset(
    {
        (SoftwareKeystore, "directory"),
        (SoftwareKeystore, "passphrase_file"),
        (Pkcs11Keystore, "passphrase_file"),
    }
)
#: Settings with commands or URLs, as (hook, published): where they differ, the text stays on its node.
_COMMANDS = frozenset({"hook", "command", "published"})
#: Differences that one message names.
_NAMED_MAX = 5


def settings_of(config: Config) -> dict[str, dict[str, str]]:
    """Return the settings that all nodes must share."""
    base = config.path.absolute().parent
    found: dict[str, dict[str, str]] = {}
    for field, table in _TABLES.items():
        for name, section in getattr(config, field).items():
            found[where_text((table, name))] = _section(section, base)
    if config.cluster is not None:
        for name, node in config.cluster.nodes.items():
            found[where_text(("cluster", "nodes", name))] = _section(node, base)
        found["cluster"] = {"take_over_after": str(config.cluster.take_over_after)}
    if config.anchors.directory is not None:  # the directory belongs to the host, its URL does not
        found["anchors"] = {"url": _field("url", config.anchors.url, base)}
    return found


def _section(section: Any, base: Path) -> dict[str, str]:
    if isinstance(section, Pkcs11Keystore) and section.sharing == "own":
        return {"type": "pkcs11", "sharing": "own"}  # the tokens of two nodes may be of different vendors
    return {
        field.name: _field(field.name, getattr(section, field.name), base)
        for field in fields(section)
        if field.compare
        and field.name != "name"
        and not isinstance(getattr(section, field.name), Secret)
        and (type(section), field.name) not in _OF_HOST
    }


def _field(name: str, value: Any, base: Path) -> str:
    text = _shown(value, base)
    return _hidden(text) if value and (name in _COMMANDS or "://" in text) else text


@lru_cache(maxsize=4096)
def _hidden(text: str) -> str:
    """Return a mark of a text that may contain a password: equal for equal texts, and slow to guess from."""
    mark = scrypt(text.encode(), salt=b"dnssecd settings", n=1 << 12, r=8, p=1, dklen=9)
    return f"(not shown, mark {b64encode(mark).decode()})"


def _shown(value: object, base: Path) -> str:
    if isinstance(value, Secret):
        return ""
    if isinstance(value, Path):
        return str(value.relative_to(base)) if value.is_relative_to(base) else str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_shown(item, base)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple | frozenset):
        items = [_shown(item, base) for item in value]
        return "[" + ", ".join(sorted(items) if isinstance(value, frozenset) else items) + "]"
    if (names := field_names(value)) and type(value).__str__ is object.__str__:
        inner = (f"{name} = {_field(name, getattr(value, name), base)}" for name in names)
        return "{" + ", ".join(inner) + "}"
    return str(value)


def encode(settings: Settings) -> bytes:
    """Return settings for the database."""
    return zlib.compress(json.dumps(settings, sort_keys=True, ensure_ascii=False).encode(), 6)


def digest(settings: Settings) -> bytes:
    """Return what two nodes compare first."""
    return sha256(json.dumps(settings, sort_keys=True, ensure_ascii=False).encode()).digest()


def decode(octets: bytes) -> dict[str, dict[str, str]]:
    """Return the settings of another node. Raise ValueError if they are damaged."""
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(octets, _OCTETS_MAX)
        found = json.loads(text)
    except (zlib.error, ValueError, RecursionError) as error:
        raise ValueError(f"the settings of the node are damaged: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("the settings of the node are damaged")
    return {
        str(name): {str(key): str(value) for key, value in section.items()}
        for name, section in found.items()
        if isinstance(section, dict)
    }


def differences(ours: Settings, theirs: Settings, there: str) -> Iterator[tuple[str, str]]:
    """Yield (section, what differs), for people; *there*: the name of the other node."""
    for section in sorted({*ours, *theirs}):
        mine, other = ours.get(section), theirs.get(section)
        if mine is None:
            yield section, f"only node {there} has [{section}]"
        elif other is None:
            yield section, f"node {there} has no [{section}]"
        else:
            for key in sorted({*mine, *other}):
                here, away = mine.get(key, ""), other.get(key, "")
                if here != away:
                    yield section, f"[{section}] {key}: {_brief(here)} here, {_brief(away)} on node {there}"


def _brief(value: str) -> str:
    text = value or "nothing"
    return text if len(text) <= 80 else f"{text[:77]}…"


def sections_of_zone(config: Config, zone: str) -> frozenset[str]:
    """Return the sections that decide what a zone is: a difference in one of them concerns it."""
    found = config.zones[zone]
    policy = config.policies[found.policy]
    names = [("zone", zone), ("policy", found.policy)]
    names += [("keystore", store) for store in policy.keystores]
    names += [("secondary", name) for name in found.secondaries]
    names += [("primary", name) for name in found.primaries]
    return frozenset(where_text(name) for name in names)


def brief(found: list[str]) -> str:
    """Return several differences as one text."""
    more = len(found) - _NAMED_MAX
    return "; ".join(found[:_NAMED_MAX]) + (f"; and {more} more" if more > 0 else "")
