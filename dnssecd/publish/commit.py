"""The only path to publication: a verified version is redeemed, once, for the commit of its transaction."""

from typing import Protocol

from dnssecd.core.verify import VerifiedVersion


class Transaction(Protocol):
    """The part of the store's write transaction that is used here."""

    generation: int

    def commit_if(self, generation: int) -> None:
        """Commit, unless anything was written since ``generation``."""
        ...


def commit(version: VerifiedVersion, transaction: Transaction) -> None:
    """Publish the verified version; raise if its token does not fit the transaction as it is now."""
    version.redeem(transaction, transaction.generation)
    transaction.commit_if(transaction.generation)
