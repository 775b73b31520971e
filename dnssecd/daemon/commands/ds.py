"""Commands about the DS at the parent: check it now, or take an operator's confirmation."""

from typing import Any

from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.ds import CheckDs, ConfirmDs, DsChecked, DsConfirmed, ParentServer
from dnssecd.core.keys.evidence import Confirmation, ParentSight
from dnssecd.core.keys.keyset import DS_DIGESTS, Key, Keyset, KeysetError, ds_rdata
from dnssecd.core.keys.keystate import Rec, State
from dnssecd.daemon.commands.rollover import RolloverCommands, key_of
from dnssecd.daemon.parent.poll import ParentWatch
from dnssecd.daemon.rollover.engine import STORE_ERRORS, Rollovers
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.pipeline.version.keychange import KeyChange, Note
from dnssecd.publish.parent import ParentUnknown


class DsCommands:
    """The handlers; one instance per daemon."""

    def __init__(self, rollovers: Rollovers, parents: ParentWatch, commands: RolloverCommands) -> None:
        self._rollovers, self._parents, self._commands = rollovers, parents, commands

    def commands(self) -> list[Command[Any]]:
        """Return the commands."""
        return [Command(CheckDs, self.check), Command(ConfirmDs, self.confirm)]

    async def check(self, call: Call[CheckDs]) -> DsChecked:
        """Answer ``ds.check``: the DS that each parent server has now, and the DS that it should have."""
        zone = self._commands.zone(call.request.zone)
        if zone.config.parent.none or zone.name == ".":
            raise Refused(f'{zone.name} has no parent (parent = "none")', "nothing to check")
        keyset = (await self._commands.known(zone)).keyset
        try:
            await self._parents.look(zone)
        except ParentUnknown as error:
            raise Refused(
                str(error), f'name the servers: zone."{zone.name}".parent = {{ servers = ["…"] }}'
            ) from None
        evidence = self._rollovers.of(zone).evidence
        assert evidence is not None
        wanted = [key for key in keyset.keys if key.ds.visible]
        names = self._parents.servers(zone) or ()
        rows = [_judge_server(sight, keyset, wanted) for sight in evidence.of_parents(names)]
        await self._commands.planned(zone)
        return DsChecked(
            zone=zone.name,
            ok=bool(rows) and all(row.ok for row in rows),
            wanted=[key.tag for key in wanted],
            servers=rows,
        )

    async def confirm(self, call: Call[ConfirmDs]) -> DsConfirmed:
        """Answer ``ds.confirm``: an operator confirms that the parent has, or no longer has, the DS of a key."""
        zone = self._commands.zone(call.request.zone)
        tag = call.request.key_tag
        keyset = (await self._commands.known(zone)).keyset
        try:
            key = key_of(keyset, tag)
        except KeysetError as error:
            raise Refused(str(error), f"dnssecd ds show {zone.name}") from None
        present = _awaited(zone, key)
        said = "has" if present else "no longer has"
        what = f"confirmed: the parent {said} the DS of key {tag}"
        await self._believe(zone, key, present, call.caller.user, what)
        await self._commands.planned(zone)
        plan = self._rollovers.of(zone).plan
        after = plan.keyset.find(key.ref) if plan is not None else None
        waits = (
            after is not None
            and after.ds.seen is None
            and after.ds.state in (State.RUMOURED, State.UNRETENTIVE)
        )
        more = f"; other servers differ or did not answer yet: dnssecd explain {zone.name}" if waits else ""
        return DsConfirmed(zone=zone.name, key_tag=tag, present=present, message=f"{zone.name}: {what}{more}")

    async def _believe(self, zone: FrontZone, key: Key, present: bool, who: str, what: str) -> None:
        keys = self._rollovers.of(zone)
        async with keys.turn:
            try:
                known = await keys.known(zone, self._rollovers.engine.clock.now())
                assert known is not None
                assert keys.evidence is not None
                now = int(self._rollovers.engine.clock.now())
                keys.evidence.confirm(Confirmation(key.ref, present, now, who))
                note = Note(what, "", who)
                await self._rollovers.store(zone, keys, KeyChange(known.keyset, known.keyset, (note,)))
                await self._rollovers.keep_evidence(zone, keys)
            except STORE_ERRORS as error:
                raise Refused(str(error), "check disk space and permissions") from None


def _awaited(zone: FrontZone, key: Key) -> bool:
    """Return whether a key's DS is awaited to appear (True) or disappear (False); raise Refused if neither."""
    if Rec.DS not in key.records:
        raise Refused(f"key {key.tag} is a {key.role.value}: it has no DS", f"dnssecd ds show {zone.name}")
    match key.ds.state:
        case State.RUMOURED:
            return True
        case State.UNRETENTIVE:
            return False
        case State.OMNIPRESENT:
            raise Refused(
                f"dnssecd already knows that the parent has the DS of key {key.tag}", "nothing to confirm"
            )
        case State.HIDDEN:
            raise Refused(
                f"the DS of key {key.tag} should not be at the parent now",
                f"do not hand it over yet: dnssecd explain {zone.name}",
            )


def _judge_server(sight: ParentSight, keyset: Keyset, wanted: list[Key]) -> ParentServer:
    """Judge one server's answer: it must have a DS of every wanted key, and none of another key."""
    held = sight.ds or ()
    ours = {ds_rdata(keyset.apex, key.rdata, digest): key for key in keyset.keys for digest in DS_DIGESTS}
    found = {ours[ds].tag for ds in held if ds in ours}
    foreign = sorted({int.from_bytes(ds[:2]) for ds in held if ds not in ours})
    ok = sight.ds is not None and not sight.answer and not foreign and found == {key.tag for key in wanted}
    return ParentServer(
        server=sight.name,
        ok=ok,
        ds=sorted(int.from_bytes(ds[:2]) for ds in held),
        foreign=foreign,
        ttl=sight.ttl,
        at=sight.at or None,
        failure=sight.answer,
        next_look=sight.next_look,
    )
