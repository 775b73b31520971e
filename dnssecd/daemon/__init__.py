"""The front process: zones as they are served, their jobs, their secondaries, and the commands on them."""
