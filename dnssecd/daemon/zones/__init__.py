"""Every zone of the daemon: its state, its inputs, its jobs."""
