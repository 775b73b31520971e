"""The command ``key.list``: the published keys of zones, with the states of their records."""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from dnssecd.control.command import Call, Command
from dnssecd.control.messages.keys import KeyRow, KeyRows, ListKeys
from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.core.keys.keystate import Rec
from dnssecd.core.keys.label import label
from dnssecd.daemon.commands.common import zone_of
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.pipeline.version import state

#: This many zones' databases are read before other tasks run.
READ_AT_ONCE = 20


class KeyList:
    """The handler; one instance per daemon."""

    def __init__(self, zones: Mapping[str, FrontZone]) -> None:
        self._zones = zones

    def commands(self) -> list[Command[Any]]:
        """Return the command."""
        return [Command(ListKeys, self.list_keys)]

    async def list_keys(self, call: Call[ListKeys]) -> KeyRows:
        """Answer ``key.list``."""
        wanted = call.request.zone
        zones = [zone_of(self._zones, wanted)] if wanted else list(self._zones.values())
        rows: list[KeyRow] = []
        for start in range(0, len(zones), READ_AT_ONCE):
            rows += await asyncio.to_thread(_read_all, zones[start : start + READ_AT_ONCE])
        return KeyRows(keys=rows)


def read_keyset(zone: FrontZone) -> Keyset | None:
    """Return the keys of the published version; raise StoreError or OSError."""
    if zone.serial is None:
        return None
    with zone.database.snapshot() as snapshot:
        return state.keyset_from(snapshot.state(state.KEYSET))


def read_key_rows(zone: FrontZone) -> list[KeyRow]:
    """Return the keys of a zone in the form for commands; none before its first publication. Errors as read_keyset."""
    keyset = read_keyset(zone)
    return [] if keyset is None else [_describe(zone, key) for key in keyset.keys]


def _read_all(zones: list[FrontZone]) -> list[KeyRow]:
    return [row for zone in zones for row in read_key_rows(zone)]


def _describe(zone: FrontZone, key: Key) -> KeyRow:
    def state_of(rec: Rec) -> str | None:
        return key.record(rec).state.value if rec in key.records else None

    return KeyRow(
        zone=zone.name,
        role=key.role.value,
        algorithm=key.algorithm,
        tag=key.tag,
        public_key=f"{key.flags} 3 {key.algorithm} {b64encode(key.public_key).decode()}",
        goal=key.goal.value,
        state=label(key),
        keystore=key.keystore,
        label=key.key_id,
        dnskey=state_of(Rec.DNSKEY),
        zrrsig=state_of(Rec.ZRRSIG),
        krrsig=state_of(Rec.KRRSIG),
        ds=state_of(Rec.DS),
        signer=key.signer,
    )
