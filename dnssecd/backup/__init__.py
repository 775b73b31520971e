"""Backup and restore: the state of all zones in one file, and the checks before it is used again."""
