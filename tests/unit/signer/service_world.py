"""A key service with one software store, without sockets, on a clock that is set by the test."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from dnssecd import keyservice_protocol as wp
from dnssecd.keyservice_settings import KeyLimits, KeystoreSettings, LimitSettings, SealingSettings
from dnssecd.signer.audit import AuditLog, check
from dnssecd.signer.consent import Consents
from dnssecd.signer.keystore import Keystore
from dnssecd.signer.limits import Reread, never_changes
from dnssecd.signer.peers import Peer
from dnssecd.signer.registry import Registry
from dnssecd.signer.service import Service
from dnssecd.signer.software import SoftwareStore
from dnssecd.signer.warnings import WarningBook
from tests.unit.signer.preimages import wire

ROOT = Peer(0, frozenset({"keeper"}))
DAEMON = Peer(61_001, frozenset({"daemon"}))
ANNA = Peer(2001, frozenset({"officer"}))
BEN = Peer(2002, frozenset({"officer"}))
A, B, C = (wire(f"{letter}.test.") for letter in "abc")
DAY = 86_400
TWO_PERSON = LimitSettings(default=KeyLimits(two_person=True))
PASSPHRASE = b"a long passphrase"


class Bench:
    """The service. `step` lets time pass on both of its clocks."""

    seals_files = True

    def __init__(
        self,
        home: Path,
        limits: LimitSettings | None = None,
        reread: Reread = never_changes,
        sealing: SealingSettings | None = None,
    ) -> None:
        self.home, self.sealing = home, sealing
        self.own = False
        self.limits, self.reread = limits or LimitSettings(), reread
        self.time = 1_900_000_000
        self.uptime = 0.0

    def now(self) -> float:
        return float(self.time)

    def step(self, seconds: int) -> None:
        self.time += seconds
        self.uptime += seconds

    async def open(self) -> None:
        self.warnings = WarningBook(self.now, lambda code, subject, detail: None)
        settings = KeystoreSettings(
            name="local",
            type="software",
            directory=str(self.home / "keys"),
            sealed=self.seals_files and self.sealing is not None and not self.own,
            own=self.own,
        )
        registry = Registry(self.home / "known", derived=True)
        self.store = SoftwareStore(settings, registry, self.warnings, self.now, threads=1)
        self.stores: list[Keystore] = [self.store, *self.more_stores()]
        for store in self.stores:
            await store.start()
        self.audit = AuditLog(self.home / "audit.log", self.now)
        self.audit.open(lambda why: None)
        self.consents = Consents(self.home / "consent", self.audit, self.warnings, self.now)
        self.consents.load()
        self.service = Service(
            self.stores,
            self.audit,
            self.warnings,
            lambda: asyncio.get_running_loop().time() + self.uptime,
            self.now,
            msgspec.structs.replace(self.limits, sealing=self.sealing or SealingSettings()),
            self.consents,
            self.reread,
        )

    def more_stores(self) -> list[Keystore]:
        """Key stores besides that of files."""
        return []

    async def close(self) -> None:
        for store in self.stores:
            await store.stop()
        self.audit.close()

    async def restart(self) -> None:
        await self.close()
        await self.open()

    async def ask(self, request: wp.Request, peer: Peer = ROOT) -> wp.Reply:
        return await self.service.answer(request, 1, peer)

    async def refused(self, request: wp.Request, peer: Peer = ROOT) -> wp.ErrorReply:
        """The error that answers a request."""
        reply = await self.ask(request, peer)
        assert isinstance(reply, wp.ErrorReply), reply
        return reply

    async def key(self, zone: bytes = A, role: wp.Role = "zsk") -> wp.KeyInfo:
        """A new key, as the daemon has it made."""
        reply = await self.ask(wp.GenerateRequest(1, zone, role, 15, "local"), DAEMON)
        assert isinstance(reply, wp.KeysReply), reply
        return reply.keys[0]

    async def kept(self) -> list[str]:
        """The ids of the keys in use."""
        reply = await self.ask(wp.KeysRequest(1))
        assert isinstance(reply, wp.KeysReply)
        return [key.id for key in reply.keys]

    async def trash(self) -> list[str]:
        """The ids of the keys in the trash."""
        reply = await self.ask(wp.TrashRequest(1))
        assert isinstance(reply, wp.TrashReply)
        return [one.key.id for one in reply.keys]

    def events(self) -> list[tuple[str, str | int]]:
        """Event and key, or request for consent, of each entry of the audit log, which must hold."""
        reply = check(self.home / "audit.log", 1000)
        assert reply.ok, reply.detail
        return [(one.event, one.fields.get("key", one.fields.get("consent", ""))) for one in reply.entries]
