"""What is said in the configuration about modules that differ from the rest (`quirks`)."""

from __future__ import annotations

from collections.abc import Collection

#: CKA_IDs are the 32 hexadecimal digits of the key's id as text, not 16 octets: some modules take names only.
TEXT_IDS = "text-ids"
#: Do not send usage flags that are false when a key is made: the module refuses them, or fails.
PLAIN_TEMPLATE = "plain-template"
#: The token does not make keys for dnssecd: they are made with the vendor's tool and bound.
MAKES_NO_KEYS = "makes-no-keys"
#: The module finds objects by class, CKA_ID and label only.
SEARCH_BY_ID = "search-by-id"


def cka_id(key_id: str, quirks: Collection[str]) -> str:
    """Return the CKA_ID, in hex, to give to the key with this id."""
    return key_id.encode().hex() if TEXT_IDS in quirks else key_id


def first_recipe(quirks: Collection[str]) -> int:
    """Return the number of the first recipe to try; see `recipes`."""
    return 1 if PLAIN_TEMPLATE in quirks else 0
