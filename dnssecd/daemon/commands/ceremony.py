"""Commands about off-line KSKs: `ksr export`, `skr import`."""

import asyncio
from typing import Any

from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.ceremonies import (
    ExportRequest,
    ImportResponse,
    ResponseImported,
    SigningRequest,
)
from dnssecd.core.ceremony.accept import LINES_MAX, ResponseRefused
from dnssecd.core.ceremony.bundles import is_bundles, read_bundles_response, write_bundles_request
from dnssecd.core.ceremony.request import SLOTS_MAX, BadDocument, Request, hash_of_file, write_request
from dnssecd.core.ceremony.response import Response, read_response
from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.utc import moment
from dnssecd.daemon.commands.rollover import RolloverCommands
from dnssecd.daemon.rollover.ceremony_request import CannotAsk, Wanted, make_request
from dnssecd.daemon.rollover.engine import STORE_ERRORS, Rollovers
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.pipeline.jobs.ceremony import Import, Imported, count_request, import_response
from dnssecd.pipeline.version.ahead import CeremonyState, read_ceremony, supply_of
from dnssecd.pipeline.version.committed import Committed
from dnssecd.uninterrupted import to_the_end

EXPORT_S = 300.0


class CeremonyCommands:
    """The handlers; one instance per daemon."""

    def __init__(self, rollovers: Rollovers, commands: RolloverCommands, mailbox: Mailbox) -> None:
        self._rollovers, self._commands, self._mailbox = rollovers, commands, mailbox

    def commands(self) -> list[Command[Any]]:
        """Return the commands."""
        return [
            Command(ExportRequest, self.export, timeout=EXPORT_S),
            Command(ImportResponse, self.take_in, timeout=EXPORT_S),
        ]

    async def export(self, call: Call[ExportRequest]) -> SigningRequest:
        """Answer ``ksr.export``: the request of a zone for a period, signed by its ZSKs."""
        asked = call.request
        zone = self._offline_zone(asked.zone)
        now = int(self._rollovers.engine.clock.now())
        start, stop = int(asked.start), int(asked.stop)
        if not start < stop or stop <= now:
            raise Refused("the period ends before it begins, or is over", "give a later --to", exit=2)
        try:
            known = await self._published(zone)
            ceremony = known.ceremony if known is not None else await self._stored(zone)
            evidence = self._evidence(zone, known, ceremony)
            policy = self._rollovers.policy(zone)
            wanted = Wanted(zone, start, stop, known, ceremony, policy, evidence, now)
            made = await make_request(wanted, self._rollovers.engine.signer)
            request = made.request
            _check_size(request)
            await to_the_end(self._count(zone, made.first_zsk, known))
        except CannotAsk as error:
            raise Refused(str(error), error.remedy) from None
        except SignerError as error:
            raise Refused(str(error), "see dnssecd status") from None
        except STORE_ERRORS as error:
            raise Refused(str(error), "see disk space and permissions") from None
        call.note("request made", f"number {request.number}, until {moment(stop)}")
        document = _written(request, asked.form, now)
        digest = request.digest if asked.form == "dnssecd" else hash_of_file(document)
        return SigningRequest(
            zone=zone.name,
            number=request.number,
            digest=digest.hex(),
            document=document,
            notes=_notes(self._rollovers.of(zone).signed_until, request),
        )

    async def take_in(self, call: Call[ImportResponse]) -> ResponseImported:
        """Answer ``skr.import``: verify a response as a whole, then store it."""
        zone = self._offline_zone(call.request.zone)
        now = int(self._rollovers.engine.clock.now())
        try:
            response = await asyncio.to_thread(_read, call.request.document, now)
            held = await self._rollovers.engine.signer.keys(zone.origin)
            zsks = frozenset(info.dnskey for info in held if info.role == "zsk" and info.state != "missing")
            accepted = frozenset(call.request.accept_ksks)
            job = Import(response, zsks, accepted, call.caller.user, now)
            done = await to_the_end(self._import(zone, job))
        except BadDocument as error:
            what = f"this is not a response of a ceremony: {error}"
            raise Refused(what, "import the file that was signed") from None
        except ResponseRefused as error:
            raise Refused(
                f"nothing was imported: {error.reasons[0]}",
                "see the list; docs/operations.md has a section on each refusal",
                detail=error.reasons[:LINES_MAX],
            ) from None
        except SignerError as error:
            raise Refused(str(error), "see dnssecd status") from None
        except STORE_ERRORS as error:
            raise Refused(str(error), "see disk space and permissions") from None
        return _answer(zone, done)

    async def _count(self, zone: FrontZone, first_zsk: str, known: Committed | None) -> None:
        """Store that a request was made; a client that leaves meanwhile ends nothing of it."""
        async with zone.jobs.turn:
            await asyncio.to_thread(count_request, zone.database, first_zsk)
        if known is not None:
            self._rollovers.committed(zone)

    async def _import(self, zone: FrontZone, job: Import) -> Imported:
        """Store a response, and have it used; a client that leaves meanwhile ends nothing of it."""
        async with self._rollovers.of(zone).turn, zone.jobs.turn:
            done = await asyncio.to_thread(import_response, zone.database, zone.spec, job)
        self._imported(zone)
        return done

    def _imported(self, zone: FrontZone) -> None:
        """Have the zone published, or signed again, with what was imported; and planned."""
        if zone.serial is None:
            self._mailbox.wanted.send(zone, "load")
            return
        self._mailbox.wanted.send(zone, "resign")
        self._rollovers.committed(zone)

    def _offline_zone(self, name: str) -> FrontZone:
        zone = self._commands.zone(name)
        if not zone.spec.offline:
            raise Refused(
                f"no key store of {zone.name} is off-line",
                'configure one with type = "offline" and name it in the policy: ksk = { keystore = "…" }',
            )
        return zone

    async def _published(self, zone: FrontZone) -> Committed | None:
        return None if zone.serial is None else await self._commands.known(zone)

    async def _stored(self, zone: FrontZone) -> CeremonyState:
        def read() -> CeremonyState:
            with zone.database.snapshot() as snapshot:
                return read_ceremony(snapshot)

        return await asyncio.to_thread(read)

    def _evidence(self, zone: FrontZone, known: Committed | None, ceremony: CeremonyState) -> Evidence:
        if known is None:
            return Evidence(ahead=supply_of(ceremony, zone.spec))
        return self._rollovers.of(zone).gathered(zone, self._rollovers.parents(zone), clock_sure=True)


