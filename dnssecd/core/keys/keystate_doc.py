"""`docs/key-states.md`, written from the tables that the planner runs on."""

from dnssecd.core.keys.keystate import RECORDS, STEPS, TRANSITIONS
from dnssecd.core.keys.label import LABELS
from dnssecd.core.keys.steps import TABLES

HEAD = """# Key states

<!-- Made by dnssecd/core/keys/keystate_doc.py from the tables in dnssecd/core/keys. A test fails when it is out of
date and says how to write it again. -->

A key has up to four records. Each record is in one of four states, which describe what validators may hold. Each key
also has a goal: present, standby or absent. One planner (`dnssecd/core/keys/planner.py`) takes every step that a goal
requires and the rules below allow, and repeats until nothing changes. There is no script per kind of rollover.
"""

STATES = """## States of a record

* hidden: no validator holds it, and none can fetch it;
* rumoured: it is published; some validators hold it, others still hold older sets;
* omnipresent: every set that validators can hold has it;
* unretentive: it is withdrawn; some validators may still hold it.
"""


def render() -> str:
    """Return the whole document."""
    parts = [HEAD, _records(), STATES, _diagram(), _rules(), _waits(), _holds(), _signers(), _labels()]
    return "\n".join(parts)


def _records() -> str:
    rows = [f"| {role.value} | {', '.join(rec.value for rec in recs)} |" for role, recs in RECORDS.items()]
    note = "A revoked key (RFC 5011) is a separate entry, with dnskey and krrsig only."
    return "\n".join(["## Records of a key", "", "| role | records |", "|---|---|", *rows, "", note, ""])


def _diagram() -> str:
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> hidden"]
    for state, moves in TRANSITIONS.items():
        for event, after in moves.items():
            kind = "step" if event in STEPS else "fact"
            lines.append(f"    {state.value} --> {after.value}: {event.value} ({kind})")
    lines += [
        "```",
        "",
        "The planner decides steps, and they must keep the rules; facts come from evidence and time.",
        "",
    ]
    return "\n".join(lines)


def _rules() -> str:
    lines = [
        "## Rules",
        "",
        "After every step each rule holds, in one of its forms. The second and third apply once a DS may be held.",
        "",
        "| rule | form | meaning |",
        "|---|---|---|",
    ]
    for rule in TABLES.rules:
        when = "" if rule.binds is None else f" (after: {rule.binds[1].value} {rule.binds[0].value})"
        lines.append(f"| **{rule.name}** | | {rule.text}{when} |")
        lines += [f"| | {way.name} | {way.text} |" for way in rule.ways]
    return "\n".join([*lines, ""])


def _waits() -> str:
    lines = [
        "## Waits",
        "",
        "A wait starts with evidence, never with a message that was sent. It lasts for the largest TTL observed (the",
        "policy's values are minimums) plus a margin for undetected clock steps.",
        "",
        "| record | in state | leaves it when |",
        "|---|---|---|",
        *(f"| {wait.rec.value} | {wait.state.value} | {wait.text} |" for wait in TABLES.waits),
        "",
    ]
    return "\n".join(lines)


def _holds() -> str:
    rows = [f"| {hold.name} | {hold.text} |" for hold in TABLES.holds]
    return "\n".join(["## Postponed steps", "", "| name | meaning |", "|---|---|", *rows, ""])


def _signers() -> str:
    rows = [f"| {gate.name} | {gate.text} |" for gate in TABLES.signer_gates]
    lines = [
        "## Several signers of one zone",
        "",
        "A key of another signer (RFC 8901, model 2) has dnskey and, if it is a KSK, ds; its private key is elsewhere.",
        "These steps also wait for evidence from the other signers' servers and from the delegation:",
        "",
        "| name | meaning |",
        "|---|---|",
        *rows,
        "",
    ]
    return "\n".join(lines)


def _labels() -> str:
    head = [
        "## Names in commands (RFC 7583 section 3.1)",
        "",
        "The first row that matches names the key.",
        "",
    ]
    rows = [f"| {row.name} | {row.text} |" for row in LABELS]
    return "\n".join([*head, "| name | the key |", "|---|---|", *rows, ""])
