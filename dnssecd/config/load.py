"""Read a TOML file into a :class:`Config`, or report every error in it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnssecd.bounded_file import TooLarge, read_at_most
from dnssecd.config.alerts import alerts
from dnssecd.config.anchors import check_anchors, read_anchors
from dnssecd.config.backup import read_backup
from dnssecd.config.catalogs import read_catalogs
from dnssecd.config.cluster import check_own, check_sealing, check_shared_tokens, read_cluster
from dnssecd.config.errors import ConfigError, ConfigErrors, Problems
from dnssecd.config.host_names import host_names
from dnssecd.config.include import Root
from dnssecd.config.key_limits import check_two_person, read_roles
from dnssecd.config.keystores import keystores
from dnssecd.config.model import Config, LogConfig, MetricsConfig, ServerConfig, SignerConfig, ZoneConfig
from dnssecd.config.peers import address_at, addresses, peers, tsig_keys
from dnssecd.config.policies import policies
from dnssecd.config.reader import Section
from dnssecd.config.status_page import status_page
from dnssecd.config.tls import check_listeners, check_tls, tls_files, warn_unusable_files
from dnssecd.config.zones import Known, read_templates, zones
from dnssecd.control_place import DEFAULT_CONTROL_SOCKET, server_table, socket_in

DEFAULT_STATE_DIR = Path("/var/lib/dnssecd")
_DEFAULT_LISTEN = ("127.0.0.1:5300", "[::1]:5300")
_DEFAULT_METRICS = "127.0.0.1:9533"
_CLOCK_TOLERANCE = 300
_SOCKET_PATH_MAX = 107  # octets in sockaddr_un (unix(7))
_SIZE_MAX = 64 * 2**20
_TOML_LINE = re.compile(r"\(at line (\d+), column \d+\)")
_NEEDED = {
    "server": "add [server]; all its keys have defaults",
    "keystore": 'add [keystore.local] with type = "software"',
    "policy": 'add [policy.default] with keystore = "local"',
    "zone": 'add [zone."example.com."] with file = "…"',
}
#: With one of these a file needs no zone: zones come while the daemon runs.
_ZONES_COME = ("include", "zone-template", "catalog")


def load(path: Path | str, *, read_secrets: bool = True) -> Config:
    """Return the configuration at *path*.

    Raise ConfigErrors with every fault found. read_secrets: False for processes that must not have TSIG secrets and
    mail passwords (the key service, the commands): these are then empty, and their files are not opened.
    """
    file = Path(path)
    text = _read(file)
    return parse(text, file, read_secrets=read_secrets)


def parse(text: str, file: Path, *, read_secrets: bool = True) -> Config:
    """Return the configuration as :func:`load` does, from *text*. Messages name *file*; relative paths start there."""
    table = _toml(text, file)
    problems = Problems(file, text)
    root = Root(table, problems, file.absolute().parent)
    root.read_included(read_table)
    config = _config(root, file, read_secrets)
    if problems.errors:
        raise ConfigErrors(problems.errors)
    return config


def read_table(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the text at *path* and the table in it. Raise ConfigErrors when it cannot be read or is not TOML."""
    text = _read(path)
    return text, _toml(text, path)


def control_socket_of(path: Path | str) -> Path:
    """Return the control socket in the file at *path*, even if the rest of the file has errors.

    For commands: their user may not have access to all files that the configuration names. Raise ConfigErrors when the
    configuration file cannot be read.
    """
    file = Path(path)
    text = _read(file)
    table = server_table(text)
    return socket_in(_toml(text, file).get("server") if table is None else table, file)


def _read(file: Path) -> str:
    try:
        content = read_at_most(file, _SIZE_MAX)
    except OSError as error:
        raise _whole_file(
            file, f"cannot be read ({error.strerror})", "give its path with --config or $DNSSECD_CONFIG"
        ) from None
    except TooLarge:
        raise _whole_file(file, "is larger than 64 MiB", "is this the right file?") from None
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigErrors([ConfigError(str(file), line, "", "is not UTF-8", "save it as UTF-8")]) from None


