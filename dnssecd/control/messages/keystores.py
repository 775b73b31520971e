"""Key stores: ``keystore.list``, ``keystore.test``, ``keystore.bench``."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from dnssecd.control.messages.base import Answer, Request, Seconds
from dnssecd.control.messages.keys import AlgorithmNumber
from dnssecd.keyservice_protocol import StoreStatus as StoreStatus
from dnssecd.keyservice_protocol import Warning

StoreName = Annotated[str | None, Meta(description="name of a key store; null: all")]


class KeyStores(Answer, frozen=True, kw_only=True):
    """All key stores and their state."""

    stores: list[StoreStatus]
    warnings: list[Warning]


class ListKeyStores(Request[KeyStores], frozen=True, kw_only=True):
    """List all key stores, their tokens and their state."""

    command: ClassVar[str] = "keystore.list"


class StoreTest(Answer, frozen=True, kw_only=True):
    """The result of a test of one key store with one algorithm."""

    keystore: str
    algorithm: Annotated[str, Meta(description="name of the algorithm")]
    ok: bool
    detail: str


class StoreTests(Answer, frozen=True, kw_only=True):
    """The results of all tests."""

    ok: Annotated[bool, Meta(description="all tests passed")]
    results: list[StoreTest]


class TestKeyStore(Request[StoreTests], frozen=True, kw_only=True):
    """Make a key, sign, verify and destroy it, in each token."""

    __test__: ClassVar[bool] = False  # its name begins as those of tests do

    command: ClassVar[str] = "keystore.test"
    changes: ClassVar[bool] = True
    progress: ClassVar[bool] = True

    keystore: StoreName = None
    algorithm: AlgorithmNumber | None = None


class BenchResult(Answer, frozen=True, kw_only=True):
    """Signatures per second with a number of sessions and a size of batches."""

    keystore: str
    algorithm: Annotated[str, Meta(description="name of the algorithm")]
    sessions: int
    batch: int
    signatures: int
    seconds: Seconds
    per_second: float
    token: str


class Sustained(Answer, frozen=True, kw_only=True):
    """What zones the best rate sustains."""

    zone: Annotated[str, Meta(description="kind of zone")]
    signatures_per_name: float
    million_names_s: Annotated[float | None, Meta(description="seconds for a million names")]
    names_in_an_hour: int
    names_fresh: Annotated[int, Meta(description="names whose signatures are renewed in time")]


class BenchResults(Answer, frozen=True, kw_only=True):
    """All measurements."""

    lines: list[BenchResult]
    sustains: list[Sustained]


class BenchKeyStore(Request[BenchResults], frozen=True, kw_only=True):
    """Measure signatures per second, with keys made for the measurement."""

    command: ClassVar[str] = "keystore.bench"
    changes: ClassVar[bool] = True
    progress: ClassVar[bool] = True

    keystore: StoreName = None
    algorithm: AlgorithmNumber | None = None
    seconds: Annotated[Seconds, Meta(description="length of each measurement, 0.1 to 60")] = 1.0
