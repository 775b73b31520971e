"""The one path from a change to a committed version, in zone workers and in the daemon."""
