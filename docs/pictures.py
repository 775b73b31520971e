"""Draws docs/img/*.svg: `.venv/bin/python docs/pictures.py` (`make docs` does). Same sources, same pictures.

keys-*.svg: rollovers as the planner takes them, from the simulation that `dnssecd simulate --svg` draws, too.
status.svg: the output of `dnssecd status` for a fleet with faults, from the golden text that a test holds true.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.keystate import Role
from dnssecd.core.keys.simulate import Assumptions, SimEvent, simulate
from dnssecd.core.keys.timeline_svg import Flag, render_svg
from dnssecd.core.keys.types import KeySpec, RolloverPolicy

TARGET = Path(__file__).parent / "img"
STATUS = Path(__file__).parents[1] / "tests/unit/cli/golden/status_fleet_80.txt"
START = 1_798_761_600  # 2027-01-01 00:00 UTC
DAY = 86_400
ZONE = "example.com."
APEX = b"\x07example\x03com\x00"
ECDSA, ED25519 = 13, 15
_COLOURS = {"CRITICAL": "#b42318", "ERROR": "#b42318", "WARNING": "#8a5a00"}


def draw() -> dict[str, str]:
    """Return file name → SVG of all pictures."""
    return {
        "keys-first.svg": _first(),
        "keys-zsk.svg": _rolling("The ZSK is replaced", Role.ZSK, until=130),
        "keys-ksk.svg": _rolling("The KSK is replaced", Role.KSK, until=100),
        "keys-algorithm.svg": _algorithm(),
        "status.svg": terminal("dnssecd status", STATUS.read_text()),
    }


def _policy(algorithm: int, lifetimes: dict[Role, int] | None = None) -> RolloverPolicy:
    days = lifetimes or {}
    roles = (Role.KSK, Role.ZSK)
    return RolloverPolicy(
        tuple(
            KeySpec(role, algorithm, **({"lifetime": days[role] * DAY} if role in days else {}))
            for role in roles
        )
    )


def _flags(events: tuple[SimEvent, ...]) -> list[Flag]:
    return [Flag(event.at, "hand over the DS") for event in events if event.event == "submit ds"]


def _first() -> str:
    ahead = simulate(Keyset(APEX), _policy(ECDSA), Assumptions(ds_delay=DAY), START, START + 5 * DAY)
    title = f"{ZONE} from the first signature to the DS"
    return render_svg(ahead.spans, START, START + 5 * DAY, title, flags=_flags(ahead.events))


def _rolling(title: str, role: Role, until: int) -> str:
    policy = _policy(ECDSA, {role: 90})
    ahead = simulate(Keyset(APEX), policy, Assumptions(ds_delay=DAY), START, START + until * DAY)
    begin = START + 85 * DAY
    flags = [flag for flag in _flags(ahead.events) if flag.at >= begin]
    return render_svg(ahead.spans, begin, START + until * DAY, title, flags=flags)


def _algorithm() -> str:
    before = simulate(Keyset(APEX), _policy(ECDSA), Assumptions(ds_delay=DAY), START, START + 30 * DAY)
    begin, end = START + 30 * DAY, START + 60 * DAY
    ahead = simulate(before.keyset, _policy(ED25519), Assumptions(ds_delay=DAY), begin, end)
    return render_svg(ahead.spans, begin, end, "The algorithm is changed", flags=_flags(ahead.events))


def terminal(command: str, text: str, width: int = 80) -> str:
    """Return a picture of a command and its output in a terminal of *width* columns."""
    lines = [f"$ {command}", *text.rstrip("\n").split("\n")]
    height, across = 24 + 17 * len(lines), 24 + 82 * width // 10
    body = []
    for number, line in enumerate(lines):
        colour = _COLOURS.get(line.split(" ")[0].rstrip(":"), "#24292f")
        weight = ' font-weight="bold"' if number == 0 or colour != "#24292f" else ""
        body.append(
            f'<text x="12" y="{24 + 17 * number}" fill="{colour}"{weight} xml:space="preserve">{escape(line)}</text>'
        )
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg"'
            f' viewBox="0 0 {across} {height}" width="{across}" height="{height}"'
            ' role="img" font-family="ui-monospace, DejaVu Sans Mono, monospace" font-size="13">',
            f"<title>{escape(command)}</title>",
            f'<rect width="{across}" height="{height}" rx="6" fill="#f6f8fa" stroke="#d0d7de"/>',
            *body,
            "</svg>",
            "",
        ]
    )


def write() -> None:
    """Write all pictures."""
    TARGET.mkdir(exist_ok=True)
    for name, text in draw().items():
        (TARGET / name).write_text(text)


if __name__ == "__main__":
    write()
