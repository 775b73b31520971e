"""Keys over time: key states, evidence, and the rollover planner."""
