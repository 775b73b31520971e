"""Where the logs of zones are, and which process of which node asks: what a process needs to open them."""

from __future__ import annotations

import msgspec


class LogPlace(msgspec.Struct, frozen=True, kw_only=True):
    """The database of a cluster as one node uses it; it holds no secret, so that it may be handed to a worker.

    uri: as libpq has it, without a password. password_file: its content is read at each connection, "" for none.
    sslmode, sslrootcert: as libpq has them, "" for libpq's own choice. incarnation: of the node's daemon, a UUID as
    text; "" for a process that only reads.
    """

    node: str
    uri: str
    incarnation: str = ""
    password_file: str = ""
    sslmode: str = ""
    sslrootcert: str = ""
    require_synchronous: bool = True
