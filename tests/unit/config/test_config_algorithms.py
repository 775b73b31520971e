"""Algorithms by the columns of the IANA registry (RFC 9904): refused, warned of, or accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd.config import ConfigErrors
from dnssecd.config.algorithms import (
    ADVICE,
    ALGORITHMS,
    EXPERIMENTAL,
    algorithm_number,
    algorithm_warning,
)
from dnssecd.config.load import parse
from dnssecd.signer.algorithms import ALGORITHMS as OFFERED
from dnssecd.signer.algorithms import Unsupported, algorithm_of
from dnssecd.signer.mldsa import lacking

TEXT = '[server]\n[keystore.local]\n[policy.default]\ncsk = {{ algorithm = "{}" }}\n[zone."a."]\nfile = "/dev/null"\n'


@pytest.mark.parametrize("number", ADVICE)
def test_must_not_be_used_is_refused_and_nothing_else(number: int) -> None:
    if ADVICE[number].use_signing != "MUST NOT":
        assert algorithm_number(str(number), EXPERIMENTAL) == number
        return
    with pytest.raises(
        ValueError, match=f"MUST NOT be used for DNSSEC signing .IANA registry, {ADVICE[number].source}"
    ):
        algorithm_number(str(number))
    with pytest.raises(Unsupported, match=r"RFC 990[456]"):
        algorithm_of(number)


def test_all_that_can_sign_have_advice() -> None:
    assert {*ALGORITHMS.values(), *EXPERIMENTAL.values()} == set(OFFERED)
    assert set(OFFERED) == {number for number, advice in ADVICE.items() if advice.use_signing != "MUST NOT"}


def test_all_that_must_be_implemented_is() -> None:
    needed = {number for number, row in ADVICE.items() if row.implement_signing in ("MUST", "RECOMMENDED")}
    assert needed <= set(OFFERED)


def test_only_what_is_not_recommended_is_warned_of() -> None:
    warned = {number for number in ALGORITHMS.values() if algorithm_warning(number)}
    assert warned == {10}
    assert '"Use for DNSSEC Signing" is NOT RECOMMENDED (IANA registry, RFC 9904)' in algorithm_warning(10)


def test_check_config_warns_and_refuses() -> None:
    def warnings(name: str) -> list[str]:
        return [str(one) for one in parse(TEXT.format(name), Path("c")).warnings if "algorithm" in one.where]

    assert warnings("ed448") == warnings("rsasha256") == []
    assert len(warnings("rsasha512")) == 1
    with pytest.raises(ConfigErrors, match="RFC 9906"):
        warnings("ecc-gost")


TRIAL = """[server]
[keystore.local]
[keystore.hsm]
type = "pkcs11"
module = "/module.so"
token_label = "t"
pin_file = "/nowhere"
[policy.default]
keystore = "{store}"
{switch}
csk = {{ algorithm = "{algorithm}" }}
[zone."a."]
file = "/dev/null"
"""
SWITCH = 'experimental = ["mldsa44"]'


def trial(algorithm: str = "mldsa44", switch: str = SWITCH, store: str = "local") -> str:
    """The faults of a policy that tries an algorithm."""
    try:
        parse(TRIAL.format(algorithm=algorithm, switch=switch, store=store), Path("c.toml"))
    except ConfigErrors as refused:
        return str(refused)
    return ""


needs_mldsa = pytest.mark.skipif(bool(lacking()), reason="this version of cryptography has no ML-DSA")


@needs_mldsa
@pytest.mark.parametrize("algorithm", ["mldsa44", "18"])
def test_an_experimental_algorithm_needs_its_switch(algorithm: str) -> None:
    assert "it is experimental" in trial(algorithm, "")
    assert trial(algorithm) == ""


def test_the_remedy_names_the_switch() -> None:
    assert 'write experimental = ["mldsa44"] in the policy' in trial(switch="")


@needs_mldsa
def test_an_experimental_algorithm_is_warned_of() -> None:
    config = parse(TRIAL.format(algorithm="mldsa44", switch=SWITCH, store="local"), Path("c.toml"))
    assert any("treat the zone as unsigned" in str(warning) for warning in config.warnings)
    assert config.policies["default"].experimental == ("mldsa44",)


def test_experimental_keys_are_in_software_stores_only() -> None:
    assert "it is not a software store" in trial(store="hsm")


def test_what_is_not_experimental_is_no_switch() -> None:
    assert '"ed25519" is not an experimental algorithm' in trial(switch='experimental = ["ed25519"]')


def test_a_library_without_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnssecd.core.verify.keys.SUPPORTED", frozenset({13}))
    assert "the cryptography library of this host has no mldsa44" in trial()
