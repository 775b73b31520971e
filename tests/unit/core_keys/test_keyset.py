"""Keys, tags, DS and what signing is told."""

import dns.dnssec
import dns.name
import dns.rdata
import msgspec
import pytest

from dnssecd.core.keys.keyset import (
    Keyset,
    KeysetError,
    add_key,
    all_tags,
    ds_rdata,
    initial_keyset,
    key_tag,
    new_key,
    published,
    signing_view,
)
from dnssecd.core.keys.keystate import Role, State
from dnssecd.core.keys.planner import plan_rollover
from tests.unit.core_keys.bench import key_ids

from .bench import APEX, DAY, HOUR, Bench, ksk_zsk, policy, running


def test_tags_and_ds_are_as_dnspython_makes_them() -> None:
    for octets in (32, 57, 64, 96, 260, 261):
        key = new_key("k", Role.KSK, 13, bytes(range(256))[:octets].ljust(octets, b"x"), "local", 0)
        rdata = dns.rdata.from_wire("IN", "DNSKEY", key.rdata, 0, len(key.rdata))
        assert key_tag(key.rdata) == key.tag == dns.dnssec.key_id(rdata)
        for name, digest in (("SHA256", 2), ("SHA384", 4)):
            assert ds_rdata(APEX, key.rdata, digest) == dns.dnssec.make_ds("example.", rdata, name).to_wire()


def test_a_key_whose_tag_another_has_is_refused_also_when_revoked() -> None:
    first = new_key("a", Role.KSK, 13, bytes(64), "local", 0)
    keyset = add_key(Keyset(APEX), first)
    same_tag = new_key("b", Role.KSK, 13, b"\0\1" + b"\xff\xfe" + bytes(60), "local", 0)
    other = next(
        new_key("b", Role.KSK, 13, number.to_bytes(64), "local", 0)
        for number in range(1, 1 << 20)
        if new_key("b", Role.KSK, 13, number.to_bytes(64), "local", 0).tag in all_tags(first) - {first.tag}
    )
    assert same_tag.tag == first.tag
    for clash in (same_tag, other):
        with pytest.raises(KeysetError, match="key tag"):
            add_key(keyset, clash)
    with pytest.raises(KeysetError, match="public key of another"):
        add_key(keyset, new_key("c", Role.ZSK, 13, bytes(64), "local", 0))
    with pytest.raises(KeysetError, match="already"):
        add_key(keyset, first)


def test_the_store_gets_back_what_it_wrote() -> None:
    bench = running(ksk_zsk(), standby_ksk=True, rfc5011=True)
    text = msgspec.json.encode(bench.keyset)
    assert msgspec.json.decode(text, type=Keyset) == bench.keyset
    assert msgspec.convert(msgspec.to_builtins(bench.keyset), Keyset) == bench.keyset


def test_the_initial_keyset_is_what_the_planner_makes_of_the_same_keys() -> None:
    bench = Bench(policy())
    bench.step()
    keys = tuple(
        new_key(key.key_id, key.role, key.algorithm, key.public_key, key.keystore, bench.now)
        for key in bench.keyset.keys
    )
    made = published(initial_keyset(APEX, keys, bench.now), bench.serial, bench.now)
    assert signing_view(made) == signing_view(bench.keyset)
    plan = plan_rollover(made, bench.policy, bench.counted(), bench.now)
    assert not plan.republish
    assert {key.dnskey.state for key in plan.keyset.keys} == {State.RUMOURED}


def test_cds_are_signed_by_the_keys_that_sign_the_dnskey_rrset() -> None:
    """RFC 7344 section 4.1."""
    bench = running()
    view = signing_view(bench.keyset)
    assert [key.key_id for key in view.cds_keys] == list(key_ids(view.dnskey_keys))
    assert signing_view(bench.keyset, cds=False).cds == ()


def test_cds_have_every_algorithm_that_zone_data_has() -> None:
    """Before its keys are published a new algorithm's ZSK signs CDS; from then on its KSK does."""
    bench = running(ksk_zsk(8))
    bench.policy = policy(ksk_zsk(13))
    bench.step()
    assert cds_signers(bench) == [(8, Role.KSK), (13, Role.ZSK)]
    bench.secondaries_follow()
    bench.wait(DAY + HOUR)
    assert cds_signers(bench) == [(8, Role.KSK), (13, Role.KSK)]


def cds_signers(bench: Bench) -> list[tuple[int, Role]]:
    roles = {key.key_id: key.role for key in bench.keyset.keys}
    return sorted((key.algorithm, roles[key.key_id]) for key in signing_view(bench.keyset).cds_keys)


def test_a_compact_key_set_is_equal_and_keeps_equal_states_once() -> None:
    bench = running(ksk_zsk())
    keyset = msgspec.msgpack.decode(msgspec.msgpack.encode(bench.keyset), type=Keyset)
    compact = keyset.compact()
    assert compact == keyset
    states = [state for key in compact.keys for state in (key.dnskey, key.zrrsig, key.krrsig, key.ds)]
    assert len({id(state) for state in states}) == len(set(states))


def test_compact_key_sets_of_zones_with_one_policy_share_what_is_equal() -> None:
    encoded = msgspec.msgpack.encode(running(ksk_zsk()).keyset)
    one, other = (msgspec.msgpack.decode(encoded, type=Keyset).compact() for _ in range(2))
    assert one == other
    for name in ("born", "ttl_dnskey", "ttl_zone", "ttl_ds"):
        assert getattr(one, name) is getattr(other, name)
    for mine, theirs in zip(one.keys, other.keys, strict=True):
        assert mine.keystore is theirs.keystore
        assert (mine.dnskey is theirs.dnskey, mine.zrrsig is theirs.zrrsig) == (True, True)
        assert mine.public_key == theirs.public_key
