"""Signalling names (RFC 9615): CDS and CDNSKEY of zones without a DS, in the zone of their name servers.

A parent that bootstraps DNSSEC finds them at ``_dsboot.CHILD._signal.SERVER`` and trusts them by the chain of the
server's zone. They are written by dynamic updates that the daemon makes itself, so they stay when a zone file is
loaded, and are signed, verified and transferred as all data. They are removed when the parent has the DS.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from ipaddress import ip_address

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.update
import structlog
from msgspec import Struct

from dnssecd.clock import Clock
from dnssecd.core.dns.message import NOERROR, parse
from dnssecd.core.dns.names import (
    APEX,
    is_subdomain,
    key_labels,
    lower,
    owner_key,
    subtree_end,
    text_to_wire,
    wire_to_text,
)
from dnssecd.core.dns.rrset import RRset, unpack
from dnssecd.core.dns.rrtypes import CDNSKEY, CDS, NS
from dnssecd.core.parent.security import Word
from dnssecd.core.zone.zoneview import ZoneView
from dnssecd.daemon.zones import outlook
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.specs import SIGNALLING_KEY
from dnssecd.daemon.zones.zone import FrontZone, ZoneGone
from dnssecd.server.interfaces import Request, ServedZone, Verdict
from dnssecd.store.errors import StoreError

#: Seconds between two looks at what changed; zones for each look: whose databases are read, whose security is judged.
LOOK_S = 1.0
BATCH = 50
JUDGED_MAX = 200
#: What failed is tried again after this long.
RETRY_S = 60.0
_BOOT, _SIGNAL = b"\x07_dsboot", b"\x07_signal"
_NAME_MAX = 255
_HERE = ip_address("127.0.0.1")
_TYPES = (CDS, CDNSKEY)
#: The DS is missing at the parent.
_WITHOUT_DS = frozenset({Word.INSECURE, Word.DS_DUE})

Handler = Callable[[ServedZone, Request], Awaitable[int | Verdict]]
Records = dict[int, RRset]

log = structlog.get_logger("dnssecd.signalling")


class Child(Struct, frozen=True):
    """What a zone offers: its CDS and CDNSKEY, and its name servers (wire names, lower-cased)."""

    records: Records
    servers: frozenset[bytes]


class Signalling:
    """Keeps the signalling records of all zones. Methods belong to the event loop's thread.

    update: carries out a dynamic update (server.interfaces.Handler).
    """

    def __init__(
        self, zones: Mapping[str, FrontZone], update: Handler, clock: Clock, mailbox: Mailbox
    ) -> None:
        self._zones, self._update, self._clock = zones, update, clock
        #: Zones to look at; those that were looked at, by what was known of their security; removed ones.
        self._changed: dict[FrontZone, None] = {}
        self._waiting: dict[FrontZone, Word] = {}
        self._removed: list[bytes] = []
        self._failed: dict[FrontZone, None] = {}
        self._failed_removals: list[bytes] = []
        self._retry_at = 0.0
        #: Zones with signalling names whose records of zones that are gone were removed.
        self._swept: set[FrontZone] = set()
        mailbox.published.subscribe(self._note)
        mailbox.committed.subscribe(lambda zone, *_: self._note(zone))
        mailbox.removed.subscribe(self._forget)
        mailbox.configured.subscribe(self._note_all)

    def _note(self, zone: FrontZone) -> None:
        self._changed[zone] = None

    def _note_all(self) -> None:
        self._swept.clear()
        for zone in self._zones.values():
            self._note(zone)

    def _forget(self, zone: FrontZone) -> None:
        self._changed.pop(zone, None)
        self._waiting.pop(zone, None)
        self._failed.pop(zone, None)
        self._swept.discard(zone)
        self._removed.append(zone.origin)

    async def run(self) -> None:
        """Look again and again."""
        self._note_all()
        while True:
            await asyncio.sleep(LOOK_S)
            hosts = [zone for zone in self._zones.values() if zone.config.signalling]
            if hosts:
                await self._look(hosts)
            else:
                self._removed.clear()

    async def _look(self, hosts: list[FrontZone]) -> None:
        self._judge_waiting()
        self._retry()
        hosts = [host for host in hosts if host.serial is not None and not host.gone]
        for host in hosts:
            if host not in self._swept:
                self._swept.add(host)
                await self._sweep(host)
        removed, self._removed = self._removed, []
        for origin in removed:
            await self._remove(origin, hosts)
        for child in list(self._changed)[:BATCH]:
            self._changed.pop(child, None)
            await self._signal(child, hosts)

    def _judge_waiting(self) -> None:
        """Look again at zones whose DS came or went; some of the waiting ones at a time."""
        for zone, word in list(self._waiting.items())[:JUDGED_MAX]:
            del self._waiting[zone]
            if outlook.security(zone).word is word:
                self._waiting[zone] = word  # at the end
            else:
                self._note(zone)

    async def _signal(self, child: FrontZone, hosts: list[FrontZone]) -> None:
        """Bring the signalling records of a zone up to date."""
        if child.gone or child.serial is None:
            return
        word = outlook.security(child).word
        if word is Word.UNKNOWN:
            self._waiting[child] = word  # what is there stays, as the parent was not seen yet
            return
        try:
            offered = await asyncio.to_thread(_read, child) if word in _WITHOUT_DS else None
        except (StoreError, ZoneGone, OSError) as error:
            log.warning("signalling records are not checked", zone=child.name, cause=str(error))
            offered = None
        self._waiting[child] = word
        for host in hosts:
            if not await self._put(host, child.origin, offered):
                self._failed[child] = None

    async def _remove(self, child: bytes, hosts: list[FrontZone]) -> None:
        """Remove the records of a zone that is gone."""
        for host in hosts:
            if not await self._put(host, child, None):
                self._failed_removals.append(child)
                return

    def _retry(self) -> None:
        now = self._clock.monotonic()
        if now >= self._retry_at:
            self._retry_at = now + RETRY_S
            self._changed.update(self._failed)
            self._removed += self._failed_removals
            self._failed, self._failed_removals = {}, []

    async def _put(self, host: FrontZone, child: bytes, offered: Child | None) -> bool:
        """Write a child's records below each server of a zone, or remove them; tell whether that succeeded."""
        done = True
        for text in host.config.signalling:
            server = text_to_wire(text)
            name = signalling_name(child, server)
            if name is None:
                continue
            wanted = offered.records if offered is not None and server in offered.servers else {}
            done &= await self._replace(host, name, wanted)
        return done

    async def _replace(self, host: FrontZone, name: bytes, wanted: Records) -> bool:
        owner = owner_key(name, host.origin)
        try:
            held = await asyncio.to_thread(_held, host, owner)
        except (StoreError, ZoneGone, OSError) as error:
            log.warning("signalling records cannot be read", zone=host.name, cause=str(error))
            return False
        if held == {rtype: frozenset(unpack(rrset.rdata)) for rtype, rrset in wanted.items()}:
            return True
        wire = update_wire(host.origin, name, wanted)
        request = Request(wire, parse(wire), SIGNALLING_KEY, _HERE, "tcp", int(self._clock.now()))
        verdict = await self._update(host, request)
        rcode = verdict if isinstance(verdict, int) else verdict.rcode
        shown = wire_to_text(name)
        if rcode == NOERROR:
            log.info("signalling records changed", zone=host.name, name=shown, present=bool(wanted))
        else:
            log.warning("signalling records not changed", zone=host.name, name=shown, rcode=rcode)
        return bool(rcode == NOERROR)

    async def _sweep(self, host: FrontZone) -> None:
        """Remove records of zones that are not served here any more: they were removed while dnssecd was down."""
        known = {zone.origin for zone in self._zones.values()}
        try:
            children = await asyncio.to_thread(_signalled, host)
        except (StoreError, ZoneGone, OSError) as error:
            log.warning("signalling records cannot be read", zone=host.name, cause=str(error))
            return
        for child in children - known:
            await self._remove(child, [host])


