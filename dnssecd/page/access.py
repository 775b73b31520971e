"""Who may read the page: those who show its token.  Pure."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode

#: What a refused client is asked for: a browser asks its user for a password, which is the token.
CHALLENGE = ("WWW-Authenticate", 'Basic realm="dnssecd", charset="UTF-8"')


def is_token_right(authorization: str | None, token: bytes) -> bool:
    """Return whether an ``Authorization`` header shows the token: as bearer (RFC 6750) or as a password (RFC 7617).

    The time of the comparison does not depend on where the two differ.
    """
    shown = _shown(authorization or "")
    return shown is not None and hmac.compare_digest(shown, token)


def _shown(header: str) -> bytes | None:
    scheme, _, value = header.strip().partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return value.encode("latin-1", "replace")
    if scheme.lower() != "basic":
        return None
    try:
        pair = b64decode(value.encode("latin-1", "replace"), validate=True)
    except (binascii.Error, ValueError):
        return None
    _, colon, password = pair.partition(b":")
    return password if colon else None
