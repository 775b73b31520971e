"""The only road to publication: a verified version is redeemed, once, for the commit of its transaction."""

from typing import Protocol

from dnssecd.core.verify import VerifiedVersion


class Transaction(Protocol):
    """What the store's write transaction offers here."""

    generation: int

    def commit_if(self, generation: int) -> None:
        """Commit, unless anything was written since ``generation``."""
        ...


def commit(version: VerifiedVersion, transaction: Transaction) -> None:
    """Publish what was verified; raises if the token is spent, is another's, or the content moved on."""
    version.redeem(transaction, transaction.generation)
    transaction.commit_if(transaction.generation)
