"""What another signer's configuration says, in the words of dnssecd's; and what has no counterpart here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path

from dnssecd.core.dns.names import BadName, full_name, text_to_wire

FILE_OCTETS_MAX = 64 << 20
FILES_MAX = 10_000
DEPTH_MAX = 20
ZONES_MAX = 1_000_000

#: Returns the text of a file; raises BadConfig.
Read = Callable[[Path], str]
_LABEL = re.compile(r"[^A-Za-z0-9_-]+")


class BadConfig(Exception):
    """A configuration cannot be read; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something that was not taken over as it is. where: file and line."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Key:
    """A TSIG key; the secret in base64."""

    algorithm: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Server:
    """A secondary or primary. address: with port; tsig: the name of its key, "" for none."""

    address: str
    tsig: str = ""


@dataclass(slots=True)
class Rules:
    """A policy. roles: role → keys of its table; settings: other keys of ``[policy.*]`` as TOML values."""

    roles: dict[str, dict[str, object]] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Zone:
    """A zone. secondaries, primaries: names of servers; clients: TSIG names or networks that may transfer.

    updaters: TSIG names that may update all of it.
    """

    policy: str = "default"
    file: str = ""
    secondaries: list[str] = field(default_factory=list)
    primaries: list[str] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    updaters: list[str] = field(default_factory=list)
    max_change: str = ""

    @property
    def source(self) -> str:
        """Where its content comes from."""
        if self.primaries:
            return "primaries"
        return "dynamic" if self.updaters or not self.file else "file"


@dataclass(slots=True)
class Fleet:
    """All that was found. Names as written to the configuration."""

    keys: dict[str, Key] = field(default_factory=dict)
    secondaries: dict[str, Server] = field(default_factory=dict)
    primaries: dict[str, Server] = field(default_factory=dict)
    policies: dict[str, Rules] = field(default_factory=dict)
    zones: dict[str, Zone] = field(default_factory=dict)
    keystores: dict[str, dict[str, object]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def note(self, where: str, what: str) -> None:
        """Add a note, once."""
        note = Note(where, what)
        if note not in self.notes:
            self.notes.append(note)

    def add_zone(self, name: str, zone: Zone, where: str) -> None:
        """Add a zone. Raise BadConfig for a name that is none, or that is there already."""
        wanted = zone_name(name, where)
        if wanted in self.zones:
            raise BadConfig(f"{where}: the zone {wanted} is there twice")
        if len(self.zones) >= ZONES_MAX:
            raise BadConfig(f"{where}: there are more than {ZONES_MAX} zones")
        self.zones[wanted] = zone

    def server_name(self, kind: dict[str, Server], wanted: str, server: Server) -> str:
        """Return the name of a server in *kind*, which is added if it is new."""
        for name, known in kind.items():
            if known == server:
                return name
        base = label(wanted)
        name, number = base, 2
        while name in kind:
            name, number = f"{base}-{number}", number + 1
        kind[name] = server
        return name


def zone_name(text: str, where: str) -> str:
    """Return a zone's name in lower case with its final dot. Raise BadConfig."""
    try:
        text_to_wire(full_name(text))
    except (BadName, ValueError):
        raise BadConfig(f"{where}: {text[:80]!r} is not the name of a zone") from None
    return full_name(text)


def label(text: str) -> str:
    """Return a text as the name of a table."""
    return _LABEL.sub("-", text).strip("-") or "unnamed"


def address(text: str, port: str, where: str) -> str:
    """Return an address with its port as dnssecd writes it. Raise BadConfig."""
    try:
        host = ip_address(text.partition("%")[0])
    except ValueError:
        raise BadConfig(f"{where}: {text[:80]!r} is not an IP address") from None
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65_536):
        raise BadConfig(f"{where}: {port[:20]!r} is not a port")
    return f"[{host}]:{int(port)}" if host.version == 6 else f"{host}:{int(port)}"


def network(text: str, where: str) -> str:
    """Return a network, or an address as one. Raise BadConfig."""
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise BadConfig(f"{where}: {text[:80]!r} is not a network") from None
