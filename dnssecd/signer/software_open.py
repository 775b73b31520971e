"""The keys of a software store that are in memory, and why others cannot be opened.

A key that is ready to sign takes 3 KiB, and a third of a kibibyte as PKCS#8. So only the keys used last are ready; the
others are made ready when they sign next, which takes some 15 us (P-256). No file is read for that.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple, cast

from cryptography.hazmat.primitives.serialization import load_der_private_key

from dnssecd.signer import algorithms
from dnssecd.signer.algorithms import PrivateKey, Sign
from dnssecd.signer.errors import MissingKey, ServiceError
from dnssecd.signer.key_directory import KeyDirectory
from dnssecd.signer.key_file import Description
from dnssecd.signer.software_pool import SigningProcesses
from dnssecd.signer.software_worker import KeyCall, key_call
from dnssecd.signer.warnings import WarningBook

#: This many keys are ready to sign.
READY_MAX = 512


class Opened(NamedTuple):
    """A key that is ready to sign: what signs with it here, and what hands it to a process."""

    key_id: str
    sign: Sign
    call: KeyCall


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
        #: All keys in memory, and those of them that are ready, the one used last at the end.
        self._calls: dict[str, KeyCall] = {}
        self._ready: OrderedDict[str, Opened] = OrderedDict()
        self._lock = threading.Lock()
        self._faults: dict[str, str] = {}

    def has(self, key_id: str) -> bool:
        """Tell whether a key is in memory."""
        return key_id in self._calls

    def get(self, key_id: str) -> Opened | None:
        """Return a key that is in memory, ready to sign; None if it is not there."""
        with self._lock:
            ready = self._ready.get(key_id)
            if ready is not None:
                self._ready.move_to_end(key_id)
                return ready
            call = self._calls.get(key_id)
            # It was checked when it was put here.
            return None if call is None else self._make_ready(key_id, call, _private_of(call))

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
        call = key_call(key.algorithm, self._deterministic, private)
        with self._lock:
            self._calls[key.id] = call
            self._make_ready(key.id, call, private)

    def _make_ready(self, key_id: str, call: KeyCall, private: PrivateKey) -> Opened:
        kind = algorithms.ALGORITHMS[call.algorithm]
        sign = algorithms.signer(kind, private, deterministic=call.deterministic)
        self._ready[key_id] = made = Opened(key_id, sign, call)
        self._ready.move_to_end(key_id)
        while len(self._ready) > READY_MAX:
            self._ready.popitem(last=False)
        return made

    def drop(self, key_id: str) -> None:
        """Forget a key."""
        self._processes.end()
        with self._lock:
            self._calls.pop(key_id, None)
            self._ready.pop(key_id, None)

    def forget(self) -> None:
        """Forget all keys, and the passphrases."""
        self._processes.end()
        with self._lock:
            self._calls.clear()
            self._ready.clear()
        self._faults.clear()
        self._directory.forget()


def _private_of(call: KeyCall) -> PrivateKey:
    return cast(PrivateKey, load_der_private_key(call.private, None, unsafe_skip_rsa_key_validation=True))
