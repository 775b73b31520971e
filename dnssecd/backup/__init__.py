"""Back-up and restore: the state of all zones in one file, and what may come of it."""
