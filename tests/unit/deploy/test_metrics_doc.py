"""docs/metrics.md, the Prometheus rules and the dashboard name metrics, labels and events that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dnssecd.ops.event_kinds import EVENT_KINDS
from dnssecd.ops.metrics import Metrics
from docs import metrics_table

ROOT = Path(__file__).parents[3]
RULES = yaml.safe_load((ROOT / "deploy/prometheus/dnssecd.rules.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((ROOT / "deploy/grafana/dnssecd.json").read_text())
#: Of others: Prometheus' own, and prometheus_client's process collector.
FOREIGN = {
    "up": {"job", "instance"},
    "process_open_fds": {"job", "instance"},
    "process_max_fds": {"job", "instance"},
    "process_resident_memory_bytes": {"job", "instance"},
    "process_cpu_seconds_total": {"job", "instance"},
}
#: Added by Prometheus to every sample.
SCRAPED = {"job", "instance"}


def known() -> dict[str, set[str]]:
    """Name of a sample → its labels, for all metrics."""
    found = dict(FOREIGN)
    for metric in Metrics().table():
        labels = set(metric.labels) | SCRAPED
        if metric.kind == "histogram":
            found |= {f"{metric.name}_bucket": labels | {"le"}, f"{metric.name}_sum": labels}
            found[f"{metric.name}_count"] = labels
        else:
            found[metric.name] = labels
    return found


def faults(expression: str) -> list[str]:
    """What an expression names that does not exist."""
    metrics = known()
    found = []
    selectors = re.findall(r"\b((?:dnssecd|process)_\w+|up)\b(?:\{([^}]*)\})?", expression)
    labels: set[str] = {"le"}
    for name, matchers in selectors:
        if name not in metrics:
            found.append(f"there is no metric {name}")
            continue
        labels |= metrics[name]
        found += [f"{name} has no label {label}" for label in _matched(matchers) - metrics[name]]
    for listed in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expression):
        found += [f"no metric here has the label {label}" for label in _listed(listed) - labels]
    return found if selectors else ["no metric at all"]


def _matched(matchers: str) -> set[str]:
    return set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', matchers)))


def _listed(text: str) -> set[str]:
    return {label.strip() for label in text.split(",") if label.strip()}


def test_the_table_is_that_of_the_code() -> None:
    text = metrics_table.DOCUMENT.read_text()
    assert text == metrics_table.written(text), "run: .venv/bin/python docs/metrics_table.py"


def test_names_in_the_prose_exist() -> None:
    names = re.findall(r"`?\b(dnssecd_\w+[a-z])\b", metrics_table.DOCUMENT.read_text())
    assert len(names) > 60
    families = {metric.name for metric in Metrics().table()}
    assert {name for name in names if name not in families} == set()


def test_faults_are_found() -> None:
    """The check itself: names, labels in braces and in lists, and nothing at all."""
    assert faults('sum(dnssecd_zone_serial{zone="a"})') == []
    assert faults("dnssecd_zone_cereal") == ["there is no metric dnssecd_zone_cereal"]
    assert faults('dnssecd_zone_serial{zome="a"}') == ["dnssecd_zone_serial has no label zome"]
    assert faults("sum by (zome) (dnssecd_zone_serial)") == ["no metric here has the label zome"]
    assert faults("time()") == ["no metric at all"]
    assert faults("dnssecd_zone_load_seconds") == ["there is no metric dnssecd_zone_load_seconds"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alert_rules(rule: dict[str, Any]) -> None:
    assert faults(rule["expr"]) == []
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert {"summary", "description"} <= rule["annotations"].keys()
    event = rule["annotations"].get("event", "{{")
    assert event.startswith("{{") or event in EVENT_KINDS


def test_the_rules_divide_the_events_as_the_code_does() -> None:
    """Critical events page, the others remind; runway-low has rules of its own."""
    by_name = {rule["alert"]: rule["expr"] for rule in RULES}
    critical = {kind.name for kind in EVENT_KINDS.values() if kind.severity == "critical"}
    remedy = "bring the two lists in deploy/prometheus/dnssecd.rules.yml up to date"
    assert _events(by_name["DnssecdCriticalEvent"]) == critical - {"runway-low"}, remedy
    assert _events(by_name["DnssecdEvent"]) == critical, remedy


def _events(expression: str) -> set[str]:
    (pattern,) = re.findall(r'event[=!]~"([^"]+)"', expression)
    return set(pattern.split("|"))


def test_every_rule_that_pages_for_zones_is_tested_by_promtool() -> None:
    tests = yaml.safe_load((ROOT / "deploy/prometheus/dnssecd.rules.test.yml").read_text())["tests"]
    tested = {case["alertname"] for one in tests for case in one["alert_rule_test"] if case["exp_alerts"]}
    critical = {rule["alert"] for rule in RULES if rule["labels"]["severity"] == "critical"}
    assert critical - tested == set()


def expressions() -> Iterator[tuple[str, str]]:
    """Panel's title and expression, of every panel."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("title", "expression"), list(expressions()), ids=lambda text: text[:40])
def test_dashboard_panels(title: str, expression: str) -> None:
    assert faults(expression) == []


def test_the_dashboard_is_whole() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel.get("targets") for panel in panels if panel["type"] != "row")
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(panels))) - {"__rate_interval"}
    assert used == variables
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            assert faults(variable["definition"]) == []
