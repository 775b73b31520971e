"""The proof that a zone version was verified: only this package makes it, and it is redeemed at most once.

Committing takes a ``VerifiedVersion`` and redeems it inside the transaction it names, so an unverified
version cannot be published, and no version can be published twice.
"""


class TokenMisuse(Exception):
    """A VerifiedVersion was forged, redeemed twice, or redeemed for another transaction: a bug in dnssecd."""


_SEAL = object()


class VerifiedVersion:
    """A zone version that passed verification, bound to one transaction and its generation.

    ``transaction`` is any object, compared by identity; ``generation`` counts the writes of that transaction, so a
    write after verification voids the token. It never crosses a process: it cannot be pickled or copied.
    """

    __slots__ = ("_generation", "_redeemed", "_transaction", "origin", "serial", "verified_at")

    def __init__(
        self, seal: object, origin: bytes, serial: int, transaction: object, generation: int, now: int
    ) -> None:
        if seal is not _SEAL:
            raise TokenMisuse("only core.verify makes a VerifiedVersion")
        self.origin = origin
        self.serial = serial
        self.verified_at = now
        self._transaction = transaction
        self._generation = generation
        self._redeemed = False

    def redeem(self, transaction: object, generation: int) -> None:
        """Use up the token for the transaction it was made for; TokenMisuse otherwise."""
        if self._redeemed:
            raise TokenMisuse(f"version {self.serial} was redeemed already")
        if transaction is not self._transaction:
            raise TokenMisuse(f"version {self.serial} was verified in another transaction")
        if generation != self._generation:
            raise TokenMisuse(f"the transaction was written to after version {self.serial} was verified")
        self._redeemed = True

    def __reduce_ex__(self, protocol: object) -> str:
        raise TokenMisuse("a VerifiedVersion does not leave its process and is not copied")

    def __repr__(self) -> str:
        return f"<VerifiedVersion {self.origin!r} serial {self.serial}>"


def _issue(origin: bytes, serial: int, transaction: object, generation: int, now: int) -> VerifiedVersion:
    """Make a token; called by core.verify.version alone."""
    return VerifiedVersion(_SEAL, origin, serial, transaction, generation, now)
