"""One open session as the pool sees it: calls with deadlines, found keys, checked signatures."""

from __future__ import annotations

import os
from collections.abc import Callable

from dnssecd.signer import algorithms
from dnssecd.signer.key_file import Description
from dnssecd.signer.pkcs11 import messages as m
from dnssecd.signer.pkcs11.link import WorkerLink
from dnssecd.signer.pkcs11.verify import Checker
from dnssecd.signer.preimage import proof_preimage

PIECE_SECONDS = 0.1
PIECE_MAX = 256
SLOW_DEADLINE_S = 120.0


class WrongAnswer(Exception):
    """The token signed something that does not verify: it must not be used any more."""


class StaleSession(Exception):
    """A session does not see an object that may be there all the same: a fresh one is to look.

    Many modules read their list of objects when they are initialised, and never again.
    """


class Session:
    """A logged-in session in a worker process. What was found in it dies with it.

    `started_at`: monotonic seconds just before the module was loaded; what happened later it may not see.
    """

    def __init__(
        self,
        link: WorkerLink,
        opened: m.Opened,
        deadline_s: float,
        monotonic: Callable[[], float],
        started_at: float,
    ) -> None:
        self.link = link
        self.started_at = started_at
        self.algorithms = frozenset(opened.algorithms)
        self.makes = frozenset(opened.makes)
        self.piece_size = 1
        self._deadline_s = deadline_s
        self._monotonic = monotonic
        self._checkers: dict[str, Checker] = {}
        self._used_at = monotonic()

    def idle_s(self) -> float:
        """Seconds since the token was last seen to sign here."""
        return self._monotonic() - self._used_at

    def touch(self) -> None:
        """Start counting `idle_s` again."""
        self._used_at = self._monotonic()

    async def find(self, key: Description) -> m.Found:
        """Look the key up and have a first signature verified."""
        if key.id in self._checkers:
            return m.Found(True)
        if key.algorithm not in self.algorithms:
            return m.Found(False, f"the token cannot sign with algorithm {key.algorithm}")
        found = await self.look(key)
        if found.there:
            self._checkers[key.id] = Checker(key)
            await self.canary(key)
        return found

    async def try_claim(self, key: Description) -> str:
        """Have the private key sign, to see whether it belongs to a public key that an operator gave.

        Return "" or why not: the token is not to blame for a signature that does not verify.
        """
        found = await self.look(key)
        if not found.there:
            return found.detail
        preimage = nonce_preimage(key)
        signed = await self.link.call(m.SignCall(key.id, [preimage]), m.Signed, self._deadline_s)
        if Checker(key).fault(preimage, b"".join(signed.signatures)):
            return f"the public key given is not that of the private key with CKA_ID {key.cka_id}"
        return ""

    async def look(self, key: Description) -> m.Found:
        """Ask the token whether it holds the key."""
        call = m.FindCall(key.id, key.cka_id, key.dnskey)
        return await self.link.call(call, m.Found, self._deadline_s)

    async def sign(self, key: Description, preimages: list[bytes]) -> tuple[list[bytes], float]:
        """Sign the first preimages with a key that was found, as many as the worker had time for.

        Returns signatures and seconds; WrongAnswer when a check fails.
        """
        started_at = self._monotonic()
        signed = await self.link.call(m.SignCall(key.id, preimages), m.Signed, self._deadline_s)
        seconds = self._monotonic() - started_at
        fault = self._checkers[key.id].sample_fault(preimages, signed.signatures)
        if fault:
            raise WrongAnswer(fault)
        self._adapt(len(signed.signatures), seconds)
        return signed.signatures, seconds

    def _adapt(self, signatures: int, seconds: float) -> None:
        """Choose the size of pieces by what the token has just shown."""
        self.touch()
        fitting = int(PIECE_SECONDS * signatures / max(seconds, 1e-6))
        self.piece_size = max(1, min(PIECE_MAX, fitting, 2 * self.piece_size))

    async def canary(self, key: Description) -> None:
        """Sign a nonce that can never validate as data and verify it."""
        await self.prove(key, nonce_preimage(key))

    async def prove(self, key: Description, preimage: bytes) -> bytes:
        """Sign `preimage` and verify the signature."""
        started_at = self._monotonic()
        signed = await self.link.call(m.SignCall(key.id, [preimage]), m.Signed, self._deadline_s)
        self._adapt(1, self._monotonic() - started_at)
        fault = self._checkers[key.id].fault(preimage, b"".join(signed.signatures))
        if fault:
            raise WrongAnswer(fault)
        return signed.signatures[0]

    async def generate(
        self, key_id: str, cka_id: str, label: str, algorithm: int, bits: int, recipe: int
    ) -> m.Generated:
        """Make a key pair."""
        call = m.GenerateCall(key_id, cka_id, label, algorithm, bits, recipe)
        return await self.link.call(call, m.Generated, SLOW_DEADLINE_S)

    async def destroy(self, key: Description) -> m.Destroyed:
        """Destroy the key pair, where this session sees it."""
        call = m.DestroyCall(key.id, key.cka_id, key.dnskey)
        destroyed = await self.link.call(call, m.Destroyed, SLOW_DEADLINE_S)
        self._checkers.pop(key.id, None)
        return destroyed

    async def search(self, call: m.SearchCall) -> list[m.Candidate]:
        """Describe keys that are in the token."""
        return (await self.link.call(call, m.Candidates, SLOW_DEADLINE_S)).keys

    async def info(self) -> m.TokenInfo:
        """Return the token's own account of its state."""
        return await self.link.call(m.InfoCall(), m.TokenInfo, self._deadline_s)


def nonce_preimage(key: Description) -> bytes:
    """Return a preimage of type covered 0 with a fresh nonce."""
    return proof_preimage(key.zones[0], key.algorithm, algorithms.key_tag(key.dnskey), os.urandom(32))