def _toml(text: str, file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        match = _TOML_LINE.search(message)
        line = int(match[1]) if match else text.count("\n") + 1
        what = f"is not TOML: {message.split(' (at ')[0].lower()}"
        raise ConfigErrors(
            [ConfigError(str(file), line, "", what, "correct this line (https://toml.io)")]
        ) from None
    except RecursionError:
        raise _whole_file(file, "is nested too deeply", "is this the right file?") from None


def _whole_file(file: Path, what: str, remedy: str) -> ConfigErrors:
    return ConfigErrors([ConfigError(str(file), 0, "", what, remedy)])


def _config(root: Root, file: Path, read_secrets: bool) -> Config:
    for key, remedy in _NEEDED.items():
        if key == "zone" and any(map(root.has, _ZONES_COME)):
            continue
        if not root.has(key) or (key != "server" and root.raw(key) == {}):
            root.error(key, "is missing", remedy)
    server = _server(root.table_or_empty("server"))
    stores = keystores(root, server.state_dir)
    keys = tsig_keys(root, read_secrets=read_secrets)
    known = Known(
        policies=policies(root, stores),
        tsig=keys,
        secondaries=peers(root, "secondary", keys),
        primaries=peers(root, "primary", keys),
        templates=read_templates(root),
    )
    signer = _signer(root.table_or_empty("signer"))
    roles = read_roles(root.table_or_empty("roles"))
    check_two_person(root, known.policies.values(), signer, roles)
    cluster = read_cluster(root)
    check_sealing(root, cluster, stores)
    configured = zones(root, known)
    check_own(root, stores, known.policies, configured)
    check_shared_tokens(root, stores, known.policies)
    check_tls(root, server, known.secondaries, configured)
    if read_secrets:
        primaries = (("primary", peer) for peer in known.primaries.values())
        secondaries = (("secondary", peer) for peer in known.secondaries.values())
        warn_unusable_files(root, server, (*secondaries, *primaries))
    if cluster is not None:
        _check_signing(root, configured)
    catalogs = read_catalogs(root, known, configured)
    anchors = read_anchors(root.table_or_empty("anchors"), read_files=read_secrets)
    check_anchors(root, anchors, configured)
    config = Config(
        path=file,
        server=server,
        metrics=_metrics(root.table_or_empty("metrics")),
        status_page=status_page(root, read_secrets=read_secrets),
        log=_log(root.table_or_empty("log")),
        signer=signer,
        keystores=stores,
        tsig=keys,
        secondaries=known.secondaries,
        primaries=known.primaries,
        policies=known.policies,
        zones=configured,
        alerts=alerts(root, read_secrets=read_secrets),
        roles=roles,
        cluster=cluster,
        templates=known.templates,
        catalogs=catalogs,
        backup=read_backup(root.table_or_empty("backup")),
        anchors=anchors,
        warnings=tuple(root.problems.warnings),
    )
    root.finish()
    return config


def _check_signing(root: Section, configured: Mapping[str, ZoneConfig]) -> None:
    """Record an error for zones that several nodes cannot share: their followers verify what this daemon signs."""
    for zone in configured.values():
        if zone.signing == "verify-only":
            root.problems.error(
                ("zone", zone.name, "signing"),
                "verify-only is not possible with [cluster]",
                "serve the zone from a host that is in no cluster",
            )


def _server(section: Section) -> ServerConfig:
    listen = addresses(section, "listen", _DEFAULT_LISTEN, lowest=0)
    if not listen and section.raw("listen") == []:
        section.error(
            "listen",
            "the list is empty: the daemon would answer no queries",
            'write listen = ["127.0.0.1:5300"]',
        )
    server = ServerConfig(
        listen=listen,
        resolver=addresses(section, "resolver"),
        state_dir=section.path_of("state_dir", DEFAULT_STATE_DIR),
        control_socket=_socket_path(section, "control_socket") or DEFAULT_CONTROL_SOCKET,
        clock_tolerance=section.duration("clock_tolerance", _CLOCK_TOLERANCE, low=1, high=3_600),
        tls=addresses(section, "tls", lowest=0, default_port=853),
        tls_files=tls_files(section),
    )
    check_listeners(section, server.listen, server.tls)
    section.finish()
    return server


def _socket_path(section: Section, key: str) -> Path | None:
    path = section.optional_path(key)
    if path is not None and len(str(path).encode()) > _SOCKET_PATH_MAX:
        section.error(
            key,
            f"{path} is too long for a Unix socket",
            f"choose a path of at most {_SOCKET_PATH_MAX} bytes",
        )
    return path


def _metrics(section: Section) -> MetricsConfig:
    text = section.text("listen", _DEFAULT_METRICS)
    listen = address_at(section, "listen", text, default_port=9533, lowest_port=0) if text else None
    names = host_names(section, "names")
    section.finish()
    return MetricsConfig(listen, names)


def _log(section: Section) -> LogConfig:
    log = LogConfig(
        format=section.choice("format", ("auto", "json", "console"), "auto"),
        level=section.choice("level", ("debug", "info", "warning", "error"), "info"),
    )
    section.finish()
    return log


def _signer(section: Section) -> SignerConfig:
    signer = SignerConfig(_socket_path(section, "socket"), section.text("user") or None)
    section.finish()
    return signer
