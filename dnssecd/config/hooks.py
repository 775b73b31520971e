"""Programs of the operator: a command at a key, and ``review``, ``published`` and ``output_file`` of ``[zone.*]``."""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import urlsplit

from dnssecd.config.model import ReviewConfig
from dnssecd.config.reader import Section
from dnssecd.config.templates import is_webhook

#: ``review = "manual"``: an operator accepts a version.
BY_HAND = "manual"
_REVIEW_S = 60
_REVIEW_MAX_S = 1_800
_KEYS = ("review_input", "review_timeout")


def command(section: Section, key: str) -> tuple[str, ...]:
    """Return a command given as text (split as a shell does, but not run by one) or as a list. Empty: none."""
    value = section.raw(key)
    if isinstance(value, list):
        parts = list(section.texts(key))
    else:
        try:
            parts = shlex.split(section.text(key))
        except ValueError as error:
            section.error(key, f"the command cannot be parsed ({error})", "close the quotes, or write a list")
            return ()
    if section.has(key) and not parts:
        section.error(key, "the command is empty", f'write {key} = "/path/to/program"')
    elif parts:
        parts[0] = str(section.origin_of(key).base / parts[0]) if "/" in parts[0] else parts[0]
    return tuple(parts)


def read_review(section: Section, source: str) -> ReviewConfig | None:
    """Return who reviews the zone's versions; None: no review."""
    if not section.has("review"):
        for key in _KEYS:
            if section.has(key):
                section.warn(key, "there is no review", 'write review = "/path/to/program", or remove it')
        return None
    if source == "dynamic" or section.has("allow_update") or section.has("signalling"):
        section.error(
            "review",
            "versions made by DNS UPDATE cannot be reviewed: their client waits for the answer",
            "remove allow_update and signalling, or review; a zone from a file or from primaries can have a review",
        )
    by_hand = section.raw("review") == BY_HAND
    return ReviewConfig(
        command=() if by_hand else command(section, "review"),
        input=section.choice("review_input", ("zone", "difference"), "zone"),
        timeout=section.duration("review_timeout", _REVIEW_S, 1, _REVIEW_MAX_S),
    )


def read_published(section: Section) -> tuple[str, ...]:
    """Return the command that runs after each publication, or one element: the URL of a webhook."""
    value = section.raw("published")
    if not isinstance(value, str) or not is_webhook(value):
        return command(section, "published") if section.has("published") else ()
    url = urlsplit(value)
    if not url.hostname or url.username or url.password:
        section.error("published", "is not the URL of a webhook", 'write published = "https://host/path"')
    return (value,)


def read_output_file(section: Section) -> Path | None:
    """Return the file that gets each signed version."""
    path = section.optional_path("output_file")
    if path is not None and path == section.optional_path("file"):
        section.error("output_file", "is the zone's input file", "choose another path")
    return path
