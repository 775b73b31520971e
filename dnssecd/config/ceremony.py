"""The configuration of a ceremony machine: limits, and the key store of the KSKs. It has no daemon and no zones.

::

    [ceremony]
    state = "/var/lib/dnssecd-ceremony"
    validity_max = "60d"
    [keystore.vault]
    type = "pkcs11"
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dnssecd.config.algorithms import ALGORITHMS, algorithm_number
from dnssecd.config.errors import ConfigErrors, Problems, did_you_mean
from dnssecd.config.keystores import keystores
from dnssecd.config.load import read_table
from dnssecd.config.model import OfflineKeystore, Pkcs11Keystore, SoftwareKeystore
from dnssecd.config.reader import Section
from dnssecd.core.ceremony.checks import Limits

DEFAULT_STATE = Path("/var/lib/dnssecd-ceremony")
_DAY = 86_400
_DEFAULTS = Limits()


@dataclass(frozen=True, slots=True)
class CeremonyConfig:
    """What a ceremony machine works with. state: directory of what was signed and of the audit log."""

    state: Path
    keystore: SoftwareKeystore | Pkcs11Keystore
    limits: Limits


def load_ceremony(path: Path) -> CeremonyConfig:
    """Return the configuration at *path*. Raise ConfigErrors with every fault found."""
    text, table = read_table(path)
    problems = Problems(path, text)
    root = Section(table, (), problems, path.absolute().parent)
    section = root.table_or_empty("ceremony")
    state = section.path_of("state", DEFAULT_STATE)
    limits = _limits(section)
    section.finish()
    stores = [store for store in keystores(root, state).values() if not isinstance(store, OfflineKeystore)]
    if len(stores) != 1:
        root.error("keystore", f"{len(stores)} key stores for the KSKs", "name one that is not off-line here")
    root.finish()
    if problems.errors:
        raise ConfigErrors(problems.errors)
    return CeremonyConfig(state, stores[0], limits)


def _limits(section: Section) -> Limits:
    def duration(key: str, default: int, least: int = 1) -> int:
        return section.duration(key, default, least, 3650 * _DAY)

    return Limits(
        validity_s_max=duration("validity_max", _DEFAULTS.validity_s_max),
        period_s_max=duration("period_max", _DEFAULTS.period_s_max),
        ahead_s_max=duration("ahead_max", _DEFAULTS.ahead_s_max),
        overlap_s_min=duration("overlap_min", _DEFAULTS.overlap_s_min, 0),
        ttl_s_max=duration("ttl_max", _DEFAULTS.ttl_s_max),
        slots_max=section.integer("slots_max", _DEFAULTS.slots_max, 1, 2_000),
        sets_max=section.integer("sets_max", _DEFAULTS.sets_max, 1, 64),
        zsks_max=section.integer("zsks_max", _DEFAULTS.zsks_max, 1, 512),
        algorithms=_algorithms(section),
    )


def _algorithms(section: Section) -> frozenset[int]:
    names = section.texts("algorithms")
    found = set()
    for index, name in enumerate(names):
        try:
            found.add(algorithm_number(name))
        except (KeyError, ValueError):
            where = section.at("algorithms", index)
            section.problems.error(
                where, f'"{name}" is not an algorithm to sign with', did_you_mean(name, ALGORITHMS)
            )
    return frozenset(found) if names else _DEFAULTS.algorithms
