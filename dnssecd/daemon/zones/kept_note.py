"""The note on a zone that is added although the database of an earlier time is kept."""

from dnssecd.daemon.rollover.text import moment
from dnssecd.store.aside import Kept


def begins_anew(name: str, kept: Kept) -> str:
    """Return the note, with the command to restore the zone."""
    return (
        f"{name} was removed at {moment(kept.at)}, at serial {kept.serial}, and now starts again with a "
        f"later serial; to restore its keys, their states and its content: dnssecd zone restore {name}"
    )
