"""The first configuration file, as ``dnssecd init`` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dnssecd.config.model import Address


@dataclass(frozen=True, slots=True)
class FirstZone:
    """A zone. name: with the final dot. file: as in the configuration, so it may be relative to it."""

    name: str
    file: str


@dataclass(frozen=True, slots=True)
class FirstSecondary:
    """A secondary with a TSIG key of its own. secret_file: where the secret is."""

    name: str
    address: Address
    secret_file: Path

    @property
    def tsig(self) -> str:
        """The name of the TSIG key."""
        return f"{self.name.lower()}-transfer."


@dataclass(frozen=True, slots=True)
class FirstConfig:
    """What the file has. state, control: None for the defaults. signer: None where the daemon starts its key service.

    keys: directory of the key store. passphrase: file with its passphrase, None: generated beside the keys.
    parent: addresses of the parent's servers; None: found by the resolver; empty: there is no parent.
    """

    listen: tuple[Address, ...]
    zones: tuple[FirstZone, ...]
    secondaries: tuple[FirstSecondary, ...]
    keys: Path
    state: Path | None = None
    control: Path | None = None
    signer: Path | None = None
    passphrase: Path | None = None
    parent: tuple[Address, ...] | None = None


def render_config(first: FirstConfig) -> str:
    """Return the configuration file as text."""
    return "\n".join(_lines(first)) + "\n"


def toml(value: object) -> str:
    """Return a text, or a list of texts, as a TOML value."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _lines(first: FirstConfig) -> Iterator[str]:
    yield "# dnssecd: written by `dnssecd init`. dnssecd.toml(5) and config.example.toml explain every key."
    yield "# After a change: `dnssecd check-config`, then `dnssecd config reload`."
    yield ""
    yield "[server]"
    yield f"listen = {toml(first.listen)}"
    if first.state is not None:
        yield f"state_dir = {toml(first.state)}"
    if first.control is not None:
        yield f"control_socket = {toml(first.control)}"
    if first.signer is not None:
        yield from ("", "# The key service, which runs as another user.", "[signer]")
        yield f"socket = {toml(first.signer)}"
    yield from ("", "[keystore.local]", 'type = "software"', f"directory = {toml(first.keys)}")
    if first.passphrase is not None:
        yield "# Back up the passphrase separately from the keys: /etc/credstore/dnssecd.passphrase"
        yield f"passphrase_file = {toml(first.passphrase)}"
    for one in first.secondaries:
        yield from ("", f"[tsig.{toml(one.tsig)}]", 'algorithm = "hmac-sha256"')
        yield f"secret_file = {toml(one.secret_file)}"
        yield from ("", f"[secondary.{toml(one.name)}]", f"address = {toml(one.address)}")
        yield f"tsig = {toml(one.tsig)}"
    yield from ("", "[policy.default]", 'keystore = "local"')
    for zone in first.zones:
        yield from ("", f"[zone.{toml(zone.name)}]", 'policy = "default"', f"file = {toml(zone.file)}")
        if first.secondaries:
            yield f"secondaries = {toml([one.name for one in first.secondaries])}"
        if first.parent is not None:
            servers = f"{{ servers = {toml(first.parent)} }}" if first.parent else '"none"'
            yield f"parent = {servers}"
