"""A key that several zones of another signer share is brought in once and bound to each."""

from __future__ import annotations

import msgspec
import pytest

from dnssecd.cli.common import Bad
from dnssecd.cli.foreignkeys import Found, _brought_in
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys.keystate import Role
from dnssecd.keyservice_client.errors import KeyExists
from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.migration.foreign import ForeignKey

FIRST, SECOND = text_to_wire("first.example."), text_to_wire("second.example.")
KEY = ForeignKey(SECOND, Role.KSK, 257, 13, b"public", source="list:1")


class Service:
    """The key service's client, as far as it is asked: it has the key of another zone."""

    def __init__(self, role: str = "ksk") -> None:
        self.info = msgspec.convert(
            {
                "id": "0a", "store": "local", "zones": (FIRST,), "role": role, "algorithm": 13, "bits": 256,
                "flags": 257, "dnskey": KEY.rdata, "tag": KEY.tag, "revoked_tag": 0, "created": 1,
            },
            KeyInfo,
        )  # fmt: skip

    def keys(self, zone: bytes = b"") -> list[KeyInfo]:
        return [self.info] if zone in (b"", *self.info.zones) else []

    def import_key(self, *_: object, **__: object) -> KeyInfo:
        raise KeyExists("that key is in key store local already")

    def bind(self, zone: bytes, key_id: str) -> KeyInfo:
        assert key_id == self.info.id
        self.info = msgspec.structs.replace(self.info, zones=(*self.info.zones, zone))
        return self.info


def bring(service: Service, *, share: bool) -> KeyInfo:
    return _brought_in(service, Found(KEY, b"private"), "local", share=share)  # type: ignore[arg-type]


def test_a_shared_key_is_bound() -> None:
    service = Service()
    assert bring(service, share=True).zones == (FIRST, SECOND)
    assert bring(service, share=True).zones == (FIRST, SECOND), "asking twice is asking once"


def test_only_where_the_policy_shares_keys() -> None:
    with pytest.raises(Bad, match=r"list:1: key \d+ is also a key of first.example."):
        bring(Service(), share=False)


def test_not_in_another_role() -> None:
    with pytest.raises(Bad, match="with another role"):
        bring(Service("csk"), share=True)
