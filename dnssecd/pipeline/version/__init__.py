"""The one path from a change to a verified, committed version."""
