"""`dnssecd init`: from an installed program to a configuration that starts."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dnssecd.cli.common import USAGE, Bad, Cli, command
from dnssecd.cli.output import say, say_lines

if TYPE_CHECKING:
    from dnssecd.cli.init_host import Host, Owner
    from dnssecd.config.first_config import FirstConfig, FirstSecondary
    from dnssecd.config.model import Address, Config

_LISTEN = ("127.0.0.1:5300", "[::1]:5300")
#: A path of the control socket in a directory of the user's choice has this many octets at most (unix(7): 107).
_DIRECTORY_MAX = 90


def register(app: typer.Typer) -> None:
    """Add the command of this module to *app*."""
    command(app, "init")(init)


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything belongs. own: a directory of the calling user, without users and services of the system."""

    config: Path
    state: Path
    control: Path
    keys: Path
    own: bool
    signer_state: Path = field(default=Path("/var/lib/dnssecd-signer"))
    signer_socket: Path = field(default=Path("/run/dnssecd-signer/signer.sock"))
    passphrase: Path = field(default=Path("/etc/credstore/dnssecd.passphrase"))

    @property
    def home(self) -> Path:
        """The directory of the configuration."""
        return self.config.parent


@dataclass(frozen=True, slots=True)
class ZoneGiven:
    """A zone as given. source: the file with its content, None: not given. target: the file that is watched."""

    name: str
    source: Path | None
    target: Path


def init(
    cli: Cli,
    zone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE", help="A zone and its zone file (repeatable). FILE may follow later."
        ),
    ] = None,
    listen: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Address of this host for your secondaries (repeatable)."),
    ] = None,
    secondary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=ADDRESS[,SERVER]",
            help="A secondary (repeatable). SERVER: bind, knot, nsd or powerdns; without it all four are shown.",
        ),
    ] = None,
    parent: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS[,ADDRESS]|none",
            help="Servers of the parent zone; default: found by the resolver.",
        ),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Put everything below DIR, as yourself: for a trial without root."),
    ] = None,
) -> None:
    """Write the first configuration, users, directories and TSIG secrets. Print what secondaries need.

    Nothing is overwritten. A second run with the same options creates only what is missing. The output has the TSIG
    secrets; `dnssecd config secondary` prints them again.
    """
    from dnssecd.cli import init_host
    from dnssecd.config.first_config import render_config
    from dnssecd.config.load import parse

    places = _own_places(directory) if directory is not None else _system_places(cli)
    zones = [_zone(text, places) for text in zone or []]
    if not zones:
        raise Bad("no zone is given", "write --zone example.com=example.com.zone", USAGE)
    addresses = _addresses("--listen", listen or _LISTEN)
    secondaries, kinds = _secondaries(secondary or [], places)
    _check_reachable(addresses, secondaries)
    services = not places.own and (init_host.find_unit() is not None or init_host.has_systemd())
    if services and init_host.find_unit() is None:
        init_host.unit_source()
        init_host.command_path()
    first = _first(places, addresses, zones, secondaries, _parent(parent), services=services)
    text = render_config(first)
    config = parse(text, places.config, read_secrets=False)  # raises ConfigErrors before anything is made
    _check_sides(config, secondaries)
    _refuse_others(places, text, zones)

    steps: list[tuple[str, str]] = []
    host = init_host.Host(lambda what, path: steps.append((what, path)))
    try:
        _make(host, places, text, zones, secondaries, services=services)
    except Bad:
        _print_steps(steps)
        raise
    begin = _how_to_start(places, services=services)
    blocks = {one.name: _blocks(places, one, kinds[one.name]) for one in secondaries}
    result = {
        "steps": [{"what": what, "path": path} for what, path in steps],
        "start": begin,
        "secondaries": blocks,
    }
    options = f" --config {shlex.quote(str(places.config))}" if places.own else ""
    cli.show(result, lambda: _print(steps, zones, begin, blocks, f"dnssecd status{options}"))


def _system_places(cli: Cli) -> Places:
    if os.geteuid() != 0:
        raise Bad(
            "only root can create users and write to /etc",
            "run it as root, or try dnssecd as yourself with --directory ~/dnssecd",
        )
    return Places(
        config=cli.config_path.absolute(),
        state=Path("/var/lib/dnssecd"),
        control=Path("/run/dnssecd/control.sock"),
        keys=Path("/var/lib/dnssecd-signer/keys"),
        own=False,
    )


