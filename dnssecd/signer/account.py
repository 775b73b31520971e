"""The audit log's entries for changes of keys: each is written before the change is made.

So no key comes, goes or is given out without an entry, also on a full disk. A change that fails after its entry is
followed by an entry `undone`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from dnssecd.signer import algorithms
from dnssecd.signer.audit import AuditLog
from dnssecd.signer.key_file import Description
from dnssecd.signer.keystore import Account, AccountAll, Keystore
from dnssecd.signer.preimage import zone_text


class ChangeLog:
    """See the module. `by` is the user who asked for the change, as a number."""

    def __init__(self, audit_log: AuditLog) -> None:
        self._audit = audit_log

    @contextmanager
    def change(self, event: str, store: Keystore, by: int) -> Iterator[Account]:
        """Give out the function that writes the entry of a change; a failure after that is written too."""
        written: list[str] = []

        def account(key: Description) -> None:
            self._audit.append(event if key.dnskey else f"to be {event}", **_fields(store, key, by))
            written.append(key.id)

        with self._undone_on_failure(lambda: written[-1:], by):
            yield account

    @contextmanager
    def changes(self, event: str, store: Keystore, by: int) -> Iterator[AccountAll]:
        """Do the same for several keys that exist in memory, whose entries are written together."""
        written: dict[str, None] = {}

        def account(keys: Sequence[Description]) -> None:
            self._audit.append_all(event, [_fields(store, key, by) for key in keys])
            written.update(dict.fromkeys(key.id for key in keys))

        with self._undone_on_failure(lambda: list(written), by):
            yield account

    @contextmanager
    def change_of_binding(self, event: str, key: Description, zone: bytes, by: int) -> Iterator[None]:
        """Write the entry of a binding or its end; a failure after that is written too."""
        self._audit.append(event, key=key.id, zone=zone_text(zone), by=by)
        with self._undone_on_failure(lambda: [key.id], by):
            yield

    @contextmanager
    def _undone_on_failure(self, key_ids: Callable[[], list[str]], by: int) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            for changed in key_ids():
                with suppress(
                    OSError
                ):  # on a full disk the entry before stands alone: it says too much, not too little
                    self._audit.append("undone", key=changed, why=type(error).__name__, by=by)
            raise


def _fields(store: Keystore, key: Description, by: int) -> dict[str, str | int]:
    """Return the fields of an entry; a key that is still to be made in a token has no tag."""
    fields: dict[str, str | int] = {
        "key": key.id,
        "zone": zone_text(key.zones[0]),
        "role": key.role,
        "algorithm": key.algorithm,
        "store": store.name,
    }
    if key.dnskey:
        fields["tag"] = algorithms.key_tag(key.dnskey)
    fields["by"] = by
    return fields
