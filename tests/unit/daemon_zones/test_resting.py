"""Databases that are not used are closed, and their memory given back once."""

from __future__ import annotations

from types import SimpleNamespace

from dnssecd.daemon import heap
from dnssecd.daemon.zones.resting import CLOSED_MAX, Resting


def test_the_heap_is_trimmed_after_the_last_was_closed_and_between_many() -> None:
    closed: list[int] = []
    databases = SimpleNamespace(rest=lambda: closed.pop(0), closing=0)
    resting = Resting(databases, SimpleNamespace())  # type: ignore[arg-type]
    closed += [0, 3, 2, 0, 0, CLOSED_MAX, 1, 0, 0]
    assert [resting.round() for _ in list(closed)] == [
        False,
        False,
        False,
        True,
        False,
        True,
        False,
        True,
        False,
    ]


def test_the_heap_is_not_trimmed_before_what_is_being_closed_is_closed() -> None:
    databases = SimpleNamespace(rest=lambda: 0, closing=0)
    resting = Resting(databases, SimpleNamespace())  # type: ignore[arg-type]
    databases.rest, databases.closing = lambda: 3, 3
    assert not resting.round()
    databases.rest = lambda: 0
    assert not resting.round()
    databases.closing = 0
    assert resting.round()
    assert not resting.round()


def test_what_was_being_closed_when_the_heap_was_trimmed_is_given_back_later() -> None:
    databases = SimpleNamespace(rest=lambda: CLOSED_MAX, closing=3)
    resting = Resting(databases, SimpleNamespace())  # type: ignore[arg-type]
    assert resting.round(), "many were closed"
    databases.rest = lambda: 0
    assert not resting.round()
    databases.closing = 0
    assert resting.round()
    assert not resting.round()


def test_the_heap_of_this_system_is_bounded_and_trimmed() -> None:
    """On Linux with glibc; elsewhere nothing fails."""
    assert heap.limit_arenas() in (False, True)
    assert heap.trim() in (False, True)


def test_another_c_library_has_no_such_functions() -> None:
    assert heap._of_glibc("no_such_function")(0) == 0
