"""For which names of this host an HTTP server answers.  Pure.

The name is checked because a browser on the operator's machine reaches what only that machine reaches: a stranger's
web page whose name suddenly has the address 127.0.0.1 could read the answers (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address


def is_host_allowed(host: str | None, names: Sequence[str]) -> bool:
    """Return whether a request with this ``Host`` may be answered: an IP address, ``localhost`` or one of *names*."""
    if host is None:  # HTTP/1.0: no browser
        return True
    name = _host_of(host.strip().lower()).rstrip(".")
    if name == "localhost" or name in names:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _host_of(text: str) -> str:
    """Return the host of ``host:port`` or ``[address]:port``."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]
