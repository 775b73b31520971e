"""Garbage collection: full collections skip what stays, and cycles among what was skipped are found in the end."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from dnssecd.daemon import garbage


class Node:
    """One object of a cycle."""

    other: Node


def cycle() -> tuple[Node, weakref.ref[Node]]:
    first, second = Node(), Node()
    first.other, second.other = second, first
    return first, weakref.ref(first)


@pytest.fixture
def long_lived() -> Iterator[garbage.LongLived]:
    made = garbage.LongLived()
    made.begin()
    made.visit_all()
    yield made
    made.end()
    assert gc.get_freeze_count() == 0


def test_a_full_collection_visits_an_object_once(long_lived: garbage.LongLived) -> None:
    alive = [[] for _ in range(10_000)]
    gc.collect()
    before = gc.get_freeze_count()
    gc.collect()
    assert gc.get_freeze_count() - before < len(alive), "excluded by the first collection, not by the second"
    assert sum(map(len, map(gc.get_objects, range(3)))) < len(alive)


def test_references_free_what_is_excluded(long_lived: garbage.LongLived) -> None:
    alone = Node()
    seen = weakref.ref(alone)
    gc.collect()
    del alone
    assert seen() is None


def test_cycles_among_excluded_objects_are_found_when_there_are_many_more(
    long_lived: garbage.LongLived, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, seen = cycle()
    gc.collect()
    del node
    gc.collect()
    assert seen() is not None
    assert not long_lived.look(), "few objects were added"
    monkeypatch.setattr(garbage, "FEWEST", 0)
    monkeypatch.setattr(garbage, "GROWTH", 0.5)
    assert long_lived.look()
    assert seen() is None


def test_the_end_without_a_beginning_does_nothing() -> None:
    garbage.LongLived().end()
    assert gc.get_freeze_count() == 0
