"""The commands ``anchors.show`` and ``anchors.check``."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

from dnssecd.clock import Clock
from dnssecd.config.anchors import no_anchors
from dnssecd.config.model import Config
from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.anchors import (
    AnchorFile,
    AnchorKey,
    AnchorPublication,
    AnchorsChecked,
    CheckAnchors,
    ShowAnchors,
    ZoneAnchors,
)
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.parent.anchor_forms import FILES
from dnssecd.core.parent.anchors import Anchors
from dnssecd.daemon.anchors.files import CannotSign, sign_files
from dnssecd.daemon.anchors.publisher import AnchorPublisher
from dnssecd.daemon.commands.common import configured_zone_of
from dnssecd.daemon.commands.key_list import read_keyset
from dnssecd.daemon.zones.zone import FrontZone

#: A web server may be slow, and others may be looked at first (s).
CHECK_S = 300.0


class AnchorCommands:
    """The handlers; one instance per daemon."""

    def __init__(
        self,
        zones: Mapping[str, FrontZone],
        publisher: AnchorPublisher,
        config: Callable[[], Config],
        clock: Clock,
    ) -> None:
        self._zones, self._publisher, self._config, self._clock = zones, publisher, config, clock

    def commands(self) -> list[Command[Any]]:
        """Return the commands."""
        return [Command(ShowAnchors, self.show), Command(CheckAnchors, self.check, timeout=CHECK_S)]

    async def show(self, call: Call[ShowAnchors]) -> ZoneAnchors:
        """Answer ``anchors.show``."""
        zone, config = configured_zone_of(self._zones, call.request.zone), self._config()
        policy = config.policies[zone.config.policy]
        if why := no_anchors(zone.name, policy, zone.config.parent):
            raise Refused(
                f"{zone.name}: {why}", f"show the DS for the parent instead: dnssecd ds show {zone.name}"
            )
        keyset = await asyncio.to_thread(read_keyset, zone)
        if keyset is None:
            raise Refused(f"{zone.name} has not been published yet, so it has no keys", "wait for that")
        anchors = self._publisher.anchors(zone, keyset)
        return ZoneAnchors(
            zone=zone.name,
            rfc5011=anchors.rfc5011,
            keys=_describe_keys(anchors),
            files=await self._files(zone, keyset) if anchors.given else [],
            published=self._published(zone),
        )

    async def _files(self, zone: FrontZone, keyset: Keyset) -> list[AnchorFile]:
        contents = self._publisher.files(zone, keyset)
        signing = self._config().anchors.signing
        try:
            proofs = await asyncio.to_thread(sign_files, contents, signing, self._clock.now())
        except CannotSign as error:
            raise Refused(
                f"the anchors cannot be signed: {error}",
                "correct sign_certificate and sign_key of [anchors], or remove both",
            ) from None
        return [
            AnchorFile(
                name=name,
                text=contents[name].decode(),
                signature=b64encode(proofs[name]).decode() if name in proofs else None,
            )
            for name in FILES
            if name in contents
        ]

    def _published(self, zone: FrontZone) -> AnchorPublication | None:
        known, directory = self._publisher.of(zone), self._publisher.directory(zone)
        if known is None or directory is None:
            return None
        return AnchorPublication(
            directory=str(directory),
            url=self._publisher.url(zone),
            trouble=known.trouble,
            looked_at=known.looked_at,
            faults=known.faults,
        )

    async def check(self, call: Call[CheckAnchors]) -> AnchorsChecked:
        """Answer ``anchors.check``."""
        zone = configured_zone_of(self._zones, call.request.zone)
        if zone.config.anchors and (why := self._publisher.why_not_here(zone)):
            raise Refused(
                f"the trust anchors of {zone.name} are not published by this node: {why}",
                f"dnssecd zone owner {zone.name} names the node; run the command there",
            )
        await self._publisher.check(zone)
        published = self._published(zone)
        if published is None:
            raise Refused(
                f"the trust anchors of {zone.name} are not published here",
                "add [anchors] with a directory, and anchors = true to the zone; then: dnssecd config reload",
            )
        ok = not published.trouble and not published.faults
        return AnchorsChecked(zone=zone.name, ok=ok, published=published)


def _describe_keys(anchors: Anchors) -> list[AnchorKey]:
    return [
        AnchorKey(
            tag=one.key.tag,
            role=one.key.role.value,
            algorithm=one.key.algorithm,
            standing=one.standing.value,
            since=one.since,
            until=one.until,
            why=one.why,
        )
        for one in anchors.anchors
    ]
