"""Commands about keys of a zone's other signers (RFC 8901): publish them, take them out."""

from typing import Any

from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.rollovers import ImportPublicKeys, KeysChanged, RemoveForeignKeys
from dnssecd.core.keys.dnskey_text import BadDnskey, dnskey_of_text
from dnssecd.core.keys.foreign_keys import INPUT, add_foreign, remove_foreign
from dnssecd.core.keys.keyset import Keyset, key_tag
from dnssecd.core.verify.keys import ZoneKey
from dnssecd.daemon.commands.rollover import RolloverCommands
from dnssecd.daemon.rollover.engine import Rollovers
from dnssecd.daemon.zones.zone import FrontZone


class ForeignKeyCommands:
    """The handlers; one instance per daemon."""

    def __init__(self, rollovers: Rollovers, commands: RolloverCommands) -> None:
        self._rollovers, self._commands = rollovers, commands

    def commands(self) -> list[Command[Any]]:
        """Return the commands."""
        return [Command(ImportPublicKeys, self.take_in), Command(RemoveForeignKeys, self.remove)]

    async def take_in(self, call: Call[ImportPublicKeys]) -> KeysChanged:
        """Answer ``key.import-public``: publish keys of another signer beside ours."""
        request = call.request
        zone = self._commands.zone(request.zone)
        _check_signer(zone, request.signer)
        rdatas = [_readable(text) for text in request.dnskeys]
        if not rdatas:
            raise Refused("no DNSKEY was given", "name a file with the other signer's DNSKEY RRset", exit=2)
        now = int(self._rollovers.engine.clock.now())
        tags = ", ".join(str(key_tag(rdata)) for rdata in rdatas)

        def change(keyset: Keyset) -> Keyset:
            for rdata in rdatas:
                keyset = add_foreign(keyset, rdata, request.signer, now)
            return keyset

        return await self._commands.carry_out(
            call, change, f"keys {tags} of signer {request.signer} will be published"
        )

    async def remove(self, call: Call[RemoveForeignKeys]) -> KeysChanged:
        """Answer ``key.remove-foreign``: take keys of another signer out as soon as it is safe."""
        request = call.request
        if not request.signer and request.key_tag is None:
            raise Refused("neither signer nor key is named", "give --signer or --key-tag", exit=2)
        now = int(self._rollovers.engine.clock.now())
        what = f"key {request.key_tag}" if request.key_tag is not None else "all keys"
        of = f" of signer {request.signer}" if request.signer else " of another signer"
        word = "; its NS are gone, says the operator" if request.ns_gone else ""
        return await self._commands.carry_out(
            call,
            lambda keyset: remove_foreign(
                keyset, now, signer=request.signer, tag=request.key_tag, ns_gone=request.ns_gone
            ),
            f"{what}{of} will be removed{word}",
        )


def _check_signer(zone: FrontZone, signer: str) -> None:
    if any(wish.keystore in zone.spec.offline for wish in zone.spec.keys):
        raise Refused(
            f"the KSK of {zone.name} is off-line, and a ceremony signs no DNSKEY RRset with keys of other signers",
            'name a key store of the key service in the policy: ksk = { keystore = "…" }',
        )
    known = [each.name for each in zone.config.other_signers]
    if signer == INPUT or signer not in known:
        raise Refused(
            f'the configuration of {zone.name} has no other signer "{signer}"; it has: {", ".join(known) or "none"}',
            f'add [zone."{zone.name}".other_signers.{signer or "NAME"}] with servers and ns, then config reload',
        )


def _readable(text: str) -> bytes:
    """Return DNSKEY RDATA whose public key can be used; raise Refused."""
    try:
        rdata = dnskey_of_text(text)
    except BadDnskey as error:
        raise Refused(str(error), "give DNSKEY records as dig prints them") from None
    key = ZoneKey(rdata)
    if key.problem:
        raise Refused(f"DNSKEY {key.tag}: {key.problem}", "ask the other signer for its DNSKEY RRset again")
    return rdata
