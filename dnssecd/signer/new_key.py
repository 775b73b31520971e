"""The description of a key pair that a software store is about to keep."""

from __future__ import annotations

import secrets

from dnssecd.keyservice_protocol import Role
from dnssecd.signer import algorithms
from dnssecd.signer.algorithms import PrivateKey
from dnssecd.signer.key_file import Description


def describe_new(
    zone: bytes, role: Role, algorithm: int, private: PrivateKey, idempotency: str, now: float
) -> Description:
    """Return the description of a new key, with an id that no key has."""
    public = private.public_key()
    flags = algorithms.flags_of(role)
    return Description(
        id=secrets.token_hex(16),
        zones=(zone,),
        role=role,
        algorithm=algorithm,
        bits=algorithms.bits_of(public),
        flags=flags,
        dnskey=algorithms.dnskey_rdata(flags, algorithm, public),
        created=int(now),
        idempotency=idempotency,
    )