def _own_places(directory: Path) -> Places:
    home = directory.expanduser().absolute()
    if len(os.fsencode(home)) > _DIRECTORY_MAX:
        raise Bad(
            f"{home} is too long: a control socket in it could not be opened",
            f"choose a path of at most {_DIRECTORY_MAX} bytes",
            USAGE,
        )
    return Places(
        config=home / "config.toml",
        state=home / "state",
        control=home / "control.sock",
        keys=home / "state/keys",
        own=True,
    )


def _zone(text: str, places: Places) -> ZoneGiven:
    from dnssecd.config.secondary_text import file_name
    from dnssecd.config.values import Bad as BadValue
    from dnssecd.config.values import parse_name

    name, equals, file = text.partition("=")
    try:
        zone = parse_name(name)
    except BadValue as bad:
        raise Bad(f"--zone {text}: {bad.what}", bad.remedy, USAGE) from None
    source = Path(file).expanduser().absolute() if equals else None
    if source is not None and not source.is_file():
        raise Bad(f"--zone {text}: the zone file {source} does not exist", "give the path of the zone file")
    target = places.home / "zones" / f"{file_name(zone)}.zone"
    if source is not None and (places.own or source.is_relative_to(places.home)):
        target = source  # used where it is
    return ZoneGiven(zone, source, target)


def _addresses(option: str, texts: Sequence[str]) -> tuple[Address, ...]:
    from dnssecd.config.values import Bad as BadValue
    from dnssecd.config.values import parse_address

    try:
        return tuple(parse_address(text) for text in texts)
    except BadValue as bad:
        raise Bad(f"{option}: {bad.what}", bad.remedy, USAGE) from None


def _secondaries(
    texts: Sequence[str], places: Places
) -> tuple[tuple[FirstSecondary, ...], dict[str, tuple[str, ...]]]:
    """Return the secondaries, and the kinds of server to show for each by name."""
    from dnssecd.config.first_config import FirstSecondary
    from dnssecd.config.secondary_text import SERVERS

    found, kinds = [], {}
    for text in texts:
        name, equals, rest = text.partition("=")
        where, comma, kind = rest.partition(",")
        if not name or not equals:
            raise Bad(f'--secondary "{text}" has no name or no address', "write ns1=192.0.2.53,bind", USAGE)
        if comma and kind not in SERVERS:
            raise Bad(
                f'--secondary {text}: "{kind}" is not known', f"choose one of {', '.join(SERVERS)}", USAGE
            )
        (address,) = _addresses("--secondary", [where])
        found.append(FirstSecondary(name, address, places.home / "tsig" / f"{name}.secret"))
        kinds[name] = (kind,) if comma else tuple(SERVERS)
    return tuple(found), kinds


def _check_reachable(listen: Sequence[Address], secondaries: Sequence[FirstSecondary]) -> None:
    """Refuse a listener on loopback for a secondary elsewhere: it could not transfer."""
    from ipaddress import ip_address

    if all(ip_address(one.host).is_loopback for one in listen):
        for one in secondaries:
            if not ip_address(one.address.host).is_loopback:
                raise Bad(
                    f"secondary {one.name} ({one.address}) cannot reach dnssecd, which listens on loopback only",
                    "give an address of this host: --listen 192.0.2.1",
                    USAGE,
                )


def _check_sides(config: Config, secondaries: Sequence[FirstSecondary]) -> None:
    """Raise Bad for a secondary that no address listened on could be given to."""
    from dnssecd.cli.secondary_side import find_side

    for one in secondaries:
        try:
            find_side(config, one.name, None)
        except Bad as bad:
            raise Bad(
                bad.what, "give --listen an address of this host that the secondary can reach", USAGE
            ) from None


def _parent(text: str | None) -> tuple[Address, ...] | None:
    if text is None:
        return None
    return () if text == "none" else _addresses("--parent", text.split(","))


def _first(
    places: Places,
    listen: tuple[Address, ...],
    zones: Sequence[ZoneGiven],
    secondaries: tuple[FirstSecondary, ...],
    parent: tuple[Address, ...] | None,
    *,
    services: bool,
) -> FirstConfig:
    from dnssecd.config.first_config import FirstConfig, FirstZone

    def written(path: Path) -> str:
        inside = path.is_relative_to(places.home)
        return str(path.relative_to(places.home) if inside else path)

    return FirstConfig(
        listen=listen,
        zones=tuple(FirstZone(zone.name, written(zone.target)) for zone in zones),
        secondaries=secondaries,
        keys=places.keys,
        state=places.state if places.own else None,
        control=places.control if places.own else None,
        signer=None if places.own else places.signer_socket,
        passphrase=Path("/run/credentials/dnssecd-signer.service/passphrase") if services else None,
        parent=parent,
    )


