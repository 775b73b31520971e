"""Where the control socket is, read without the rest of the configuration: each command needs it, and quickly.

``dnssecd.config`` takes a tenth of a second to load. It is needed only where this module has no answer.
"""

import re
import tomllib
from pathlib import Path

DEFAULT_PATH = Path("/etc/dnssecd/config.toml")
DEFAULT_CONTROL_SOCKET = Path("/run/dnssecd/control.sock")

#: 10,000 zones take 1 MiB and a hundredth of a second here; the whole configuration is read up to this size, too.
_SIZE_MAX = 64 << 20
_SERVER_HEAD = re.compile(r"^[ \t]*\[[ \t]*server[ \t]*\]", re.MULTILINE)
_ANY_HEAD = re.compile(r"^[ \t]*\[", re.MULTILINE)


def quick_control_socket(file: Path) -> Path | None:
    """Return the control socket that a configuration file names; None if ``config.control_socket_of`` must judge."""
    try:
        with file.open("rb") as stream:
            content = stream.read(_SIZE_MAX + 1)
        text = content.decode("utf-8").removeprefix("\ufeff")
    except (OSError, UnicodeDecodeError):
        return None
    table = server_table(text) if len(content) <= _SIZE_MAX else None
    return None if table is None else socket_in(table, file)


def socket_in(server: object, file: Path) -> Path:
    """Return the control socket of a value of ``server``; the default one if it names none."""
    socket = server.get("control_socket") if isinstance(server, dict) else None
    return file.absolute().parent / socket if isinstance(socket, str) else DEFAULT_CONTROL_SOCKET


def server_table(text: str) -> object:
    """Return the table [server] alone, which is quick to parse; None if it cannot be separated."""
    heads = list(_SERVER_HEAD.finditer(text))
    if len(heads) != 1 or '"""' in text or "'''" in text:
        return None
    end = _ANY_HEAD.search(text, heads[0].end())
    try:
        return tomllib.loads(text[heads[0].start() : end.start() if end else len(text)]).get("server")
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
