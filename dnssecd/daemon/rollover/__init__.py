"""Rollovers as the daemon runs them: planner, evidence, key service, clock."""
