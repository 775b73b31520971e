"""Signals between the parts of the daemon, made before the parts and passed to all of them.

So the parts do not need references to each other: one sends, others subscribe in their constructors. A signal
without subscriber is an error of the wiring (:meth:`Mailbox.unheard`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Generic, TypeVarTuple

from dnssecd.core.dns.rrset import RRset
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.publish.watch import Judgement

Args = TypeVarTuple("Args")


class Signal(Generic[*Args]):
    """One kind of message. Subscribers are called immediately, in order of subscription; the sender handles errors."""

    __slots__ = ("_takers",)

    def __init__(self) -> None:
        self._takers: tuple[Callable[[*Args], object], ...] = ()

    def subscribe(self, taker: Callable[[*Args], object]) -> None:
        """Call ``taker`` for every message."""
        self._takers = (*self._takers, taker)

    def send(self, *message: *Args) -> None:
        """Pass a message to all subscribers."""
        for taker in self._takers:
            taker(*message)

    @property
    def heard(self) -> bool:
        """Tell whether any part takes these messages."""
        return bool(self._takers)


@dataclass(frozen=True)
class Mailbox:
    """All signals. Unless stated otherwise, a message is a zone, and is sent on the event loop."""

    #: A job (``load``, ``resign``) is requested for a zone.
    wanted: Signal[FrontZone, str] = field(default_factory=Signal)
    #: A load was requested; this is for zones from primaries, which another part handles.
    load_requested: Signal[FrontZone] = field(default_factory=Signal)
    #: A job ended.
    finished: Signal[FrontZone] = field(default_factory=Signal)
    #: A job was cancelled: its worker may have stored a version that no part knows.
    cut_short: Signal[FrontZone] = field(default_factory=Signal)
    #: The catalogue has a new entry for a zone.
    remembered: Signal[FrontZone] = field(default_factory=Signal)
    #: A different version is served.
    published: Signal[FrontZone] = field(default_factory=Signal)
    #: Updates were committed just now: zone, serial, SOA, and when the first was received (monotonic, seconds).
    #: ``finished`` follows.
    committed: Signal[FrontZone, int, RRset, float] = field(default_factory=Signal)
    #: A zone is damaged and no longer served.
    withheld: Signal[FrontZone] = field(default_factory=Signal)
    #: A zone has expired, or is served again.
    expiry_changed: Signal[FrontZone] = field(default_factory=Signal)
    #: A zone was removed; it is ``gone`` already.
    removed: Signal[FrontZone] = field(default_factory=Signal)
    #: Another node of the cluster owns a zone that this one owned.
    disowned: Signal[FrontZone] = field(default_factory=Signal)
    #: A server of a zone was looked at.
    seen: Signal[Judgement] = field(default_factory=Signal)
    #: The time is no longer in doubt; whether the clock may have stepped.
    clock_sure: Signal[bool] = field(default_factory=Signal)
    #: The key service answers again, or one of its key stores can be used again.
    key_service_recovered: Signal[()] = field(default_factory=lambda: Signal[()]())
    #: A changed configuration file is in force.
    configured: Signal[()] = field(default_factory=lambda: Signal[()]())
    #: A rollover waits too long for a DS.
    ds_overdue: Signal[FrontZone] = field(default_factory=Signal)

    def unheard(self) -> list[str]:
        """Return the names of the signals without subscriber."""
        return [one.name for one in fields(self) if not getattr(self, one.name).heard]
