"""From a TOML file to a :class:`Config`, or to every error in it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from dnssecd.config.alerts import alerts
from dnssecd.config.errors import ConfigError, ConfigErrors, Problems
from dnssecd.config.keystores import keystores
from dnssecd.config.model import Config, LogConfig, MetricsConfig, ServerConfig, SignerConfig
from dnssecd.config.peers import address_at, addresses, peers, tsig_keys
from dnssecd.config.policies import policies
from dnssecd.config.reader import Section
from dnssecd.config.zones import Known, zones

DEFAULT_PATH = Path("/etc/dnssecd/config.toml")
DEFAULT_STATE_DIR = Path("/var/lib/dnssecd")
DEFAULT_CONTROL_SOCKET = Path("/run/dnssecd/control.sock")
_DEFAULT_LISTEN = ("127.0.0.1:5300", "[::1]:5300")
_DEFAULT_METRICS = "127.0.0.1:9533"
_CLOCK_TOLERANCE = 300
_SOCKET_PATH_MAX = 107  # octets in sockaddr_un (unix(7))
_SIZE_MAX = 64 * 2**20
_TOML_LINE = re.compile(r"\(at line (\d+), column \d+\)")
_SERVER_HEAD = re.compile(r"^[ \t]*\[[ \t]*server[ \t]*\]", re.MULTILINE)
_ANY_HEAD = re.compile(r"^[ \t]*\[", re.MULTILINE)
_NEEDED = {
    "server": "add [server]; the defaults of its keys will do",
    "keystore": 'add [keystore.local] with type = "software"',
    "policy": 'add [policy.default] with keystore = "local"',
    "zone": 'add [zone."example.com."] with file = "…"',
}


def load(path: Path | str, *, read_secrets: bool = True) -> Config:
    """The configuration at *path*.

    Raises ConfigErrors with every fault found. read_secrets: False for processes that must do without TSIG
    secrets and mail passwords (the signer, the commands); they are then empty and their files untouched.
    """
    file = Path(path)
    text = _read(file)
    return parse(text, file, read_secrets=read_secrets)


def parse(text: str, file: Path, *, read_secrets: bool = True) -> Config:
    """As :func:`load`, from *text*; *file* gives messages a name and relative paths their base."""
    table = _toml(text, file)
    problems = Problems(file, text)
    config = _config(Section(table, (), problems, file.absolute().parent), file, read_secrets)
    if problems.errors:
        raise ConfigErrors(problems.errors)
    return config


def control_socket_of(path: Path | str) -> Path:
    """The control socket named in the file at *path*, however wrong the rest of it is.

    For commands, which may not be able to read all that the file refers to. Raises ConfigErrors when the file
    cannot be read at all.
    """
    file = Path(path)
    text = _read(file)
    value = _toml(_server_part(text) or text, file).get("server", {})
    socket = value.get("control_socket") if isinstance(value, dict) else None
    return file.absolute().parent / socket if isinstance(socket, str) else DEFAULT_CONTROL_SOCKET


def _server_part(text: str) -> str:
    """The table [server] alone, which is read at once however many zones follow; "" where it cannot be told apart."""
    heads = list(_SERVER_HEAD.finditer(text))
    if len(heads) != 1 or '"""' in text or "'''" in text:
        return ""
    end = _ANY_HEAD.search(text, heads[0].end())
    part = text[heads[0].start() : end.start() if end else len(text)]
    try:
        tomllib.loads(part)
    except (tomllib.TOMLDecodeError, RecursionError):
        return ""
    return part


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(_SIZE_MAX + 1)
    except OSError as error:
        raise _whole_file(
            file, f"cannot be read ({error.strerror})", "name it with --config or $DNSSECD_CONFIG"
        ) from None
    if len(content) > _SIZE_MAX:
        raise _whole_file(file, "is larger than 64 MiB", "is this the right file?")
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


def _config(root: Section, file: Path, read_secrets: bool) -> Config:
    for key, remedy in _NEEDED.items():
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
    )
    config = Config(
        path=file,
        server=server,
        metrics=_metrics(root.table_or_empty("metrics")),
        log=_log(root.table_or_empty("log")),
        signer=_signer(root.table_or_empty("signer")),
        keystores=stores,
        tsig=keys,
        secondaries=known.secondaries,
        primaries=known.primaries,
        policies=known.policies,
        zones=zones(root, known),
        alerts=alerts(root, read_secrets=read_secrets),
        warnings=tuple(root.problems.warnings),
    )
    root.finish()
    return config


def _server(section: Section) -> ServerConfig:
    listen = addresses(section, "listen", _DEFAULT_LISTEN, lowest=0)
    if not listen and section.raw("listen") == []:
        section.error("listen", "the daemon would serve nobody", 'write listen = ["127.0.0.1:5300"]')
    server = ServerConfig(
        listen=listen,
        resolver=addresses(section, "resolver"),
        state_dir=section.path_of("state_dir", DEFAULT_STATE_DIR),
        control_socket=_socket_path(section, "control_socket") or DEFAULT_CONTROL_SOCKET,
        clock_tolerance=section.duration("clock_tolerance", _CLOCK_TOLERANCE, low=1, high=3_600),
    )
    section.finish()
    return server


def _socket_path(section: Section, key: str) -> Path | None:
    path = section.optional_path(key)
    if path is not None and len(str(path).encode()) > _SOCKET_PATH_MAX:
        section.error(
            key,
            f"{path} is too long for a Unix socket",
            f"choose a path of at most {_SOCKET_PATH_MAX} octets",
        )
    return path


def _metrics(section: Section) -> MetricsConfig:
    text = section.text("listen", _DEFAULT_METRICS)
    listen = address_at(section, "listen", text, default_port=9533, lowest_port=0) if text else None
    section.finish()
    return MetricsConfig(listen)


def _log(section: Section) -> LogConfig:
    log = LogConfig(
        format=section.choice("format", ("json", "console"), "json"),
        level=section.choice("level", ("debug", "info", "warning", "error"), "info"),
    )
    section.finish()
    return log


def _signer(section: Section) -> SignerConfig:
    signer = SignerConfig(_socket_path(section, "socket"), section.text("user") or None)
    section.finish()
    return signer
