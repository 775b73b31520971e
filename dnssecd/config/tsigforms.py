"""TSIG secrets in the formats of other tools: tsig-keygen, rndc-confgen, keymgr, NSD's key clause, dig -y."""

from __future__ import annotations

import re
from typing import NamedTuple

from dnssecd.config.values import Bad

_COMMENT = re.compile(r"(?m)^\s*(?:#|//|;).*$")
_CLAUSE = re.compile(r'\bkey\s+"?([^"\s{]+)"?\s*\{')
_LISTED_NAME = re.compile(r'\b(?:id|name)\s*:\s*"?([^"\s]+)"?')
_ALGORITHM = re.compile(r'\balgorithm\s*:?\s+"?([\w.-]+)"?')
_SECRET = re.compile(r'\bsecret\s*:?\s+"?([^"\s;]+)"?')
_DIG = re.compile(r"(?:(hmac-[\w-]+):)?([^\s:]+):([A-Za-z0-9+/=]+)")


class WrittenKey(NamedTuple):
    """The fields of a key in a file; "" if absent."""

    name: str
    algorithm: str
    secret: str


def written_key(text: str) -> WrittenKey:
    """Return the key of a file: base64 alone, or one key in another tool's format. Raise Bad, which shows no secret."""
    dig = _DIG.fullmatch(text.strip())
    if dig:
        return WrittenKey(_name(dig[2]), _name(dig[1] or ""), dig[3])
    plain = _COMMENT.sub("", text)
    secrets = _SECRET.findall(plain)
    if not secrets:
        return WrittenKey("", "", text)
    if len(secrets) > 1:
        raise Bad(f"the file has {len(secrets)} keys", "write each key to its own file")
    found = _CLAUSE.search(plain) or _LISTED_NAME.search(plain)
    algorithm = _ALGORITHM.search(plain)
    return WrittenKey(_name(found[1]) if found else "", _name(algorithm[1]) if algorithm else "", secrets[0])


def _name(text: str) -> str:
    return text.lower().rstrip(".")
