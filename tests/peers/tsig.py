"""TSIG keys as every peer wants them written."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from pathlib import Path

import dns.name
import dns.tsig


def _random_secret() -> str:
    return base64.b64encode(os.urandom(32)).decode()


@dataclass(frozen=True)
class TsigKey:
    """A TSIG key: absolute name, algorithm, secret in base64."""

    name: str = "transfer."
    algorithm: str = "hmac-sha256"
    secret: str = field(default_factory=_random_secret)

    def bind(self) -> str:
        """The ``key`` statement of BIND's configuration (also dig's and nsupdate's ``-k``)."""
        return f'key "{self.name}" {{ algorithm {self.algorithm}; secret "{self.secret}"; }};\n'

    def knot(self) -> str:
        return f"key:\n  - id: {self.name}\n    algorithm: {self.algorithm}\n    secret: {self.secret}\n"

    def nsd(self) -> str:
        return f'key:\n  name: "{self.name}"\n  algorithm: {self.algorithm}\n  secret: "{self.secret}"\n'

    def file(self, directory: Path) -> Path:
        """The key in BIND's form in a file of mode 0600, so that no secret stands on a command line."""
        path = directory / f"{self.name}key"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(self.bind())
        return path

    def dnspython(self) -> dns.tsig.Key:
        return dns.tsig.Key(dns.name.from_text(self.name), self.secret, dns.name.from_text(self.algorithm))
