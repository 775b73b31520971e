"""Generate ``docs/zone-states.md`` from the tables that the daemon uses."""

from dnssecd.daemon.zones.gates import STOPPED_BY, Gate, Work
from dnssecd.daemon.zones.machine import FIRST, MEANING, POSSIBLE, TRANSITIONS, State

HEAD = """# The states of a zone

<!-- Made by dnssecd/daemon/zones/machine_doc.py from the tables in dnssecd/daemon/zones/machine.py and
gates.py. A test fails when it is out of date and says how to write it again. --> A state says what is served
of a zone, and why. A zone in any state can be frozen, or be missing from the configuration.

| state | meaning |
|---|---|
"""

WORDS = {
    Work.LOAD: "read the zone file",
    Work.RESIGN: "renew signatures that are due",
    Work.REKEY: "make a version with other keys",
    Work.TRANSFER: "take a transfer from a primary",
    Work.IMPORT: "take an import",
    Work.ADOPT: "take over from another signer",
    Work.UPDATE: "carry out dynamic updates",
    Work.RETURN: "make a version with a serial after all public ones",
    Work.PROVE: "verify the whole stored version",
    Work.VERIFY: "verify the published version",
    Work.LOOK: "query the primaries for their serial",
    Work.PLAN: "plan the next rollover step",
    Work.EXPIRE: "let the zone expire",
    Work.FOLLOW: "apply the versions of another node",
    Work.SNAPSHOT: "put a snapshot into the log",
    Work.SHARE: "put a zone of a single host into its log",
    Work.OUTPUT: "write the served version to its output file",
}

GATE_HEAD = """## Gates

A gate stops work in any state. The time and the key service are the daemon's; the others belong to the zone.
Without a key service other work fails and is tried again; an UPDATE is answered SERVFAIL immediately.


"""


def render() -> str:
    """Return the whole document."""
    states = "\n".join(f"| {state.value} | {MEANING[state]} |" for state in State)
    return "\n".join([HEAD + states, "", _diagram(), _work(), GATE_HEAD + _gates()])


def _diagram() -> str:
    lines = ["## What moves a zone", "", "What is not here is an error.", ""]
    lines += ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.WAITING.name}"]
    for state, moves in TRANSITIONS.items():
        lines.append(f"    {state.name}: {state.value}")
        lines += [
            f"    {state.name} --> {to.name}: {event.value}" for event, to in moves.items() if to is not state
        ]
    lines += [f"    {State.GONE.name} --> [*]", "```", "", "These change nothing:", ""]
    for state, moves in TRANSITIONS.items():
        same = [event.value for event, to in moves.items() if to is state]
        if same:
            lines.append(f"* {state.value}: {'; '.join(same)}")
    return "\n".join([*lines, ""])


def _work() -> str:
    lines = ["## Work that is possible", "", _row("", *(state.value for state in State)), _rule(len(State))]
    for work in Work:
        lines.append(_row(WORDS[work], *(_mark(work in POSSIBLE[state]) for state in State)))
    first = "; ".join(f"{state.value}: {WORDS[work]}" for state, work in FIRST.items())
    return "\n".join([*lines, "", f"In these states other work comes before any request: {first}.", ""])


def _gates() -> str:
    lines = [_row("", *(gate.value for gate in Gate)), _rule(len(Gate))]
    for work in Work:
        lines.append(_row(WORDS[work], *("stops" if gate in STOPPED_BY[work] else "" for gate in Gate)))
    return "\n".join([*lines, ""])


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _rule(columns: int) -> str:
    return "|---" * (columns + 1) + "|"


def _mark(yes: bool) -> str:
    return "yes" if yes else ""
