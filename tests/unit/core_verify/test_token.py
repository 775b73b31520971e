"""A VerifiedVersion is made by the verifier alone, and redeemed once for its own transaction."""

from __future__ import annotations

import copy
import pickle

import pytest

from dnssecd.core.verify import TokenMisuse, VerifiedVersion
from dnssecd.core.verify.token import _issue


def test_redeemed_once() -> None:
    transaction = object()
    token = _issue(b"\0", 1, transaction, 5, 0)
    token.redeem(transaction, 5)
    with pytest.raises(TokenMisuse, match="already"):
        token.redeem(transaction, 5)


def test_not_for_another_transaction_nor_after_another_write() -> None:
    transaction = object()
    token = _issue(b"\0", 1, transaction, 5, 0)
    with pytest.raises(TokenMisuse, match="another transaction"):
        token.redeem(object(), 5)
    with pytest.raises(TokenMisuse, match="written to"):
        token.redeem(transaction, 6)
    token.redeem(transaction, 5)


def test_no_other_module_makes_one() -> None:
    with pytest.raises(TokenMisuse):
        VerifiedVersion(object(), b"\0", 1, object(), 0, 0)


@pytest.mark.parametrize("leave", [copy.copy, copy.deepcopy, pickle.dumps])
def test_it_is_not_copied_and_leaves_no_process(leave: object) -> None:
    with pytest.raises(TokenMisuse):
        leave(_issue(b"\0", 1, object(), 0, 0))  # type: ignore[operator]