def _refuse_others(places: Places, text: str, zones: Sequence[ZoneGiven]) -> None:
    """Raise Bad, before anything is made, when a file exists with another content."""
    from dnssecd.cli.init_host import refuse_other

    refuse_other(places.config, text.encode())
    for zone in zones:
        if zone.source is not None and zone.source != zone.target:
            refuse_other(zone.target, zone.source.read_bytes())


def _make(
    host: Host,
    places: Places,
    text: str,
    zones: Sequence[ZoneGiven],
    secondaries: Sequence[FirstSecondary],
    *,
    services: bool,
) -> None:
    from dnssecd.cli.init_host import Owner, current_owner

    me = current_owner()
    daemon = me
    if places.own:
        host.directory(places.home, 0o700, me)
        host.directory(places.state, 0o700, me)
    else:
        daemon = _make_system(host, places, services=services)
    host.directory(places.home / "zones", 0o755, me)
    if secondaries:
        host.directory(places.home / "tsig", 0o755, me)
    for one in secondaries:
        host.secret(one.secret_file, daemon)
    for zone in zones:
        if zone.source is not None and zone.source != zone.target:
            host.file(zone.target, zone.source.read_bytes(), 0o644, Owner(0, 0))
    host.file(places.config, text.encode(), 0o600 if places.own else 0o644, me)


def _make_system(host: Host, places: Places, *, services: bool) -> Owner:
    """Make users, directories and units of the system; return the owner of the daemon's files."""
    from dnssecd.cli.init_host import Owner

    root = Owner(0, 0)
    daemon, key_service = host.users()
    host.directory(places.home, 0o755, root)
    host.directory(places.home / "secrets", 0o700, root)
    host.directory(places.state, 0o700, daemon)
    host.directory(places.signer_state, 0o700, key_service)
    host.directory(places.control.parent, 0o1771, Owner(0, key_service.gid))
    if services:
        host.units()
        if not any(places.keys.glob("*.key")):
            host.directory(places.passphrase.parent, 0o700, root)
            host.secret(places.passphrase, root, 0o600)
    else:
        host.directory(places.signer_socket.parent, 0o750, key_service)
    return daemon


def _how_to_start(places: Places, *, services: bool) -> list[str]:
    if places.own:
        return [f"dnssecd run --config {shlex.quote(str(places.config))}"]
    if services:
        return ["systemctl enable --now dnssecd-signer dnssecd"]
    signer = f"env STATE_DIRECTORY={places.signer_state} dnssecd signer"
    return [
        f"setpriv --reuid dnssecd-signer --regid dnssecd-link --clear-groups {signer} &",
        "setpriv --reuid dnssecd --regid dnssecd --groups dnssecd-link "
        "--inh-caps +net_bind_service --ambient-caps +net_bind_service dnssecd run &",
    ]


def _blocks(places: Places, one: FirstSecondary, kinds: Sequence[str]) -> dict[str, str]:
    """Return the configuration of one secondary for each kind of server; with what is in the files now."""
    from dnssecd.cli.secondary_side import find_side
    from dnssecd.config import load
    from dnssecd.config.secondary_text import render_secondary

    side = find_side(load(places.config), one.name, None)
    return {kind: render_secondary(kind, side) for kind in kinds}


def _print_steps(steps: Sequence[tuple[str, str]]) -> None:
    for what, path in steps:
        say(f"{what:8} {path}")


def _print(
    steps: Sequence[tuple[str, str]],
    zones: Sequence[ZoneGiven],
    begin: Sequence[str],
    blocks: dict[str, dict[str, Any]],
    look: str,
) -> None:
    _print_steps(steps)
    for name, texts in blocks.items():
        for text in texts.values():
            say()
            say_lines(text)
        if len(texts) > 1:
            say()
            say(f"Use the part for the server that {name} runs.")
    say()
    for zone in zones:
        if not zone.target.exists():
            say(f"Missing: the zone file {zone.target} of {zone.name}")
        else:
            say(f"Zone {zone.name}: edit {zone.target}; dnssecd notices a change.")
    say("Start dnssecd:")
    for line in begin:
        say(f"  {line}")
    say("Then:")
    say(f"  {look}")