def signalling_name(child: bytes, server: bytes) -> bytes | None:
    """Return ``_dsboot.CHILD._signal.SERVER``, wire form; None if it is too long or cannot be used.

    RFC 9615 §2: a server inside the child gives no authenticated path to its records.
    """
    name = _BOOT + child[:-1] + _SIGNAL + server
    return None if is_subdomain(server, child) or len(name) > _NAME_MAX else name


def child_of(owner: bytes, server: bytes) -> bytes | None:
    """Return the child of a signalling name (owner key) below a server's owner key; None if it is not one."""
    labels = key_labels(owner)[len(key_labels(server)) :]
    if len(labels) < 3 or labels[0] != _SIGNAL[1:] or labels[-1] != _BOOT[1:]:
        return None
    return b"".join(bytes((len(label),)) + label for label in reversed(labels[1:-1])) + b"\0"


def update_wire(zone: bytes, name: bytes, wanted: Records) -> bytes:
    """Return the UPDATE that replaces CDS and CDNSKEY at a name."""
    owner = dns.name.from_wire(name, 0)[0]
    message = dns.update.UpdateMessage(dns.name.from_wire(zone, 0)[0])
    for rtype in _TYPES:
        message.delete(owner, dns.rdatatype.RdataType(rtype))
    for rtype, rrset in wanted.items():
        for rdata in unpack(rrset.rdata):
            record = dns.rdata.from_wire(
                dns.rdataclass.IN, dns.rdatatype.RdataType(rtype), rdata, 0, len(rdata)
            )
            message.add(owner, rrset.ttl, record)
    return message.to_wire()


def _read(child: FrontZone) -> Child:
    with child.database.snapshot() as snapshot:
        found = {rtype: snapshot.rrset(APEX, rtype) for rtype in _TYPES}
        servers = snapshot.rrset(APEX, NS)
    names = () if servers is None else unpack(servers.rdata)
    return Child({t: r for t, r in found.items() if r is not None}, frozenset(map(lower, names)))


def _held(host: FrontZone, owner: bytes) -> dict[int, frozenset[bytes]]:
    with host.database.snapshot() as snapshot:
        found = {rtype: snapshot.rrset(owner, rtype) for rtype in _TYPES}
    return {t: frozenset(unpack(r.rdata)) for t, r in found.items() if r is not None}


def _signalled(host: FrontZone) -> set[bytes]:
    with host.database.snapshot() as snapshot:
        return set(_children(snapshot, host))


def _children(view: ZoneView, host: FrontZone) -> Iterator[bytes]:
    for text in host.config.signalling:
        server = owner_key(text_to_wire(text), host.origin)
        for rrset in view.scan(server, subtree_end(server)):
            if rrset.rtype in _TYPES and (child := child_of(rrset.owner, server)) is not None:
                yield child
