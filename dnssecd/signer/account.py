"""The audit log's entries for changes of keys: each is written before the change is made.

So no key comes, goes or is given out without an entry, also on a full disk. A change that fails after its entry is
followed by an entry `undone`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from dnssecd.signer import algorithms
from dnssecd.signer.audit import AuditLog
from dnssecd.signer.key_file import Description
from dnssecd.signer.keystore import Account, Keystore
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
            self._note(event, store, key, by)
            written.append(key.id)

        with self._undone_on_failure(lambda: written[-1] if written else "", by):
            yield account

    @contextmanager
    def change_of_binding(self, event: str, key: Description, zone: bytes, by: int) -> Iterator[None]:
        """Write the entry of a binding or its end; a failure after that is written too."""
        self._audit.append(event, key=key.id, zone=zone_text(zone), by=by)
        with self._undone_on_failure(lambda: key.id, by):
            yield

    @contextmanager
    def _undone_on_failure(self, key_id: Callable[[], str], by: int) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if changed := key_id():
                with suppress(
                    OSError
                ):  # on a full disk the entry before stands alone: it says too much, not too little
                    self._audit.append("undone", key=changed, why=type(error).__name__, by=by)
            raise

    def _note(self, event: str, store: Keystore, key: Description, by: int) -> None:
        """Write the entry; a key that is still to be made in a token has no tag."""
        tag = {"tag": algorithms.key_tag(key.dnskey)} if key.dnskey else {}
        self._audit.append(
            event if key.dnskey else f"to be {event}",
            key=key.id,
            zone=zone_text(key.zones[0]),
            role=key.role,
            algorithm=key.algorithm,
            store=store.name,
            **tag,
            by=by,
        )
