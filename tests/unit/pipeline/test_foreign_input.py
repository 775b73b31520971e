"""DNSKEYs of the input that no verifier can use stay out of the key set; all others join."""

import pytest

from dnssecd.core.keys.keyset import Keyset, dnskey_rdata, initial_keyset, new_key
from dnssecd.core.keys.keystate import Role
from dnssecd.core.verify.keys import ZoneKey
from dnssecd.pipeline.jobs.foreign_input import follow_usable_input, with_input_keys
from dnssecd.pipeline.version.rejected import Rejected
from tests.unit.core_ceremony.world import A, B

NOW = 1_796_000_000
RSA = bytes((3, 1, 0, 1)) + bytes([255]) * 256
ED25519 = bytes(32)


def two_algorithms() -> Keyset:
    """Return a key set of ours with ECDSA and RSA, so that foreign keys of both may join."""
    keys = (
        new_key("a", Role.CSK, 13, A.public, "local", NOW),
        new_key("b", Role.CSK, 8, RSA, "local", NOW),
        new_key("c", Role.CSK, 15, ED25519, "local", NOW),
    )
    return initial_keyset(b"\x07example\x00", keys, NOW)


@pytest.mark.parametrize(
    ("algorithm", "public"),
    [
        (13, b"\x01"),
        (13, bytes(64)),
        (13, B.public + b"\x00"),
        (8, b"\x03\x01"),
        (8, b"\x00\x00\x00"),
        (8, bytes((200,)) + b"a" * 20),
        (8, RSA[:4] + bytes([255]) * 4096),
        (15, bytes(31)),
    ],
)
def test_a_key_that_cannot_be_decoded_stays_out_and_the_others_join(algorithm: int, public: bytes) -> None:
    bad = dnskey_rdata(256, algorithm, public)
    after, refused = follow_usable_input(two_algorithms(), (bad, B.rdata), NOW)
    assert [key.rdata for key in after.keys if key.foreign] == [B.rdata]
    assert len(refused) == 1
    assert str(ZoneKey(bad).tag) in refused[0]
    with pytest.raises(Rejected, match="of the input"):
        with_input_keys(two_algorithms(), (bad,), NOW)


def test_a_malformed_key_that_joined_before_is_asked_to_leave() -> None:
    joined, _ = follow_usable_input(two_algorithms(), (B.rdata,), NOW)
    cut = B.rdata[:-1]
    after, refused = follow_usable_input(joined, (cut,), NOW)
    assert refused
    assert [key.goal.value for key in after.keys if key.foreign] == ["absent"]


def test_of_many_unusable_keys_a_few_are_named() -> None:
    bad = [dnskey_rdata(256, 13, bytes((number,))) for number in range(200)]
    _, refused = follow_usable_input(two_algorithms(), bad, NOW)
    assert len(refused) == 6
    assert refused[-1] == "and 195 more keys"
