"""Whether the directory of a software store is there: it may be on a medium that is absent between uses.

When the directory comes, its keys are read, and removals that a crash cut short are completed. When a medium goes, its
keys are forgotten. An operator is asked for a medium that is needed, and reminded of one that is not.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import structlog

from dnssecd.signer.errors import ServiceError, Unavailable
from dnssecd.signer.key_directory import KeyDirectory
from dnssecd.signer.now import Now
from dnssecd.signer.registry import Registry
from dnssecd.signer.software_open import OpenKeys
from dnssecd.signer.trash import Trashed
from dnssecd.signer.warnings import WarningBook

WATCH_S = 0.5
IDLE_S = 300.0
STILL_THERE_S = 3600.0

log = structlog.get_logger()


class Medium:
    """See the module. `is_busy` says whether signatures wait to be made."""

    def __init__(
        self,
        store: str,
        directory: KeyDirectory,
        registry: Registry,
        keys: OpenKeys,
        warnings: WarningBook,
        now: Now,
        is_busy: Callable[[], bool],
    ) -> None:
        self._store = store
        self._directory, self._registry, self._keys = directory, registry, keys
        self._warnings = warnings
        self._now = now
        self._is_busy = is_busy
        self._was_present = False
        self._present_since = 0.0
        self.last_used = 0

    @property
    def removable(self) -> bool:
        """Whether the directory may be absent between uses."""
        return self._directory.removable

    def is_present(self) -> bool:
        """Return whether the directory is there; notice that it has come or gone."""
        present = self._directory.present()
        if present != self._was_present:
            self._was_present = present
            self._warnings.clear("media needed" if present else "media present", self._store)
            if present:
                self._present_since = self._now()
                self._read_keys()
            elif self.removable:
                self._keys.forget()
        return present

    def _read_keys(self) -> None:
        """Enter the keys that are there. What a full disk or the end of a medium prevents must not stop signing."""
        trash = self._registry.trash
        for record in trash.all():
            with self._reported("a removed key cannot be put away", record.key.id):
                self._directory.put_away(record.key.id)
        for key in self._directory.list_trash():
            if trash.get(key.id) is None:  # the key service's state was lost: its time begins now
                with self._reported("a removed key cannot be entered in the trash", key.id):
                    trash.put(Trashed(key, int(self._now()), os.geteuid()))
        for key in self._directory.scan():
            if trash.get(key.id) is None and (why := self._registry.recognize(key)):
                log.warning("a key is not in the list of keys", store=self._store, key=key.id, error=why)

    @contextmanager
    def _reported(self, what: str, key_id: str) -> Iterator[None]:
        try:
            yield
        except (ServiceError, OSError) as error:
            log.warning(what, store=self._store, key=key_id, error=str(error))

    def must_be_present(self) -> None:
        """Note that the keys are needed now: Unavailable, and reported, while the directory is not there."""
        if self.is_present():
            self.note_use()
            self._warnings.clear("media present", self._store)
            return
        if self.removable:
            self._warnings.add("media needed", self._store, self._directory.absent_text())
        raise Unavailable(self._directory.absent_text())

    def note_use(self) -> None:
        """Note that a key is used now."""
        self.last_used = int(self._now())

    async def watch(self) -> None:
        """Notice when the medium comes and goes, and report when it may go, until cancelled."""
        while True:
            if self.is_present():
                self.report_idle()
            await asyncio.sleep(WATCH_S)

    def report_idle(self) -> None:
        """Report a medium that is there although it is not needed."""
        idle_s = self._now() - max(self.last_used, self._present_since)
        if idle_s < IDLE_S or self._is_busy():
            return
        still = "is still there" if idle_s > STILL_THERE_S else "can be removed now"
        since = datetime.fromtimestamp(self._now() - idle_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
        detail = f"key medium {self._directory.path}, not needed since {since}, {still}"
        self._warnings.add("media present", self._store, detail)
