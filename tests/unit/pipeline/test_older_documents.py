"""Key sets that version 0.1 stored: read with nothing lost, and planned with as before.

``golden/keysets_0.1.json``: written by a daemon of that version: RFC 5011 with a standby KSK and a revocation that was
asked for, a ZSK rollover in progress, a KSK that was replaced because it was compromised.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from dnssecd.core.keys.keyset import signing_view
from dnssecd.pipeline.version.state import keyset_from, to_document

STORED = json.loads((Path(__file__).parent / "golden" / "keysets_0.1.json").read_text())


def lacking(old: Any, new: Any) -> list[str]:
    """Return the fields of an old document that a new one has not, or has with another value."""
    if isinstance(old, dict):
        found = [[name] if name not in new else lacking(old[name], new[name]) for name in old]
        return [name for names in found for name in names]
    if isinstance(old, list):
        if len(old) != len(new):
            return [repr(old)]
        return [name for pair in zip(old, new, strict=True) for name in lacking(*pair)]
    return [] if old == new else [repr(old)]


@pytest.mark.parametrize("name", STORED)
def test_a_stored_key_set_keeps_every_field(name: str) -> None:
    keyset = keyset_from(STORED[name])
    assert keyset is not None
    assert lacking(STORED[name], to_document(keyset)) == []


@pytest.mark.parametrize("name", STORED)
def test_an_old_key_set_has_nothing_of_what_came_later(name: str) -> None:
    keyset = keyset_from(STORED[name])
    assert keyset is not None
    assert not keyset.past
    assert not keyset.no_cds
    assert not any(key.lost or key.foreign for key in keyset.keys)
    view = signing_view(keyset)
    assert view.dnskey_keys
    assert view.zone_keys
    assert not view.lost_keys
    assert not view.soa_keys
