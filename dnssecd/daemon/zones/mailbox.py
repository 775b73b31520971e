"""Signals between the parts of the daemon: made before them, and given to all of them.

Parts that concern each other need not know each other then: one sends, others subscribe in their constructors. A signal
that no part subscribed to is a fault of the wiring (:meth:`Mailbox.unheard`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Generic, TypeVarTuple

from dnssecd.core.dns.rrset import RRset
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.publish.watch import Judgement

Args = TypeVarTuple("Args")


class Signal(Generic[*Args]):
    """One kind of message. It is taken at once, in the order of subscription; errors are the sender's to handle."""

    __slots__ = ("_takers",)

    def __init__(self) -> None:
        self._takers: tuple[Callable[[*Args], object], ...] = ()

    def subscribe(self, taker: Callable[[*Args], object]) -> None:
        """Call ``taker`` with every message."""
        self._takers = (*self._takers, taker)

    def send(self, *message: *Args) -> None:
        """Give a message to all subscribers."""
        for taker in self._takers:
            taker(*message)

    @property
    def heard(self) -> bool:
        """Whether any part takes these messages."""
        return bool(self._takers)


@dataclass(frozen=True)
class Mailbox:
    """All signals. Unless said otherwise a message is a zone, and is sent on the event loop."""

    #: A job (``load``, ``resign``) is wanted for a zone.
    wanted: Signal[FrontZone, str] = field(default_factory=Signal)
    #: A load was asked for: zones from primaries are looked after elsewhere.
    load_requested: Signal[FrontZone] = field(default_factory=Signal)
    #: A job ended.
    finished: Signal[FrontZone] = field(default_factory=Signal)
    #: The catalogue has a new entry for a zone.
    remembered: Signal[FrontZone] = field(default_factory=Signal)
    #: Another version is served than before.
    published: Signal[FrontZone] = field(default_factory=Signal)
    #: Updates were committed just now: zone, serial, SOA. ``finished`` follows.
    committed: Signal[FrontZone, int, RRset] = field(default_factory=Signal)
    #: A zone is damaged and no longer served.
    withheld: Signal[FrontZone] = field(default_factory=Signal)
    #: A zone has expired, or is served again.
    expiry_changed: Signal[FrontZone] = field(default_factory=Signal)
    #: A zone was removed; it is ``gone`` already.
    removed: Signal[FrontZone] = field(default_factory=Signal)
    #: A server of a zone was looked at.
    seen: Signal[Judgement] = field(default_factory=Signal)
    #: The time is no longer in doubt; whether the clock may have stepped.
    clock_sure: Signal[bool] = field(default_factory=Signal)
    #: The key service answers again, or a key store of it can be used again.
    key_service_recovered: Signal[()] = field(default_factory=lambda: Signal[()]())
    #: A rollover waits too long for a DS.
    ds_overdue: Signal[FrontZone] = field(default_factory=Signal)

    def unheard(self) -> list[str]:
        """Return the names of the signals that no part subscribed to."""
        return [one.name for one in fields(self) if not getattr(self, one.name).heard]
