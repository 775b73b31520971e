"""HSM output is untrusted: what a token signed is checked in software against the public key on record."""

from __future__ import annotations

import random
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature

from dnssecd.signer import algorithms
from dnssecd.signer.key_file import Description

_OCTETS = {13: 64, 14: 96, 15: 64, 16: 114}


class Checker:
    """Verifies signatures of one key."""

    def __init__(self, key: Description) -> None:
        self._octets = _OCTETS.get(key.algorithm, key.bits // 8)
        self._verify = algorithms.verifier(key.dnskey)

    def fault(self, preimage: bytes, signature: bytes) -> str:
        """Return "" when the signature is good, else what is wrong."""
        if len(signature) != self._octets:
            return f"a signature of {len(signature)} octets instead of {self._octets}"
        try:
            self._verify(signature, preimage)
        except InvalidSignature:
            return "a signature that does not verify with the public key on record"
        return ""

    def sample_fault(self, preimages: Sequence[bytes], signatures: Sequence[bytes]) -> str:
        """Check number and lengths of all signatures, and one of them, chosen at random, in full.

        The process that commits signatures verifies all of them; this finds a token that answers wrong early.
        """
        if not 1 <= len(signatures) <= len(preimages):
            return f"{len(signatures)} signatures for {len(preimages)} preimages"
        if any(len(signature) != self._octets for signature in signatures):
            return "a signature of a wrong length"
        chosen = random.randrange(len(signatures))
        return self.fault(preimages[chosen], signatures[chosen])