def _check_size(request: Request) -> None:
    if len(request.slots) > SLOTS_MAX:
        what = f"{len(request.slots)} slots would be needed, at most {SLOTS_MAX}"
        raise CannotAsk(what, "ask for a shorter period")


def _written(request: Request, form: str, now: int) -> str:
    if form == "knot":
        return write_bundles_request(request, "knot", now)
    if form == "bind":
        return write_bundles_request(request, "bind", now)
    if form == "dnssecd":
        return write_request(request)
    raise Refused(f"{form} is not a form of a request", "give dnssecd, knot or bind", exit=2)


def _notes(until: int | None, request: Request) -> list[str]:
    if until is None or request.start <= until:
        return []
    begin = moment(request.start)
    return [f"there is a gap: what is signed now ends {moment(until)}, the request begins {begin}"]


def _read(document: str, now: int) -> Response:
    return read_bundles_response(document, now) if is_bundles(document) else read_response(document)


def _answer(zone: FrontZone, done: Imported) -> ResponseImported:
    tags = ", ".join(map(str, done.ksks))
    message = f"{zone.name}: all signatures verified; {done.rrsigs} over {done.sets} RRsets stored, until "
    message += moment(done.until) + (f"; new KSK {tags}" if tags else "")
    if done.cds_until is not None:
        ends = f"until {moment(done.cds_until)} only" if done.cds_until else "not at all"
        message += (
            f"; CDS and CDNSKEY as they are published now are signed {ends}: without a later response the zone is "
            "then published without them, and nothing at the parent changes"
        )
    return ResponseImported(
        zone=zone.name,
        rrsets=done.sets,
        rrsigs=done.rrsigs,
        new_ksks=list(done.ksks),
        until=done.until,
        message=message,
    )
