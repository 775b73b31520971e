"""Which changes of keys wait for a second person: where a policy of a zone that the key is for asks for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import msgspec

from dnssecd.keyservice_protocol import ConsentAct, Role
from dnssecd.signer import algorithms
from dnssecd.signer.consent import Consents
from dnssecd.signer.key_file import Description
from dnssecd.signer.limits import Limits
from dnssecd.signer.peers import Peer
from dnssecd.signer.preimage import zone_text

#: The zones of a key that a request for consent names.
ZONES_NAMED_MAX = 3
_WORDS: dict[ConsentAct, str] = {
    "adopt": "use of the token's key {subject}",
    "bind": "use of another zone's key",
    "destroy": "destruction of the key",
    "export": "export of the private key",
    "import": "import of a private key",
    "recover": "return from the trash of the key",
    "restore": "restoration from a backup of the key",
}


class ConsentRules:
    """See the module. What a method ``for_…`` returns is entered around the act; to enter it raises ConsentNeeded."""

    def __init__(self, consents: Consents, limits: Limits) -> None:
        self._consents = consents
        self._limits = limits

    def two_person(self, zones: Iterable[bytes]) -> bool:
        """Return whether keys of these zones are changed with the consent of a second person only."""
        return self._limits.of_zones(zones).two_person

    async def refresh(self) -> None:
        """Have the limits of a configuration that has changed."""
        await self._limits.refresh()

    def may_go_with(self, key: Description, zone: bytes) -> bool:
        """Return whether a key that is made to be shared is kept in `zone` as in the zones that it has.

        Else a key that leaves the zone with the stricter limits would leave these limits, too.
        """
        has, new = self._limits.of_zones(key.zones), self._limits.of_zone(zone)
        return (has.two_person, has.destroy_after_s) == (new.two_person, new.destroy_after_s)

    def for_key(self, act: ConsentAct, key: Description, peer: Peer) -> AbstractContextManager[None]:
        """Require consent to an act on a key, if its zones ask for it."""
        if self.two_person(key.zones):
            return self._consents.use(act, key.id, describe_act(act, key), peer)
        return nullcontext()

    def for_binding(self, key: Description, zone: bytes, peer: Peer) -> AbstractContextManager[None]:
        """Require consent to the use of a key for one more zone, if either asks for it."""
        if self.two_person((*key.zones, zone)):
            detail = f"{describe_act('bind', key)} for {zone_text(zone)}"
            return self._consents.use("bind", f"{key.id} {zone_text(zone)}", detail, peer)
        return nullcontext()

    def for_newcomer(
        self, act: ConsentAct, zone: bytes, role: Role, dnskey: bytes, name: str, peer: Peer
    ) -> AbstractContextManager[None]:
        """Require consent to a key that has no id yet, if its zone asks for it.

        The consent is for this public key in this role: names and key tags are chosen by the one who asks.
        """
        if self.two_person((zone,)):
            digest = hashlib.sha256(dnskey).hexdigest()
            words = f"{_WORDS[act].format(subject=name)} as {role.upper()} for {zone_text(zone)}"
            detail = f"{words} (SHA-256 of its DNSKEY: {digest})"
            return self._consents.use(act, f"{role} {digest} {zone_text(zone)}", detail, peer)
        return nullcontext()

    def for_restored(self, key: Description, peer: Peer) -> AbstractContextManager[None]:
        """Require consent to a key from a backup, if its zones ask for it.

        The consent is for all that the backup says of the key: the one who has its passphrase can write another
        under the same id.
        """
        if self.two_person(key.zones):
            digest = hashlib.sha256(msgspec.json.encode(key)).hexdigest()
            return self._consents.use("restore", f"{key.id} {digest}", describe_act("restore", key), peer)
        return nullcontext()


def describe_act(act: ConsentAct, key: Description) -> str:
    """Return an act on a key in words."""
    tag = algorithms.key_tag(key.dnskey)
    names = ", ".join(zone_text(zone) for zone in key.zones[:ZONES_NAMED_MAX])
    others = len(key.zones) - ZONES_NAMED_MAX
    more = f" and {others} more zones" if others > 0 else ""
    return f"{_WORDS[act].format(subject='')} {key.role.upper()} {tag} of {names}{more}"
