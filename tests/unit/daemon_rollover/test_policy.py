"""What the planner is told of a zone's policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd.config.load import parse
from dnssecd.daemon.rollover.policy import rollover_policy

CONFIG = """
[server]
clock_tolerance = "5m"
[keystore.local]
[policy.default]
propagation_delay = "{delay}"
[zone."z."]
source = "dynamic"
"""


@pytest.mark.parametrize(("delay", "margin"), [("5m", 300), ("1h", 300), ("1m", 60), ("1s", 5), ("0s", 5)])
def test_the_margin_goes_with_the_pace_of_the_policy(delay: str, margin: int) -> None:
    config = parse(CONFIG.format(delay=delay), Path("config.toml"))
    assert rollover_policy(config, config.zones["z."], 0.0).margin == margin
