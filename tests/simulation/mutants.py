"""The planner's tables with one row taken away."""

from collections.abc import Iterator
from typing import Any

from dnssecd.core.keys.planner import TABLES, Tables
from dnssecd.replacing import replace

#: The hold that only zones restored from an older backup need: test_backup_at_any_step.py shows it.
AFTER_RESTORES = "signed-after-backup"


def mutants() -> Iterator[tuple[str, Tables]]:
    """Name and tables for every rule, every way where a rule has several, every wait and every hold."""
    for n, rule in enumerate(TABLES.rules):
        yield rule.name, replace(TABLES, rules=_without(TABLES.rules, n))
        for m, way in enumerate(rule.ways if len(rule.ways) > 1 else ()):
            poorer = replace(rule, ways=_without(rule.ways, m))
            yield f"{rule.name}/{way.name}", replace(TABLES, rules=(*_without(TABLES.rules, n), poorer))
    for n, wait in enumerate(TABLES.waits):
        yield f"wait {wait.rec.value} {wait.state.value}", replace(TABLES, waits=_without(TABLES.waits, n))
    for n, hold in enumerate(TABLES.holds):
        if hold.name == AFTER_RESTORES:
            continue
        yield hold.name, replace(TABLES, holds=_without(TABLES.holds, n))
    for n, gate in enumerate(TABLES.signer_gates):
        yield gate.name, replace(TABLES, signer_gates=_without(TABLES.signer_gates, n))


def _without(rows: tuple[Any, ...], n: int) -> tuple[Any, ...]:
    return rows[:n] + rows[n + 1 :]
