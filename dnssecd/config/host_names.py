"""Names under which browsers may ask for a page of this host."""

from __future__ import annotations

import re

from dnssecd.config.reader import Section

_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?:\.(?!-)[a-z0-9-]{1,63})*\.?", re.ASCII)


def host_names(section: Section, key: str) -> tuple[str, ...]:
    """Return the host names of a key, in lower case, without the final dot."""
    names = []
    for index, name in enumerate(section.texts(key)):
        if not _HOST.fullmatch(name.lower()):
            section.problems.error(
                section.at(key, index), f'"{name}" is not a host name', 'write "status.example.net"'
            )
        names.append(name.lower().rstrip("."))
    return tuple(names)
