"""Times as people read them."""

from datetime import UTC, datetime


def moment(when: float) -> str:
    """Return ``2026-11-24 03:30:00Z`` for epoch seconds."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
