"""The keys of a software store that are in memory, and why others cannot be opened."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from dnssecd.signer import algorithms
from dnssecd.signer.algorithms import PrivateKey, Sign
from dnssecd.signer.errors import MissingKey, ServiceError
from dnssecd.signer.key_directory import KeyDirectory
from dnssecd.signer.key_file import Description
from dnssecd.signer.software_pool import SigningProcesses
from dnssecd.signer.software_worker import KeyCall, key_call
from dnssecd.signer.warnings import WarningBook


class Opened(NamedTuple):
    """A key in memory: what signs with it here, and what hands it to a process."""

    key_id: str
    sign: Sign
    call: Callable[[], KeyCall]


class OpenKeys:
    """See the module. Signing processes know keys, too: they end when a key is to be forgotten."""

    def __init__(
        self,
        directory: KeyDirectory,
        processes: SigningProcesses,
        warnings: WarningBook,
        *,
        deterministic: bool,
    ) -> None:
        self._directory = directory
        self._processes = processes
        self._warnings = warnings
        self._deterministic = deterministic
        self._opened: dict[str, Opened] = {}
        self._faults: dict[str, str] = {}

    def get(self, key_id: str) -> Opened | None:
        """Return a key that is in memory."""
        return self._opened.get(key_id)

    def fault_of(self, key_id: str) -> str:
        """Return why a key could not be opened when it was tried last, or ""."""
        return self._faults.get(key_id, "")

    def load(self, key: Description) -> None:
        """Open a key; the reason why it cannot be opened is remembered for listings, and reported."""
        try:
            self.put(key, self._directory.read(key))
        except MissingKey as error:
            self._warnings.add("key missing", key.id, str(error))
            raise
        except ServiceError as error:
            self._faults[key.id] = str(error)
            self._warnings.add("key not usable", key.id, str(error))
            raise
        self._faults.pop(key.id, None)
        self._warnings.clear("key not usable", key.id)
        self._warnings.clear("key missing", key.id)

    def put(self, key: Description, private: PrivateKey) -> None:
        """Keep a key in memory."""
        kind = algorithms.ALGORITHMS[key.algorithm]
        sign = algorithms.signer(kind, private, deterministic=self._deterministic)
        call = partial(key_call, key.algorithm, self._deterministic, private)
        self._opened[key.id] = Opened(key.id, sign, call)

    def drop(self, key_id: str) -> None:
        """Forget a key."""
        self._processes.end()
        self._opened.pop(key_id, None)

    def forget(self) -> None:
        """Forget all keys, and the passphrases."""
        self._processes.end()
        self._opened.clear()
        self._faults.clear()
        self._directory.forget()
