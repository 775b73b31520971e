"""What every key store offers to the service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec import Struct

from dnssecd.keyservice_protocol import (
    AdoptRequest,
    BenchLine,
    BenchRequest,
    KeyState,
    Proof,
    Role,
    StoreStatus,
)
from dnssecd.signer.algorithms import PrivateKey
from dnssecd.signer.key_file import Description, SealedKey
from dnssecd.signer.registry import Registry

#: So few preimages a store may sign where they are asked for.
AT_ONCE_MAX = 32


#: Accounts for a key in the audit log. A store calls it before it writes or makes the key; OSError forbids that. A key
#: that is made in a token has no public key then, and is accounted for a second time when it has.
Account = Callable[[Description], None]


#: The same of several keys, with one sync.
AccountAll = Callable[[Sequence[Description]], None]


class Order(Struct, frozen=True):
    """A key that is to be made for a zone."""

    zone: bytes
    role: Role
    algorithm: int
    bits: int
    idempotency: str


class Consequence(Struct, frozen=True):
    """What a store does about a signature that does not verify; ``evicted``: it takes a token out of use."""

    detail: str
    evicted: bool = False


class Keystore(Protocol):
    """One key store; all methods run on the service's event loop and raise ServiceError.

    `gives_out`: its private keys can be exported. `own`: only the public halves of its keys go to the other nodes of
    the cluster.
    """

    name: str
    registry: Registry
    gives_out: bool
    own: bool

    async def start(self) -> None:
        """Get ready; a store that cannot be used now is no reason to fail, its `state` says so."""

    async def stop(self) -> None:
        """Forget the keys and end the workers."""

    async def generate(
        self,
        zone: bytes,
        role: Role,
        algorithm: int,
        bits: int,
        idempotency: str,
        taken: frozenset[int],
        account: Account,
    ) -> Description:
        """Make a key whose tags are not in `taken`."""

    async def take_in(
        self,
        zone: bytes,
        role: Role,
        algorithm: int,
        private: PrivateKey,
        created: int,
        taken: frozenset[int],
        account: Account,
    ) -> Description:
        """Store a private key made elsewhere; Unsupported where that cannot be."""

    async def export(self, key: Description, passphrase: bytes) -> bytes:
        """Return the private key sealed under another passphrase; Unsupported where it never leaves."""

    async def restore(
        self, content: SealedKey, passphrase: bytes, account: Account, known: Description | None = None
    ) -> None:
        """Take back what `export` gave, as it is described there or known here; Unsupported where that cannot be."""

    def has_lost(self, key: Description) -> bool:
        """Return whether a key of the registry is proven not to be there, so that a copy can take its place."""

    async def put_back(self, key: Description, private: PrivateKey, account: Account) -> None:
        """Store a copy of a key that `has_lost`; Unsupported where that cannot be."""

    async def adopt(self, wanted: AdoptRequest, taken: frozenset[int], account: Account) -> Description:
        """Bind a key that is in a token already; Unsupported where there are no tokens. taken: key tags of the zone."""

    async def rebind(self, key: Description, zones: tuple[bytes, ...]) -> Description:
        """Change the zones a key is bound to."""

    async def put_away(self, key: Description) -> None:
        """Take a key out of use, and out of the registry, but keep it; its record is in the registry's trash."""

    async def bring_back(self, key: Description) -> None:
        """Bring a key that was put away back into use and into the registry; MissingKey when it is lost."""

    async def destroy(self, key: Description) -> str:
        """Destroy the private key, in use or put away; return what was done, in words."""

    def has_sealing_key(self) -> bool:
        """Return whether the sealing key of this node of a cluster is in this store's directory."""

    async def sealing_key(self) -> X25519PrivateKey:
        """Return the sealing key of this node, made if there is none."""

    def state(self, key: Description) -> tuple[KeyState, str]:
        """Return whether the key can be used now, and why not."""

    async def look(self, key: Description) -> None:
        """Ask what holds the keys, so that `state` is up to date."""

    def accuse(self, key: Description, preimage: bytes, signature: bytes) -> Consequence:
        """Draw the consequences of a signature of the key that does not verify."""

    async def try_evicted(self, deadline: float) -> list[str]:
        """Try evicted tokens out; return those that are used again. ServiceError when one still fails."""

    def submit(
        self, lane: int, key: Description, preimages: list[bytes], deadline: float
    ) -> asyncio.Future[list[bytes]]:
        """Queue preimages that have been checked; the future holds the signatures in order."""

    def sign_at_once(self, key: Description, preimages: list[bytes]) -> list[bytes] | None:
        """Sign at most AT_ONCE_MAX checked preimages where nothing else waits; None where that cannot be."""

    async def prove(self, key: Description, preimage: bytes, deadline: float) -> list[Proof]:
        """Have every token that should hold the key sign `preimage`."""

    async def trial(self, algorithm: int, deadline: float) -> str:
        """Test everything that holds keys with a throw-away key; return what was done or raise what is wrong."""

    async def bench(self, request: BenchRequest, deadline: float) -> BenchLine:
        """Measure with a throw-away key."""

    def status(self) -> StoreStatus:
        """Return the state for monitoring."""
