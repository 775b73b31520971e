"""What a zone's history says of a plan that was carried out."""

from collections.abc import Sequence
from contextlib import suppress

from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.past import step_text
from dnssecd.core.keys.simulate import describe
from dnssecd.core.keys.types import (
    Effect,
    GenerateKey,
    KeyEffect,
)
from dnssecd.pipeline.version.keychange import Note


def notes_of(effects: Sequence[Effect], *keysets: Keyset) -> tuple[Note, ...]:
    """Return the history entries for a plan."""
    roles = {key.ref: key.role.value for keyset in keysets for key in keyset.keys}
    notes = []
    for effect in effects:
        if isinstance(effect, GenerateKey):
            detail = f"algorithm {effect.algorithm}, key store {effect.keystore}: {effect.reason}"
            notes.append(Note(f"{effect.role.value} made", detail))
        elif isinstance(effect, KeyEffect):
            with suppress(KeyError):
                what, detail = describe(effect)
                notes.append(Note(step_text(roles[effect.ref], effect.tag, what), detail))
    return tuple(notes)
