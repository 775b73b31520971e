"""Whether a zone file is an old checkout: the rule for zones that several nodes share, each with its own copy.

The digest of every input that was loaded is in the zone's log, with the ownership (epoch) under which it was loaded. A
node that takes a zone over may have a copy that was not brought up to date: it equals an *earlier* input than the
newest. To load it would undo edits. The owner's own edit back to older content is an ordinary edit.
"""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

#: Inputs that are remembered: the newest ones, each once.
INPUTS_MAX = 500
#: Characters of a digest that are kept: 128 bits, in hex.
DIGEST_CHARACTERS = 32


class LoadedInput(NamedTuple):
    """An input that was loaded: the start of its SHA-256 (hex), and the ownership at that time."""

    digest: str
    epoch: int


class SeenInput(NamedTuple):
    """The first input that this node saw in an ownership; ``changed``: it saw another one since then."""

    digest: str
    epoch: int
    changed: bool = False


class InputAge(Enum):
    """What an input is, compared with those loaded before."""

    NEW = "new"
    NEWEST = "newest"
    EDITED_BACK = "edited back"
    STALE = "stale"


def judge_input(
    loaded: Sequence[LoadedInput], digest: str, epoch: int, seen: SeenInput | None = None
) -> InputAge:
    """Return what the input with a digest (SHA-256, hex) is. ``loaded``: oldest first.

    seen: what this node saw since it owns the zone, None if this input is the first. A change since then, and any
    after a load in this ownership, is the owner's own edit.
    """
    digest = digest[:DIGEST_CHARACTERS]
    if not any(known.digest == digest for known in loaded):
        return InputAge.NEW
    newest = loaded[-1]
    if newest.digest == digest:
        return InputAge.NEWEST
    changed = see_input(seen, digest, epoch).changed
    return InputAge.EDITED_BACK if changed or newest.epoch == epoch else InputAge.STALE


def see_input(seen: SeenInput | None, digest: str, epoch: int) -> SeenInput:
    """Return what this node has seen in an ownership after an input. ``seen``: before it, perhaps of an earlier one."""
    digest = digest[:DIGEST_CHARACTERS]
    if seen is None or seen.epoch != epoch:
        return SeenInput(digest, epoch)
    return seen if seen.changed or seen.digest == digest else seen._replace(changed=True)


def with_input(loaded: Sequence[LoadedInput], digest: str, epoch: int) -> tuple[LoadedInput, ...]:
    """Return the inputs with one that is loaded now, as the newest; the oldest are forgotten."""
    digest = digest[:DIGEST_CHARACTERS]
    others = [known for known in loaded if known.digest != digest]
    return (*others, LoadedInput(digest, epoch))[-INPUTS_MAX:]
