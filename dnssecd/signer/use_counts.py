"""What is only counted in the audit log: uses of keys, and what a client can have happen again and again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from dnssecd.signer.audit import AuditLog
from dnssecd.signer.warnings import WarningBook

REPEATED_LISTED_MAX = 50


class UseCounts:
    """See the module. `flush` is to be called once a minute, and at the end."""

    def __init__(self, audit_log: AuditLog, warnings: WarningBook) -> None:
        self._audit = audit_log
        self._warnings = warnings
        self._uses: Counter[str] = Counter()
        self._repeated: Counter[tuple[str, tuple[tuple[str, str | int], ...]]] = Counter()

    def note_signatures(self, key_id: str, number: int) -> None:
        """Count signatures of a key."""
        self._uses[key_id] += number

    def note(self, event: str, **fields: str | int) -> None:
        """Write the first of an event at once, the others as a number a minute."""
        case = event, tuple(fields.items())
        if case not in self._repeated and len(self._repeated) >= REPEATED_LISTED_MAX:
            case = event, (("others", 1),)
        if case not in self._repeated:
            self._audit.append(event, **dict(case[1]))
        self._repeated[case] += 1

    def flush(self) -> None:
        """Write all that is only counted."""
        self._report_faults(self._flush_repeated, self._flush_uses)

    def flush_uses(self) -> None:
        """Write how often each key was used since the last time."""
        self._report_faults(self._flush_uses)

    def _report_faults(self, *writers: Callable[[], None]) -> None:
        """Write; what cannot be written is kept, and reported."""
        try:
            for write in writers:
                write()
        except OSError as error:
            self._warnings.add("audit log failing", str(self._audit.path), str(error))
        else:
            self._warnings.clear("audit log failing", str(self._audit.path))

    def _flush_uses(self) -> None:
        for key_id in list(self._uses):
            self._audit.append("used", key=key_id, signatures=self._uses[key_id])
            del self._uses[key_id]

    def _flush_repeated(self) -> None:
        for case, count in list(self._repeated.items()):
            event, fields = case
            if count > 1:
                self._audit.append(f"{event} again", **dict(fields), times=count - 1)
            del self._repeated[case]
