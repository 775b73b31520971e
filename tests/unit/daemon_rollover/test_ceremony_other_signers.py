"""A zone with an off-line KSK has no keys of other signers: no ceremony would sign a DNSKEY RRset with them."""

from types import SimpleNamespace
from typing import Any

import pytest

from dnssecd.control.command import Refused
from dnssecd.core.keys.foreign_keys import add_foreign, published_at_once, remove_foreign
from dnssecd.daemon.commands.foreign_keys import _check_signer
from dnssecd.daemon.rollover.ceremony_request import CannotAsk, _check_other_signers
from tests.unit.core_ceremony.world import K1, NOW, A, B
from tests.unit.core_keys.test_ceremony_gate import keyset_of


def zone(ksk: str) -> Any:
    """Return a zone with another signer, and with its KSK in a key store; "vault" is off-line."""
    config = SimpleNamespace(other_signers=[SimpleNamespace(name="newco")])
    spec = SimpleNamespace(offline=("vault",), keys=[SimpleNamespace(keystore=ksk)])
    return SimpleNamespace(name="example.com.", spec=spec, config=config)


def test_keys_of_another_signer_are_not_taken_beside_an_off_line_ksk() -> None:
    _check_signer(zone("online"), "newco")
    with pytest.raises(Refused, match="off-line"):
        _check_signer(zone("vault"), "newco")


def test_no_request_is_made_for_a_zone_with_such_keys() -> None:
    keyset = keyset_of(K1, A)
    _check_other_signers(keyset, zone("vault"))
    joined = add_foreign(keyset, B.rdata, "newco", NOW)
    with pytest.raises(CannotAsk, match=f"{B.tag} of signer newco") as refused:
        _check_other_signers(joined, zone("vault"))
    assert "remove-foreign" in refused.value.remedy
    with pytest.raises(CannotAsk):
        _check_other_signers(remove_foreign(published_at_once(joined, NOW), NOW), zone("vault"))
    _check_other_signers(remove_foreign(joined, NOW), zone("vault"))
