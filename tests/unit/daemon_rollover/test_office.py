"""What of a look at a secondary counts as a sight of our version."""

from __future__ import annotations

from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.signing.denial import DenialParameters
from dnssecd.daemon.rollover.listeners import judged
from dnssecd.pipeline.version.committed import Committed
from dnssecd.publish.watch import Sighting

OURS, THEIRS = frozenset({b"ours"}), frozenset({b"theirs"})
KNOWN = Committed(7, 100, Keyset(b"\1z\0"), 60, 60, 60, DenialParameters(), tuple(OURS))


def sighting(serial: int, signatures: frozenset[bytes] | None) -> Sighting:
    return Sighting("z.", "ns1", serial, 200.0, True, signatures=signatures)


def test_our_serial_with_our_signatures_is_our_version() -> None:
    assert judged(sighting(7, OURS), KNOWN).serial == 7


def test_our_serial_signed_by_others_is_not() -> None:
    """Somebody signs the zone behind us, or a copy of another history has come to the same serial."""
    for other in (THEIRS, frozenset(), OURS | THEIRS):
        seen = judged(sighting(7, other), KNOWN)
        assert seen.serial is None
        assert "serial 7" in seen.detail


def test_other_serials_are_left_to_the_planner() -> None:
    assert judged(sighting(6, THEIRS), KNOWN).serial == 6
    assert judged(sighting(7, None), KNOWN).serial == 7
    assert judged(sighting(7, THEIRS), None).serial == 7
