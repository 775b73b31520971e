"""What commands ask of the daemon and what it answers, as types: one module per noun.

Both sides use these types: ``cli`` to ask, ``daemon/commands`` to answer. They are the source of
``docs/control-protocol.md``.

A module is loaded when it is first used: most commands need one of them, and ``--help`` needs none.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dnssecd.control.messages import alerts as alerts
    from dnssecd.control.messages import anchors as anchors
    from dnssecd.control.messages import audits as audits
    from dnssecd.control.messages import ceremonies as ceremonies
    from dnssecd.control.messages import cluster as cluster
    from dnssecd.control.messages import config as config
    from dnssecd.control.messages import ds as ds
    from dnssecd.control.messages import forecasts as forecasts
    from dnssecd.control.messages import keys as keys
    from dnssecd.control.messages import keystores as keystores
    from dnssecd.control.messages import migration as migration
    from dnssecd.control.messages import rollovers as rollovers
    from dnssecd.control.messages import status as status
    from dnssecd.control.messages import zones as zones

#: The nouns, in the order of the documentation.
NOUNS = (
    "status",
    "zones",
    "keys",
    "rollovers",
    "keystores",
    "forecasts",
    "ds",
    "anchors",
    "ceremonies",
    "migration",
    "audits",
    "alerts",
    "cluster",
    "config",
)


def __getattr__(name: str) -> ModuleType:
    if name not in NOUNS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
