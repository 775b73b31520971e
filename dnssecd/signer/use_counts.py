"""What is only counted in the audit log: uses of keys, and what a client can have happen again and again.

The counts of many keys are written in pieces, each of which waits for the disk once: a wait for each key, of thousands
that were used in a minute, would keep all requests waiting for that long.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

from dnssecd.signer.audit import AuditLog
from dnssecd.signer.warnings import WarningBook

REPEATED_LISTED_MAX = 50
#: Keys whose counts are written together.
PIECE_KEYS = 200


class UseCounts:
    """See the module. `flush_in_turns` is to be called once a minute, `flush` at the end."""

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
        all(map(self._reported, self._writers()))

    async def flush_in_turns(self) -> None:
        """Write all that is only counted; requests are answered in between."""
        for write in self._writers():
            if not self._reported(write):
                break
            await asyncio.sleep(0)

    def flush_uses_of(self, key_id: str) -> None:
        """Write how often a key was used since the last time: its zones change, or it goes."""
        if key_id in self._uses:
            self._reported(partial(self._write_uses, [key_id]))

    def _writers(self) -> Iterator[Callable[[], None]]:
        yield self._flush_repeated
        keys = iter(list(self._uses))
        while piece := list(islice(keys, PIECE_KEYS)):
            yield partial(self._write_uses, piece)

    def _reported(self, write: Callable[[], None]) -> bool:
        """Write; what cannot be written is kept, and reported. Return whether it was written."""
        try:
            write()
        except OSError as error:
            self._warnings.add("audit log failing", str(self._audit.path), str(error))
            return False
        self._warnings.clear("audit log failing", str(self._audit.path))
        return True

    def _write_uses(self, keys: list[str]) -> None:
        counted: list[dict[str, str | int]] = [
            {"key": one, "signatures": self._uses[one]} for one in keys if one in self._uses
        ]
        if counted:
            self._audit.append_all("used", counted)
        for one in keys:
            del self._uses[one]  # of a Counter: no error when it was written meanwhile

    def _flush_repeated(self) -> None:
        for case, count in list(self._repeated.items()):
            event, fields = case
            if count > 1:
                self._audit.append(f"{event} again", **dict(fields), times=count - 1)
            del self._repeated[case]
